//! The file on disk: created, recognised, and owned by one process at a time.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::failure::damage;
use crate::store::{Result, StoreError};

/// Owner only: who can read the file can read every session's data.
const MODE: u32 = 0o600;

const MAGIC: &[u8] = b"SQLite format 3\0";

/// The length of SQLite's header; no SQLite file is shorter, unless it is empty.
const HEADER_BYTES: u64 = 100;

/// The file, locked against other processes while this exists.
#[derive(Debug)]
pub(super) struct OwnedFile {
    path: PathBuf,
    /// Must close after SQLite's handles: closing any handle of a process releases all of its POSIX locks on the file.
    file: File,
    /// While this exists, the process opens no other handle to the file.
    owned: Owned,
    /// Holds the lock, which ends with the process, however it ends.
    lock: File,
    /// The previous owner could not sync the file.
    was_unsynced: bool,
}

/// Written to the lock file after the owner's process id.
const UNSYNCED: &str = " unsynced";

impl OwnedFile {
    /// Creates the file if it is missing, and locks it.
    ///
    /// # Errors
    /// [`StoreError::Unusable`], or [`StoreError::InUse`], which names the path and what to do.
    pub(super) fn acquire(path: &Path) -> Result<Self> {
        create_if_missing(path)?;
        // By its canonical path, so that two links to one file share one lock file, next to the real file.
        let path = path.canonicalize().map_err(|error| refusal(path, &error))?;
        let (lock, was_unsynced) = lock(&path)?;
        let owned = Owned::register(&path)?;
        let file = recognise(&path)?;
        lock_itself(&file, &path)?;
        Ok(Self { path, file, owned, lock, was_unsynced })
    }

    /// The canonical path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The open file. Nobody may close it, or another handle to it: that would release SQLite's locks on it.
    pub(super) fn handle(&self) -> &File {
        &self.file
    }

    /// Syncs the file to disk.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }

    /// Syncs the folders, so that the names of the file and of its WAL are on disk: a WAL whose name is lost is lost with its
    /// content. SQLite does this as well, but ignores its errors.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(super) fn sync_folders(&self) -> Result<()> {
        let mut device = None;
        for folder in self.path.ancestors().skip(1) {
            // Parent folders may be inaccessible; any folder that was created for the file is our own.
            let Ok(opened) = File::open(folder) else { break };
            let is_here =
                opened.metadata().is_ok_and(|found| *device.get_or_insert(found.dev()) == found.dev());
            if !is_here {
                break;
            }
            match opened.sync_all() {
                Ok(()) => {}
                // This file system does not sync folders.
                Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {}
                Err(source) => {
                    let folder = folder.to_owned();
                    return Err(StoreError::Unavailable(Box::new(FolderNotSynced { folder, source })));
                }
            }
        }
        Ok(())
    }

    /// A file that the disk never keeps.
    #[cfg(test)]
    pub(super) fn that_cannot_be_synced(path: &Path) -> Self {
        // A device has nothing to sync and reports an error.
        Self { file: File::open("/dev/null").unwrap(), ..Self::acquire(path).unwrap() }
    }

    /// Records for the next owner that pages which SQLite counts as copied into the file may be lost.
    pub(super) fn mark_unsynced(&self) {
        // Best effort, as the disk may be failing. The page cache still has the note unless the machine reboots.
        let _ = self.note(UNSYNCED);
    }

    /// Whether the previous owner [recorded that](Self::mark_unsynced).
    pub(super) fn was_unsynced(&self) -> bool {
        self.was_unsynced
    }

    /// Clears that record.
    pub(super) fn settle(&self) {
        let _ = self.note("");
    }

    /// Writes the owner's process id, for the error message of a process that comes second.
    fn note(&self, more: &str) -> std::io::Result<()> {
        write_note(&self.lock, more)
    }

    /// Checks that the path still leads to this file: writes to a deleted file are lost.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if it does not.
    pub(super) fn check_in_place(&self) -> Result<()> {
        // Not opened: closing any of our handles to the file would release SQLite's locks on it.
        match std::fs::metadata(&self.path) {
            Ok(metadata) if identity(&metadata) == self.owned.0 => Ok(()),
            Ok(_) => Err(self.displaced("another file is in its place")),
            Err(error) => Err(self.displaced(&error.to_string())),
        }
    }

    fn displaced(&self, found: &str) -> StoreError {
        StoreError::Unusable(format!(
            "{} was removed while in use ({found}); put it back, or restart to begin anew",
            self.path.display()
        ))
    }
}

/// The folder that contains the file could not be synced.
#[derive(Debug, thiserror::Error)]
#[error("the disk failed to keep the names of the files in {}", folder.display())]
struct FolderNotSynced {
    folder: PathBuf,
    source: std::io::Error,
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn write_note(mut lock: &File, more: &str) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    write!(lock, "{}{more}", std::process::id())
}

/// Device and inode.
type Identity = (u64, u64);

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// The files that this process owns. Opening and closing one again would release SQLite's locks on it.
static OWNED: Mutex<Vec<Identity>> = Mutex::new(Vec::new());

/// An entry in [`OWNED`].
#[derive(Debug)]
struct Owned(Identity);

impl Owned {
    fn register(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(|error| refusal(path, &error))?;
        let mut all = OWNED.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = identity(&metadata);
        if all.contains(&identity) {
            return Err(in_use(path, "this process"));
        }
        all.push(identity);
        Ok(Self(identity))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        OWNED.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| *other != self.0);
    }
}

fn in_use(path: &Path, owner: &str) -> StoreError {
    StoreError::InUse(format!(
        "{} is in use by {owner}, and a SQLite store has one owner; stop that one, or set another `path`",
        path.display()
    ))
}

/// Locks the file itself: the lock file may be deleted and created again. SQLite's own locks are of another kind, which this
/// one does not affect.
fn lock_itself(file: &File, path: &Path) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(in_use(path, "another process")),
        // The file system does not support such locks.
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(error)) => Err(refusal(path, &error)),
    }
}

/// When root creates a file in another user's folder, it changes its owner to that user, who is to run the service.
fn give_to_owner(made: &File, of: &Path) {
    let given = std::fs::metadata(of).and_then(|of| {
        let is_made_by_root = made.metadata()?.uid() == 0 && of.uid() != 0;
        if is_made_by_root { std::os::unix::fs::fchown(made, Some(of.uid()), Some(of.gid())) } else { Ok(()) }
    });
    if let Err(error) = given {
        tracing::warn!(
            %error,
            "a file could not be given to the user to whom {} belongs: give it to them (chown), or that user cannot open it",
            of.display()
        );
    }
}

fn refusal(path: &Path, error: &std::io::Error) -> StoreError {
    let remedy = match error.kind() {
        ErrorKind::PermissionDenied => {
            "let this user read and write it and its folder, or set another `path`"
        }
        ErrorKind::ReadOnlyFilesystem => "set a `path` on a file system that can be written to",
        ErrorKind::IsADirectory => "set `path` to a file in it",
        _ => "mend that, or set another `path`",
    };
    StoreError::Unusable(format!("{} cannot be opened ({error}); {remedy}", path.display()))
}

fn create_if_missing(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(StoreError::Unusable(format!(
            "there is no folder {} for the SQLite file {}; make it, or set another `path`",
            folder.display(),
            path.display()
        )));
    }
    match OpenOptions::new().read(true).write(true).create_new(true).mode(MODE).open(path) {
        Ok(file) => {
            give_to_owner(&file, folder);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(refusal(path, &error)),
    }
}

/// Opens and locks the lock file; also returns whether the last owner recorded a failed sync.
fn lock(path: &Path) -> Result<(File, bool)> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    // The lock file is never deleted: otherwise two processes could each lock a file of that name.
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .open(&lock_path)
        .map_err(|error| refusal(&lock_path, &error))?;
    match file.try_lock() {
        Ok(()) => {
            let mut note = String::new();
            let _ = file.read_to_string(&mut note);
            let was_unsynced = note.ends_with(UNSYNCED);
            give_to_owner(&file, path);
            let _ = write_note(&file, if was_unsynced { UNSYNCED } else { "" });
            Ok((file, was_unsynced))
        }
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            let owner = match owner.trim_end_matches(UNSYNCED).parse::<u32>() {
                Ok(owner) => format!("process {owner}"),
                Err(_) => "another process".into(),
            };
            Err(in_use(path, &owner))
        }
        Err(TryLockError::Error(error)) => Err(refusal(&lock_path, &error)),
    }
}

/// Checks the header of the file before SQLite opens it.
fn recognise(path: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| refusal(path, &error))?;
    let metadata = file.metadata().map_err(|error| refusal(path, &error))?;
    if metadata.len() == 0 {
        return Ok(file);
    }
    let mut start = Vec::new();
    (&file).take(MAGIC.len() as u64).read_to_end(&mut start).map_err(|error| refusal(path, &error))?;
    if !MAGIC.starts_with(&start) {
        return Err(StoreError::Unusable(format!(
            "{} is not a SQLite file; set another `path`, or move the file away to start empty",
            path.display()
        )));
    }
    if metadata.len() < HEADER_BYTES {
        return Err(StoreError::Unusable(damage(path, "it ends within its header")));
    }
    Ok(file)
}
