//! A record as a row of the table.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::{FromSqlError, Type, ValueRef};
use rusqlite::{Connection, Row, ToSql, params};

use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::mark::Mark;
use crate::record::{Life, Outline, Record, Summary};
use crate::store::tail::Tail;
use crate::time::Timestamp;

/// Width of an expiry bucket in milliseconds.
///
/// An index on `expires_at` would be rewritten with every touch of a session. The bucket is set at creation and not
/// named in an UPDATE, so that the index over it costs nothing then; it only has to lead clean-up to the rows that
/// may have expired. It is never later than the bucket of the row's `expires_at`: clean-up misses nothing.
pub(super) const BUCKET_MILLIS: i64 = 60_000;

/// The bucket that `moment` is in.
pub(super) fn bucket(moment: Timestamp) -> i64 {
    moment.as_millis().div_euclid(BUCKET_MILLIS)
}

/// The columns that [`outline`] reads, in its order: of the others, those of [`summary`] and of [`record`] come after
/// them.
macro_rules! outline_columns {
    () => {
        "handle, user_id, created_at, reset_at, last_activity, ttl, expires_at, schema, tail"
    };
}
pub(super) use outline_columns;

/// The columns that [`summary`] reads. `data` is not among them.
macro_rules! summary_columns {
    () => {
        concat!($crate::store::sqlite::row::outline_columns!(), ", auth_time, updated_at, version, metadata")
    };
}
pub(super) use summary_columns;

/// The columns that [`record`] reads.
macro_rules! record_columns {
    () => {
        concat!($crate::store::sqlite::row::summary_columns!(), ", secret_hash, data")
    };
}
pub(super) use record_columns;

/// Number of [`record_columns`]: further columns of a query come after them.
pub(super) const RECORD_COLUMNS: usize = 15;

const EXPIRES_AT: usize = 6;
const SCHEMA: usize = 7;
const TAIL: usize = 8;

#[derive(Debug, thiserror::Error)]
#[error("its layout is {found}, this build knows {known}", known = Record::SCHEMA)]
struct NewerRecord {
    found: u32,
}

/// Whether `error` concerns one row, which this build cannot read, and not the file.
pub(super) fn is_unreadable(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    matches!(
        error,
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..)
    )
}

/// The row as parsed by `read`; if that fails, its handle; `None` if that cannot be read either.
pub(super) fn read_or_handle<T>(
    row: &Row<'_>,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Result<T, Option<Handle>>> {
    match read(row) {
        Ok(read) => Ok(Ok(read)),
        Err(error) if is_unreadable(&error) => Ok(Err(handle(row).ok())),
        Err(error) => Err(error),
    }
}

/// The handle in a row of [`outline_columns`].
pub(super) fn handle(row: &Row<'_>) -> rusqlite::Result<Handle> {
    row.get::<_, [u8; 12]>(0).map(Handle::from)
}

/// The expiry in a row of [`outline_columns`].
pub(super) fn expires_at(row: &Row<'_>) -> rusqlite::Result<Timestamp> {
    moment(row, EXPIRES_AT)
}

fn moment(row: &Row<'_>, index: usize) -> rusqlite::Result<Timestamp> {
    row.get(index).map(Timestamp::from_millis)
}

/// The tail in a column, which may lack a mark; `None` if the column is empty.
pub(super) fn tail(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Tail>> {
    let Some(bytes) = row.get_ref(index)?.as_blob_or_null().map_err(|error| conversion(index, error))? else {
        return Ok(None);
    };
    Tail::read(bytes).map(Some).map_err(|error| conversion(index, error))
}

fn conversion(index: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, Type::Blob, Box::new(error))
}

/// Whether a row of [`outline_columns`] has a tail; a row from an older file has none until it is written.
pub(super) fn has_tail(row: &Row<'_>) -> rusqlite::Result<bool> {
    Ok(row.get_ref(TAIL)? != ValueRef::Null)
}

/// The mark of a row with that tail.
pub(super) fn mark(tail: Option<&Tail>, created_at: Timestamp) -> Mark {
    tail.and_then(|tail| tail.mark).unwrap_or_else(|| Mark::of_layout_1(created_at))
}

/// Parses a row of [`outline_columns`].
pub(super) fn outline(row: &Row<'_>) -> rusqlite::Result<(Handle, Outline)> {
    head(row).map(|(handle, outline, _)| (handle, outline))
}

fn head(row: &Row<'_>) -> rusqlite::Result<(Handle, Outline, Tail)> {
    let found: u32 = row.get(SCHEMA)?;
    if found > Record::SCHEMA {
        return Err(conversion(SCHEMA, NewerRecord { found }));
    }
    let tail = tail(row, TAIL)?;
    let created_at = moment(row, 2)?;
    let mark = mark(tail.as_ref(), created_at);
    let tail = tail.unwrap_or_default();
    let life = Life {
        created_at,
        reset_at: moment(row, 3)?,
        last_activity: moment(row, 4)?,
        ttl: Duration::from_millis(unsigned(row, 5)?),
        ttl_source: tail.ttl_source,
        idle: tail.idle,
        expires_at: expires_at(row)?,
    };
    let outline = Outline { mark, user_id: row.get(1)?, life };
    Ok((handle(row)?, outline, tail))
}

/// Parses a row of [`summary_columns`].
pub(super) fn summary(row: &Row<'_>) -> rusqlite::Result<Summary> {
    whole(row).map(|(summary, _)| summary)
}

fn whole(row: &Row<'_>) -> rusqlite::Result<(Summary, Option<crate::record::Mac>)> {
    let (handle, Outline { mark, user_id, life }, tail) = head(row)?;
    let Tail { mac, persistent, labels, mark: _, ttl_source: _, idle: _ } = tail;
    let summary = Summary {
        handle,
        mark,
        user_id,
        auth_time: row.get::<_, Option<i64>>(9)?.map(Timestamp::from_millis),
        metadata: text(row, 12)?,
        updated_at: moment(row, 10)?,
        version: unsigned(row, 11)?,
        persistent,
        labels,
        life,
    };
    Ok((summary, mac))
}

/// Parses a row of [`record_columns`].
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let (summary, mac) = whole(row)?;
    let Summary { handle, mark, user_id, auth_time, metadata, updated_at, version, persistent, labels, life } =
        summary;
    let Life { created_at, reset_at, last_activity, ttl, ttl_source, idle, expires_at } = life;
    Ok(Record {
        handle,
        mark,
        secret_hash: SecretHash::from(row.get::<_, [u8; 32]>(13)?),
        user_id,
        auth_time,
        data: text(row, 14)?,
        metadata,
        created_at,
        updated_at,
        reset_at,
        last_activity,
        ttl,
        ttl_source,
        idle,
        persistent,
        labels,
        expires_at,
        version,
        mac,
    })
}

/// An unsigned number from a signed column.
pub(super) fn unsigned(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(index)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(index, number))
}

fn text(row: &Row<'_>, index: usize) -> rusqlite::Result<Data> {
    let text = row.get_ref(index)?.as_str().map_err(|error: FromSqlError| {
        rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
    })?;
    Ok(Data::from_store(Arc::from(text)))
}

/// SQLite's integers are signed; no version and no ttl comes near the limit.
fn signed(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Inserts `record` unless a record has its handle; returns the row id.
pub(super) fn insert(connection: &Connection, record: &Record) -> rusqlite::Result<Option<i64>> {
    let Record {
        handle,
        secret_hash,
        user_id,
        auth_time,
        data,
        metadata,
        created_at,
        updated_at,
        reset_at,
        last_activity,
        ttl,
        expires_at,
        version,
        // In the tail.
        mark: _,
        ttl_source: _,
        idle: _,
        persistent: _,
        labels: _,
        mac: _,
    } = record;
    let inserted = connection
        .prepare_cached(
            "INSERT INTO sessions (handle, secret_hash, user_id, created_at, updated_at, reset_at,
                 last_activity, ttl, expires_at, version, schema, metadata, data, expiry_bucket, auth_time, tail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
             ON CONFLICT (handle) DO NOTHING",
        )?
        .execute(params![
            handle.as_bytes(),
            secret_hash.as_bytes(),
            user_id,
            created_at.as_millis(),
            updated_at.as_millis(),
            reset_at.as_millis(),
            last_activity.as_millis(),
            signed(ttl.as_millis()),
            expires_at.as_millis(),
            signed(*version),
            Record::SCHEMA,
            metadata.as_str(),
            data.as_str(),
            bucket(*expires_at),
            auth_time.map(Timestamp::as_millis),
            Tail::of(record).to_bytes(),
        ])?;
    if inserted == 0 {
        return Ok(None);
    }
    // Before another insert.
    let id = connection.last_insert_rowid();
    insert_labels(connection, record)?;
    Ok(Some(id))
}

/// Inserts the labels of a record that has none in their table.
fn insert_labels(connection: &Connection, record: &Record) -> rusqlite::Result<()> {
    for label in record.labels.iter() {
        connection
            .prepare_cached("INSERT OR IGNORE INTO labels (name, value, handle) VALUES (?1, ?2, ?3)")?
            .execute((label.name(), label.value(), record.handle.as_bytes()))?;
    }
    Ok(())
}

/// Replaces the labels of a record in their table.
pub(super) fn overwrite_labels(connection: &Connection, record: &Record) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM labels WHERE handle = ?1")?.execute([record.handle.as_bytes()])?;
    insert_labels(connection, record)
}

/// Deletes an expired record with the handle of a new one; returns whether there was one.
pub(super) fn remove_expired(
    connection: &Connection,
    handle: Handle,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let removed = connection
        .prepare_cached("DELETE FROM sessions WHERE handle = ?1 AND expires_at <= ?2")?
        .execute((handle.as_bytes(), now.as_millis()))?;
    Ok(removed > 0)
}

macro_rules! overwrite {
    ($more:literal) => {
        concat!(
            "UPDATE sessions SET secret_hash = ?2, updated_at = ?3, reset_at = ?4, last_activity = ?5, \
             expires_at = ?6, version = ?7, metadata = ?8, data = ?9, schema = ?10, auth_time = ?11, \
             tail = coalesce(?13, tail), ttl = ?14",
            $more,
            " WHERE id = ?1 AND handle = ?12"
        )
    };
}

/// Columns that an update names only if they change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renewed {
    /// The user and the bucket: SQLite updates the index of every column that an UPDATE names.
    pub(super) index: bool,
    /// The tail.
    pub(super) tail: bool,
}

/// Writes the changeable fields into row `id`.
pub(super) fn overwrite(
    connection: &Connection,
    id: i64,
    record: &Record,
    renewed: Renewed,
) -> rusqlite::Result<()> {
    let Record {
        handle,
        secret_hash,
        user_id,
        auth_time,
        data,
        metadata,
        // Never changed, so left as it is in the row.
        created_at: _,
        ttl,
        updated_at,
        reset_at,
        last_activity,
        expires_at,
        version,
        // In the tail.
        mark: _,
        ttl_source: _,
        idle: _,
        persistent: _,
        labels: _,
        mac: _,
    } = record;
    let (sql, count) = match renewed.index {
        true => (overwrite!(", user_id = ?15, expiry_bucket = ?16"), 16),
        false => (overwrite!(""), 14),
    };
    let values: [&dyn ToSql; 16] = [
        &id,
        secret_hash.as_bytes(),
        &updated_at.as_millis(),
        &reset_at.as_millis(),
        &last_activity.as_millis(),
        &expires_at.as_millis(),
        &signed(*version),
        &metadata.as_str(),
        &data.as_str(),
        &Record::SCHEMA,
        &auth_time.map(Timestamp::as_millis),
        // If another program deleted the row, its id may belong to another row, so the handle is compared too.
        handle.as_bytes(),
        &renewed.tail.then(|| Tail::of(record).to_bytes()),
        &signed(ttl.as_millis()),
        user_id,
        &bucket(*expires_at),
    ];
    match connection.prepare_cached(sql)?.execute(&values[..count])? {
        1 => Ok(()),
        // Another program changed the file.
        rows => Err(rusqlite::Error::StatementChangedRows(rows)),
    }
}

/// A JSON array of the handles in hexadecimal digits.
pub(super) fn json(handles: &[Handle]) -> String {
    let mut text = String::from("[");
    for (index, handle) in handles.iter().enumerate() {
        text.push_str(if index == 0 { "\"" } else { ",\"" });
        for byte in handle.as_bytes() {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text.push('"');
    }
    text.push(']');
    text
}
