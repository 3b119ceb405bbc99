//! Deletes the records that match their targets.

use rusqlite::{OptionalExtension as _, Row};

use super::cache::Written;
use super::operation::{Failure, Operation, Transaction};
use super::row::{is_unreadable, mark, tail, unsigned};
use crate::id::{Handle, SecretHash};
use crate::store::Target;
use crate::time::Timestamp;

/// [`Store::delete`](crate::store::Store::delete).
pub(super) struct Delete {
    pub(super) targets: Vec<Target>,
}

impl Operation for Delete {
    type Output = Vec<Handle>;

    fn execute(&self, transaction: &mut Transaction<'_>) -> Result<Vec<Handle>, Failure> {
        let mut deleted = Vec::new();
        for target in &self.targets {
            if is_stored(transaction, target)? {
                let rows = transaction
                    .connection
                    .prepare_cached("DELETE FROM sessions WHERE handle = ?1")?
                    .execute([target.handle.as_bytes()])?;
                if rows > 0 {
                    transaction.withheld.add(Written::Gone(target.handle));
                    deleted.push(target.handle);
                }
            }
        }
        Ok(deleted)
    }
}

/// Whether the stored record matches `target`; `true` if the target names only a handle, even if none is stored.
fn is_stored(transaction: &Transaction<'_>, target: &Target) -> rusqlite::Result<bool> {
    let Target { handle, .. } = *target;
    if *target == Target::whatever(handle) {
        return Ok(true);
    }
    if let Some(row) = transaction.withheld.row(handle) {
        return Ok(target.is(&row.record));
    }
    let found = transaction
        .connection
        .prepare_cached(
            "SELECT created_at, last_activity, tail, secret_hash, version FROM sessions WHERE handle = ?1",
        )?
        .query_row([handle.as_bytes()], |row| is_met(target, row))
        .optional();
    match found {
        Ok(is_met) => Ok(is_met == Some(true)),
        // A record that cannot be read is not known to match.
        Err(error) if is_unreadable(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Like [`Target::is`], for a row of which only the compared columns must be readable. Compared here and not in SQL: the
/// time of a comparison in SQL would reveal how much of a secret's hash is right.
fn is_met(target: &Target, row: &Row<'_>) -> rusqlite::Result<bool> {
    let moment = |index| row.get(index).map(Timestamp::from_millis);
    if let Some(expected) = target.mark
        && mark(tail(row, 2)?.as_ref(), moment(0)?) != expected
    {
        return Ok(false);
    }
    if let Some(expected) = target.last_activity
        && moment(1)? != expected
    {
        return Ok(false);
    }
    if let Some(expected) = target.version
        && unsigned(row, 4)? != expected
    {
        return Ok(false);
    }
    match target.secret_hash {
        Some(expected) => Ok(SecretHash::from(row.get::<_, [u8; 32]>(3)?) == expected),
        None => Ok(true),
    }
}
