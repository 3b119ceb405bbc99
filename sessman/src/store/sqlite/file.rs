//! The file on disk: made, recognised, and owned by one process at a time.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::failure::damage;
use crate::store::{Result, StoreError};

/// Whoever may read the file may read every session's data.
const MODE: u32 = 0o600;

const MAGIC: &[u8] = b"SQLite format 3\0";

/// SQLite's header is as long as this; no file of its own is shorter, unless it is empty.
const HEADER_BYTES: u64 = 100;

/// A file that no other process uses while this lives.
#[derive(Debug)]
pub(super) struct OwnedFile {
    path: PathBuf,
    /// Device and inode: the path may come to lead to another file.
    identity: (u64, u64),
    /// Closed after all of SQLite's: the first that is closed ends the locks of them all.
    file: File,
    /// Holds the lock; it ends with the process, however that ends.
    lock: File,
    /// The owner before this one could not sync the file.
    was_unsynced: bool,
}

/// In the lock file, behind the owner's number.
const UNSYNCED: &str = " unsynced";

impl OwnedFile {
    /// Makes the file if it is missing, and takes possession of it.
    ///
    /// # Errors
    /// [`StoreError::Unusable`], or [`StoreError::InUse`], which names the path and what to do.
    pub(super) fn acquire(path: &Path) -> Result<Self> {
        create_if_missing(path)?;
        // By its real name, so that two links to one file have one lock, beside the file itself.
        let path = path.canonicalize().map_err(|error| refusal(path, &error))?;
        let (lock, was_unsynced) = lock(&path)?;
        let (file, identity) = recognise(&path)?;
        Ok(Self { path, identity, file, lock, was_unsynced })
    }

    /// The real name of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the disk has what was written to it.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }

    /// Waits until the disk has the names of the file and of its log, and those of the folders that they are in: a log
    /// whose name is lost is lost with all that is in it. SQLite asks the disk as well, and does not look at the answer.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(super) fn sync_folders(&self) -> Result<()> {
        let mut device = None;
        for folder in self.path.ancestors().skip(1) {
            // Those above may be closed to us; a folder in them that was made for the file was made by us.
            let Ok(opened) = File::open(folder) else { break };
            let is_here =
                opened.metadata().is_ok_and(|found| *device.get_or_insert(found.dev()) == found.dev());
            if !is_here {
                break;
            }
            match opened.sync_all() {
                Ok(()) => {}
                // The file system keeps names in a way of its own.
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
        // A device has nothing to sync, and says so.
        Self { file: File::open("/dev/null").unwrap(), ..Self::acquire(path).unwrap() }
    }

    /// Leaves word for the next owner that the file may not have what SQLite takes for copied into it.
    pub(super) fn mark_unsynced(&self) {
        // The disk may be failing: it is read again by this machine, if at all, before it is started anew.
        let _ = self.note(UNSYNCED);
    }

    /// Whether the owner before this one [left word](Self::mark_unsynced).
    pub(super) fn was_unsynced(&self) -> bool {
        self.was_unsynced
    }

    /// Forgets what the owner before this one left word of.
    pub(super) fn settle(&self) {
        let _ = self.note("");
    }

    /// Writes who owns the file, for the message of whoever comes too late.
    fn note(&self, more: &str) -> std::io::Result<()> {
        write_note(&self.lock, more)
    }

    /// Whether the path still leads to this file: what is written to one that was deleted is lost.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if it does not.
    pub(super) fn check_in_place(&self) -> Result<()> {
        // Not opened: closing any handle of ours to it would end the locks that SQLite has on it.
        match std::fs::metadata(&self.path) {
            Ok(metadata) if identity(&metadata) == self.identity => Ok(()),
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

/// The folder that a file's name is in could not be synced.
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

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
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
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(refusal(path, &error)),
    }
}

/// The lock file, locked, and whether its last owner left word that it could not sync the file.
fn lock(path: &Path) -> Result<(File, bool)> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    // The lock file stays when its owner goes: deleting it would let two processes each lock one of that name.
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
            Err(StoreError::InUse(format!(
                "{} is in use by {owner}, and a SQLite store has one owner; stop that one, or set another `path`",
                path.display()
            )))
        }
        Err(TryLockError::Error(error)) => Err(refusal(&lock_path, &error)),
    }
}

/// Looks at the beginning of the file, before SQLite is let near it.
fn recognise(path: &Path) -> Result<(File, (u64, u64))> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| refusal(path, &error))?;
    let metadata = file.metadata().map_err(|error| refusal(path, &error))?;
    if metadata.len() == 0 {
        return Ok((file, identity(&metadata)));
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
    Ok((file, identity(&metadata)))
}
