//! The layout of the file, and how it is recognised.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::failure::damage;
use super::row::record_columns;
use crate::store::{Checkup, StoreError};

/// "sess": the application_id in the header of our files.
const APPLICATION_ID: i32 = 0x7365_7373;

/// The layout that this build writes, stored as user_version.
pub(super) const VERSION: i32 = 4;

/// Up to this size, in bytes, the whole file is checked when it is opened: some tens of milliseconds. For a larger file that
/// would delay the start; it gets only SQLite's checks of the header, and of each page when it is used.
const MAX_CHECKED_SIZE: i64 = 16 << 20;

/// `data` comes last, and `metadata` before it: SQLite stores a row's columns in this order, and moves the end of a long row
/// to overflow pages, which searches then need not read.
const CREATE: &str = "
    CREATE TABLE sessions (
        id            INTEGER PRIMARY KEY,
        handle        BLOB NOT NULL,
        secret_hash   BLOB NOT NULL,
        user_id       TEXT,
        created_at    INTEGER NOT NULL,
        updated_at    INTEGER NOT NULL,
        reset_at      INTEGER NOT NULL,
        last_activity INTEGER NOT NULL,
        ttl           INTEGER NOT NULL,
        expires_at    INTEGER NOT NULL,
        version       INTEGER NOT NULL,
        schema        INTEGER NOT NULL,
        expiry_bucket INTEGER NOT NULL,
        auth_time     INTEGER,
        tail          BLOB,
        metadata      TEXT NOT NULL,
        data          TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX sessions_handle ON sessions (handle);
    CREATE INDEX sessions_expiry_bucket ON sessions (expiry_bucket);
    CREATE INDEX sessions_user ON sessions (user_id, handle) WHERE user_id IS NOT NULL;
";

/// The order of arrival is that of `id`, by which the index orders a user's rows.
const CREATE_CLAIMS: &str = "
    CREATE TABLE claims (
        id      INTEGER PRIMARY KEY,
        user_id TEXT NOT NULL,
        handle  BLOB NOT NULL
    ) STRICT;
    CREATE INDEX claims_user ON claims (user_id);
";

/// A row for each label of a session, in the order of lists: the table is its own index. The trigger removes those of a
/// session that is deleted, in whatever way; it finds them by the other index.
const CREATE_LABELS: &str = "
    CREATE TABLE labels (
        name   TEXT NOT NULL,
        value  TEXT NOT NULL,
        handle BLOB NOT NULL,
        PRIMARY KEY (name, value, handle)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX labels_handle ON labels (handle);
    CREATE TRIGGER sessions_labels AFTER DELETE ON sessions BEGIN
        DELETE FROM labels WHERE handle = OLD.handle;
    END;
";

/// From layout 1, without places and login times. A column that is added comes after `data`.
const FROM_1: &[&str] = &["ALTER TABLE sessions ADD COLUMN auth_time INTEGER;", CREATE_CLAIMS];

/// From layout 2, without tails.
const FROM_2: &[&str] = &["ALTER TABLE sessions ADD COLUMN tail BLOB;"];

/// From layout 3, without labels.
const FROM_3: &[&str] = &[CREATE_LABELS];

/// Why a file is rejected.
#[derive(Debug, thiserror::Error)]
pub(super) enum SchemaError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The application and version that a file belongs to.
enum Identity {
    Empty,
    Ours(i32),
    Foreign,
}

fn integer(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

fn identity(connection: &Connection) -> rusqlite::Result<Identity> {
    let application_id = integer(connection, "application_id")?;
    let version = integer(connection, "user_version")?;
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (application_id, version, objects) {
        (0, 0, 0) => Identity::Empty,
        (id, ..) if id == i64::from(APPLICATION_ID) => {
            Identity::Ours(i32::try_from(version).unwrap_or(i32::MAX))
        }
        _ => Identity::Foreign,
    })
}

/// Creates the layout in an empty file, migrates an older one, or checks that it is this build's. A file of another
/// application is not written to.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), SchemaError> {
    match identity(connection)? {
        Identity::Empty => {
            // Must be set before the first table; without it, unused pages are only returned by a full VACUUM.
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            use_wal(connection, path)?;
            // One transaction: after a crash the file is empty or complete.
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(CREATE)?;
            transaction.execute_batch(CREATE_CLAIMS)?;
            transaction.execute_batch(CREATE_LABELS)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
            Ok(())
        }
        Identity::Ours(older @ 1..VERSION) => {
            use_wal(connection, path)?;
            let steps =
                [(1, FROM_1), (2, FROM_2), (3, FROM_3)].into_iter().filter(|(from, _)| *from >= older);
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for statements in steps.flat_map(|(_, statements)| statements) {
                transaction.execute_batch(statements).map_err(|error| missing_or(path, error))?;
            }
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
            check(connection, path)
        }
        Identity::Ours(VERSION) => {
            use_wal(connection, path)?;
            check(connection, path)
        }
        other => Err(refusal(&other, path)),
    }
}

/// Checks that the file has this build's layout, without writing.
pub(super) fn recognise(connection: &Connection, path: &Path) -> Result<(), SchemaError> {
    let shown = path.display();
    match identity(connection)? {
        Identity::Ours(VERSION) => Ok(()),
        Identity::Ours(older @ 1..VERSION) => Err(unusable(format!(
            "{shown} was written by an older version (its layout is {older}, this build reads {VERSION}); a start of \
             pserve brings it up"
        ))),
        Identity::Empty => Err(unusable(format!("{shown} is empty; pserve makes its tables when it starts"))),
        other => Err(refusal(&other, path)),
    }
}

/// Why a file of this kind is rejected.
fn refusal(identity: &Identity, path: &Path) -> SchemaError {
    let shown = path.display();
    unusable(match identity {
        Identity::Ours(newer @ VERSION..) => format!(
            "{shown} was written by a newer version (its layout is {newer}, this build knows {VERSION}); run that \
             version, or set another `path`"
        ),
        Identity::Ours(unknown) => {
            damage(path, format_args!("its layout number is {unknown}, which no version wrote"))
        }
        Identity::Foreign | Identity::Empty => {
            format!("{shown} is the SQLite file of another application; set another `path`")
        }
    })
}

fn unusable(text: String) -> SchemaError {
    SchemaError::Store(StoreError::Unusable(text))
}

fn use_wal(connection: &Connection, path: &Path) -> Result<(), SchemaError> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    Err(unusable(format!(
        "{} is on a file system without shared memory between processes (its journal mode stays `{mode}`); set a \
         `path` on a local disk",
        path.display()
    )))
}

/// SQLite's generic error means that the file is readable, but a table or a column is missing.
fn missing_or(path: &Path, error: rusqlite::Error) -> SchemaError {
    match error.sqlite_error_code() {
        Some(ErrorCode::Unknown) => unusable(damage(path, error)),
        _ => error.into(),
    }
}

fn check(connection: &Connection, path: &Path) -> Result<(), SchemaError> {
    if let Err(error) =
        connection.prepare(concat!("SELECT id, expiry_bucket, ", record_columns!(), " FROM sessions"))
    {
        return Err(missing_or(path, error));
    }
    let size = integer(connection, "page_count")? * integer(connection, "page_size")?;
    if size > MAX_CHECKED_SIZE {
        return Ok(());
    }
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(unusable(damage(path, found))) }
}

/// Unused pages that are worth returning to the file system. An eighth of the file, or a mebibyte, may stay unused for new
/// sessions.
pub(super) fn spare_pages(connection: &Connection) -> rusqlite::Result<u64> {
    const SMALL: i64 = 256;
    let (unused, all) = (integer(connection, "freelist_count")?, integer(connection, "page_count")?);
    // Without auto_vacuum, which no version of ours has created, the file cannot shrink.
    let is_possible = integer(connection, "auto_vacuum")? != 0;
    let spare = unused - (all / 8).max(SMALL);
    Ok(if is_possible { u64::try_from(spare).unwrap_or(0) } else { 0 })
}

/// [`Store::checkup`](crate::store::Store::checkup): reads the whole file.
pub(super) fn checkup(connection: &Connection) -> rusqlite::Result<Checkup> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    let problems = match found.as_str() {
        "ok" => Vec::new(),
        _ => vec![format!("the file is damaged ({found}); put a backup in its place")],
    };
    Ok(Checkup { server: format!("SQLite {}", rusqlite::version()), problems, ..Checkup::default() })
}
