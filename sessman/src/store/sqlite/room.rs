//! Disk space reserved in advance, so that sessions can still be ended on a full disk.
//!
//! Before a commit that adds pages, space for them is allocated in the file, so that a checkpoint never lacks space. And the
//! WAL keeps an allocation of its own, which it reuses: ending a session, and other writes that add no pages, fit into it.
//! Only writes that need more pages than there are get rejected.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

use super::file::OwnedFile;
use super::health::Health;
use super::log::{LOG_PAGE, PAGE};

/// On a small volume, this fraction (one part in so many) is reserved for the WAL.
const PART: u64 = 16;

/// The most space reserved for the WAL, in bytes: a batch of the clean-up changes some 600 pages.
const MAX_KEPT: u64 = 4 << 20;
const MIN_KEPT: u64 = 128 << 10;

/// The disk space allocated to the file and its WAL.
pub(super) struct Room {
    file: Arc<OwnedFile>,
    health: Arc<Health>,
    log: File,
    /// Bytes reserved for the WAL.
    kept: u64,
    /// Pages for which the file has space, when last checked; 0 to check again.
    covered: Cell<u64>,
}

impl Room {
    /// For a file that SQLite has opened, so that its WAL exists.
    pub(super) fn new(file: Arc<OwnedFile>, health: Arc<Health>) -> io::Result<Self> {
        let log = File::options().read(true).write(true).open(log_of(file.path()))?;
        let volume = fstatvfs(&log)?;
        let kept = (volume.f_blocks * volume.f_frsize / PART).clamp(MIN_KEPT, MAX_KEPT);
        Ok(Self { file, health, log, kept, covered: Cell::new(0) })
    }

    /// Allocates the space of the WAL. Its content stays as it is; the space after it is zeros, which SQLite ignores.
    pub(super) fn keep(&self) {
        if let Err(error) = extend(&self.log, self.kept, self.kept) {
            tracing::warn!(
                %error,
                "there is no room on its volume for the log of {}: once the disk is full, sessions cannot end; make room",
                self.file.path().display()
            );
        }
    }

    /// Pages in the WAL that start a checkpoint while the disk is full: the WAL must not outgrow its reserved space.
    pub(super) fn short_log(&self) -> u32 {
        u32::try_from(self.kept / LOG_PAGE / 2).unwrap_or(u32::MAX)
    }

    /// Whether the WAL has more space than its reserve, which the file could use.
    pub(super) fn is_log_large(&self) -> bool {
        self.log.metadata().is_ok_and(|found| found.len() > 2 * self.kept)
    }

    /// Allocates space for this many pages in the file; returns whether there is enough.
    pub(super) fn cover(&self, pages: u64) -> bool {
        if pages == self.covered.get() {
            return true;
        }
        let bytes = pages * PAGE;
        // Allocates as far ahead as the volume permits, to do this seldom. A copy of the whole WAL truncates the file again.
        match extend(self.file.handle(), bytes, bytes + self.ahead()) {
            Ok(()) => self.covered.set(pages),
            Err(error) if is_no_room(&error) => return false,
            // Any other problem of the disk will show up in the write itself.
            Err(error) => {
                tracing::debug!(%error, "the SQLite file could not be made longer ahead of its use")
            }
        }
        true
    }

    fn ahead(&self) -> u64 {
        self.kept / 4
    }

    /// Must be called after a copy of the WAL into the file, which may have truncated it.
    pub(super) fn look_again(&self) {
        self.covered.set(0);
    }

    /// After a full disk: whether the file can grow again by more than a few pages.
    pub(super) fn is_there_again(&self, pages: u64) -> bool {
        self.look_again();
        self.cover(pages + self.ahead() / PAGE)
    }

    /// Sets whether sessions are rejected because the disk is full, and logs a change.
    pub(super) fn set_full(&self, full: bool) {
        if self.health.set_full(full) == full {
            return;
        }
        let path = self.file.path().display();
        match full {
            true => tracing::warn!(
                "the disk is full: {path} takes no new sessions; those that are there go on, and make room when they end"
            ),
            false => tracing::info!("{path} takes new sessions again"),
        }
    }
}

/// Allocates space for a file of at least `least` bytes, and of `most` bytes if possible: later writes to it find space.
fn extend(file: &File, least: u64, most: u64) -> io::Result<()> {
    let now = file.metadata()?.len();
    if now >= least {
        return Ok(());
    }
    let allocate = |end: u64| loop {
        match fallocate(file, FallocateFlags::empty(), now, end - now) {
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return fill(file, now, end),
            other => return other.map_err(io::Error::from),
        }
    };
    match allocate(most) {
        Err(error) if is_no_room(&error) && least < most => allocate(least),
        other => other,
    }
}

/// Replaces `fallocate` on file systems without it: writes zeros.
fn fill(file: &File, mut from: u64, end: u64) -> io::Result<()> {
    let zeros = [0; 64 << 10];
    while from < end {
        let bytes = usize::try_from(end - from).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all_at(&zeros[..bytes], from)?;
        from += bytes as u64;
    }
    Ok(())
}

/// Whether the disk is full, in contrast to broken.
fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}
