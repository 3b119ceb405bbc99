//! Room on the volume, taken before it is needed: a disk that is full must not keep sessions from ending.
//!
//! The file covers every page before the commit that adds it, so that the log can always be put into it. And the log has
//! room of its own, which it uses over and over: that is what ends, and whatever else does not grow, is written to. Only
//! what needs more pages than there are is refused.

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

/// Of a small volume, one part in so many is kept for the log.
const PART: u64 = 16;

/// Room that is kept for the log, in bytes: clean-up changes some 600 pages at a time.
const MAX_KEPT: u64 = 4 << 20;
const MIN_KEPT: u64 = 128 << 10;

/// What the file and its log have of the volume.
pub(super) struct Room {
    file: Arc<OwnedFile>,
    health: Arc<Health>,
    log: File,
    /// Bytes that the log keeps.
    kept: u64,
    /// Pages in the file when it was last seen to cover them all; 0 if that is to be looked at again.
    covered: Cell<u64>,
}

impl Room {
    /// For a file that SQLite has opened, and whose log is there therefore.
    pub(super) fn new(file: Arc<OwnedFile>, health: Arc<Health>) -> io::Result<Self> {
        let log = File::options().read(true).write(true).open(log_of(file.path()))?;
        let volume = fstatvfs(&log)?;
        let kept = (volume.f_blocks * volume.f_frsize / PART).clamp(MIN_KEPT, MAX_KEPT);
        Ok(Self { file, health, log, kept, covered: Cell::new(0) })
    }

    /// Takes the log's room. What is in it stays as it is; behind it SQLite finds nothing.
    pub(super) fn keep(&self) {
        if let Err(error) = extend(&self.log, self.kept, self.kept) {
            tracing::warn!(
                %error,
                "there is no room on its volume for the log of {}: once the disk is full, sessions cannot end; make room",
                self.file.path().display()
            );
        }
    }

    /// Pages of the log from which on it is put away while the disk is full: it must not leave the room that it has.
    pub(super) fn short_log(&self) -> u32 {
        u32::try_from(self.kept / LOG_PAGE / 2).unwrap_or(u32::MAX)
    }

    /// Whether the log has more room than it keeps, which the file could do with.
    pub(super) fn is_log_large(&self) -> bool {
        self.log.metadata().is_ok_and(|found| found.len() > 2 * self.kept)
    }

    /// Has the file cover so many pages: whether there is room for them.
    pub(super) fn cover(&self, pages: u64) -> bool {
        if pages == self.covered.get() {
            return true;
        }
        let bytes = pages * PAGE;
        // As far ahead as the volume bears, so that it is seldom asked for; a copy of the whole log cuts it off again.
        match extend(self.file.handle(), bytes, bytes + self.ahead()) {
            Ok(()) => self.covered.set(pages),
            Err(error) if is_no_room(&error) => return false,
            // Whatever is wrong with the disk will show itself where it is written to.
            Err(error) => {
                tracing::debug!(%error, "the SQLite file could not be made longer ahead of its use")
            }
        }
        true
    }

    fn ahead(&self) -> u64 {
        self.kept / 4
    }

    /// To be told when the log was copied into the file, which may have cut it.
    pub(super) fn look_again(&self) {
        self.covered.set(0);
    }

    /// Whether the file may grow by more than a few pages, when it did not before.
    pub(super) fn is_there_again(&self, pages: u64) -> bool {
        self.look_again();
        self.cover(pages + self.ahead() / PAGE)
    }

    /// Says whether sessions are refused because there is no room.
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

/// Makes a file at least `least` bytes long, and `most` if that goes, on disk: no later write to them lacks room.
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

/// As `fallocate`, where the file system has no such thing.
fn fill(file: &File, mut from: u64, end: u64) -> io::Result<()> {
    let zeros = [0; 64 << 10];
    while from < end {
        let bytes = usize::try_from(end - from).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all_at(&zeros[..bytes], from)?;
        from += bytes as u64;
    }
    Ok(())
}

/// Whether it fails for want of room, and not because something is broken.
fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}
