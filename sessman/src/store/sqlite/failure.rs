//! From SQLite's errors to the contract's.

use std::path::Path;
use std::sync::Arc;

use rusqlite::ErrorCode;

use crate::store::StoreError;

/// What a caller hears when SQLite reports `error`. Several may hear of the same one: all those whose writes were in
/// one transaction.
pub(super) fn store_error(path: &Path, error: &Arc<rusqlite::Error>) -> StoreError {
    let damaged =
        matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
    if damaged {
        return StoreError::Unusable(damage(path, error));
    }
    let unreadable = matches!(
        **error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
    );
    if unreadable {
        return StoreError::Unusable(format!(
            "{} holds a record that this build cannot read ({error}); use the version that wrote it",
            path.display()
        ));
    }
    StoreError::Unavailable(Box::new(error.clone()))
}

/// What to say of a file whose content is broken.
pub(super) fn damage(path: &Path, detail: impl std::fmt::Display) -> String {
    format!(
        "{} is damaged ({detail}); put a backup in its place, or move it and its -wal file away to start empty",
        path.display()
    )
}
