//! The file on disk: made, recognised, and owned by one process at a time.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
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
    _lock: File,
}

impl OwnedFile {
    /// Makes the file if it is missing, and takes possession of it.
    ///
    /// # Errors
    /// [`StoreError::Unusable`], or [`StoreError::InUse`], which names the path and what to do.
    pub(super) fn acquire(path: &Path) -> Result<Self> {
        create_if_missing(path)?;
        // By its real name, so that two links to one file have one lock, beside the file itself.
        let path = path.canonicalize().map_err(|error| refusal(path, &error))?;
        let lock = lock(&path)?;
        let (file, identity) = recognise(&path)?;
        Ok(Self { path, identity, file, _lock: lock })
    }

    /// The real name of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the disk has what was written to it.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
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
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(StoreError::Unusable(format!(
            "there is no folder {} for the SQLite file {}; make it, or set another `path`",
            folder.display(),
            path.display()
        )));
    }
    match OpenOptions::new().read(true).write(true).create_new(true).mode(MODE).open(path) {
        // The name itself has to reach the disk too, before anything in the file is promised to be there.
        Ok(_) => {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| refusal(folder, &error))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(refusal(path, &error)),
    }
}

fn lock(path: &Path) -> Result<File> {
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
            // Only for the message of whoever comes too late.
            let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            let owner = match owner.parse::<u32>() {
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
