//! A record as a row of the table.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, Row, ToSql, params};

use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::record::Record;
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

/// The columns that [`record`] reads, in its order.
macro_rules! record_columns {
    () => {
        "handle, secret_hash, user_id, created_at, updated_at, reset_at, last_activity, ttl, expires_at, \
         version, schema, metadata, data, auth_time"
    };
}
pub(super) use record_columns;

/// Number of [`record_columns`]: further columns of a query come after them.
pub(super) const RECORD_COLUMNS: usize = 14;

#[derive(Debug, thiserror::Error)]
#[error("its layout is {found}, this build knows {known}", known = Record::SCHEMA)]
struct NewerRecord {
    found: u32,
}

/// Reads a row of [`record_columns`].
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let moment = |index| row.get(index).map(Timestamp::from_millis);
    let found: u32 = row.get(10)?;
    if found > Record::SCHEMA {
        let newer = Box::new(NewerRecord { found });
        return Err(rusqlite::Error::FromSqlConversionFailure(10, Type::Integer, newer));
    }
    Ok(Record {
        handle: Handle::from(row.get::<_, [u8; 12]>(0)?),
        secret_hash: SecretHash::from(row.get::<_, [u8; 32]>(1)?),
        user_id: row.get(2)?,
        auth_time: row.get::<_, Option<i64>>(13)?.map(Timestamp::from_millis),
        created_at: moment(3)?,
        updated_at: moment(4)?,
        reset_at: moment(5)?,
        last_activity: moment(6)?,
        ttl: Duration::from_millis(unsigned(row, 7)?),
        expires_at: moment(8)?,
        version: unsigned(row, 9)?,
        metadata: text(row, 11)?,
        data: text(row, 12)?,
    })
}

/// A number that has no sign, from a column that would have one.
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

/// SQLite's integers have a sign; no version and no ttl is near its limit.
fn signed(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Inserts `record`, unless there is one with its handle: the id of its row.
pub(super) fn insert(connection: &Connection, record: &Record) -> rusqlite::Result<Option<i64>> {
    let inserted = connection
        .prepare_cached(
            "INSERT INTO sessions (handle, secret_hash, user_id, created_at, updated_at, reset_at,
                 last_activity, ttl, expires_at, version, schema, metadata, data, expiry_bucket, auth_time)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT (handle) DO NOTHING",
        )?
        .execute(params![
            record.handle.as_bytes(),
            record.secret_hash.as_bytes(),
            record.user_id,
            record.created_at.as_millis(),
            record.updated_at.as_millis(),
            record.reset_at.as_millis(),
            record.last_activity.as_millis(),
            signed(record.ttl.as_millis()),
            record.expires_at.as_millis(),
            signed(record.version),
            Record::SCHEMA,
            record.metadata.as_str(),
            record.data.as_str(),
            bucket(record.expires_at),
            record.auth_time.map(Timestamp::as_millis),
        ])?;
    Ok((inserted > 0).then(|| connection.last_insert_rowid()))
}

/// Makes room for a new record in the place of one that has expired: whether there was one.
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
             expires_at = ?6, version = ?7, metadata = ?8, data = ?9, schema = ?10, auth_time = ?11",
            $more,
            " WHERE id = ?1 AND handle = ?12"
        )
    };
}

/// Writes what an update can change into row `id`. The user and the bucket are named only if they change
/// (`reindex`): SQLite looks after the index of every column that an UPDATE names.
pub(super) fn overwrite(
    connection: &Connection,
    id: i64,
    record: &Record,
    reindex: bool,
) -> rusqlite::Result<()> {
    let (sql, count) = match reindex {
        true => (overwrite!(", user_id = ?13, expiry_bucket = ?14"), 14),
        false => (overwrite!(""), 12),
    };
    let values: [&dyn ToSql; 14] = [
        &id,
        record.secret_hash.as_bytes(),
        &record.updated_at.as_millis(),
        &record.reset_at.as_millis(),
        &record.last_activity.as_millis(),
        &record.expires_at.as_millis(),
        &signed(record.version),
        &record.metadata.as_str(),
        &record.data.as_str(),
        &Record::SCHEMA,
        &record.auth_time.map(Timestamp::as_millis),
        // A row that somebody else's program removed leaves its number to another one.
        record.handle.as_bytes(),
        &record.user_id,
        &bucket(record.expires_at),
    ];
    match connection.prepare_cached(sql)?.execute(&values[..count])? {
        1 => Ok(()),
        // Somebody else's program was at the file.
        rows => Err(rusqlite::Error::StatementChangedRows(rows)),
    }
}
