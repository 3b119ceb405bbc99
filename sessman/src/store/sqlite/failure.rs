//! Maps SQLite's errors to the store's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{ErrorCode, ffi};

use super::row::is_unreadable;
use crate::store::StoreError;

/// The error for callers when SQLite reports `error`. Several callers may get the same one: all whose writes were in one
/// transaction.
pub(super) fn store_error(path: &Path, error: &Arc<rusqlite::Error>) -> StoreError {
    let damaged =
        matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
    if damaged {
        return StoreError::Unusable(damage(path, error));
    }
    if is_unreadable(error) {
        return StoreError::Unusable(format!(
            "{} holds a record that this build cannot read ({error}); use the version that wrote it",
            path.display()
        ));
    }
    if is_no_room(error) { StoreError::Full } else { StoreError::Unavailable(Box::new(error.clone())) }
}

/// Whether the disk was full.
pub(super) fn is_no_room(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_SHMSIZE)
}

/// Whether a sync of the disk failed.
pub(super) fn is_failed_sync(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}

/// The file could not be opened for a reason that may be temporary, such as a full disk.
#[derive(Debug, thiserror::Error)]
#[error("{} could not be opened", path.display())]
struct NotOpened {
    path: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Like [`store_error`], while the file is being opened. SQLite does not name the file, and the administrator who starts the
/// service needs to know it.
pub(super) fn opening_error(path: &Path, error: rusqlite::Error) -> StoreError {
    use ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
    if let Some(CannotOpen | PermissionDenied | ReadOnly) = error.sqlite_error_code() {
        // The file itself could be opened before; what is left are SQLite's files beside it.
        return StoreError::Unusable(format!(
            "{} or a file beside it cannot be opened ({error}); let this user read and write it and its folder, or set \
             another `path`",
            path.display()
        ));
    }
    let error = Arc::new(error);
    match store_error(path, &error) {
        StoreError::Unavailable(_) | StoreError::Full => {
            StoreError::Unavailable(Box::new(NotOpened { path: path.to_owned(), source: Box::new(error) }))
        }
        other => other,
    }
}

/// The message about a corrupt file.
pub(super) fn damage(path: &Path, detail: impl std::fmt::Display) -> String {
    format!(
        "{} is damaged ({detail}); put a backup in its place, or move it and its -wal file away to start empty",
        path.display()
    )
}
