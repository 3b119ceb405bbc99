//! Which sessions each user has, in the order of their arrival: a row for each, and none of a user without any.

use std::fmt::Write as _;

use rusqlite::{Connection, OptionalExtension as _};

use super::operation::{Failure, Operation, Transaction};
use crate::id::Handle;
use crate::store::{Claim, Claimed};
use crate::time::Timestamp;

/// [`Store::claim`](crate::store::Store::claim).
pub(super) struct TakePlace {
    user_id: String,
    handle: Handle,
    room: Option<usize>,
    earlier: Option<Vec<Handle>>,
}

impl TakePlace {
    pub(super) fn new(claim: Claim<'_>) -> Self {
        let Claim { user_id, handle, room, earlier } = claim;
        Self { user_id: user_id.to_owned(), handle, room, earlier: earlier.map(<[Handle]>::to_vec) }
    }
}

impl Operation for TakePlace {
    type Output = Claimed;

    fn execute(&self, transaction: &mut Transaction<'_>) -> Result<Claimed, Failure> {
        let stored = handles(transaction.connection, &self.user_id)?;
        let is_new = stored.is_empty();
        let known = if is_new { self.earlier.clone() } else { Some(stored) };
        let Some(mut handles) = known else { return Ok(Claimed::Unknown) };
        let place = handles.iter().position(|other| *other == self.handle).unwrap_or(handles.len());
        let fits = self.room.is_none_or(|room| place < room);
        let appended = fits && place == handles.len();
        if appended {
            handles.push(self.handle);
        }
        match (is_new, appended) {
            (true, _) => insert(transaction.connection, &self.user_id, &handles)?,
            (false, true) => insert(transaction.connection, &self.user_id, &[self.handle])?,
            (false, false) => {}
        }
        Ok(if fits { Claimed::Done(handles) } else { Claimed::Full(handles) })
    }
}

/// [`Store::release`](crate::store::Store::release).
pub(super) struct Release {
    pub(super) user_id: String,
    pub(super) handles: Vec<Handle>,
}

impl Operation for Release {
    type Output = ();

    fn execute(&self, transaction: &mut Transaction<'_>) -> Result<(), Failure> {
        transaction
            .connection
            .prepare_cached(
                "DELETE FROM claims WHERE user_id = ?1
                     AND handle IN (SELECT unhex(value) FROM json_each(?2))",
            )?
            .execute((&self.user_id, json(&self.handles)))?;
        Ok(())
    }
}

/// [`Store::tidy_claims`](crate::store::Store::tidy_claims).
pub(super) struct TidyClaims {
    pub(super) now: Timestamp,
    pub(super) after: Option<String>,
    pub(super) limit: usize,
}

impl Operation for TidyClaims {
    type Output = Option<String>;

    fn execute(&self, transaction: &mut Transaction<'_>) -> Result<Option<String>, Failure> {
        // No user's id is empty.
        let after = self.after.as_deref().unwrap_or_default();
        let last: Option<String> = transaction
            .connection
            .prepare_cached(
                "SELECT DISTINCT user_id FROM claims WHERE user_id > ?1 ORDER BY user_id LIMIT 1 OFFSET ?2",
            )?
            .query_row((after, i64::try_from(self.limit).unwrap_or(i64::MAX) - 1), |row| row.get(0))
            .optional()?;
        transaction
            .connection
            .prepare_cached(
                "DELETE FROM claims WHERE user_id > ?1 AND (?2 IS NULL OR user_id <= ?2) AND NOT EXISTS
                     (SELECT 1 FROM sessions WHERE sessions.handle = claims.handle AND expires_at > ?3)",
            )?
            .execute((after, &last, self.now.as_millis()))?;
        Ok(last)
    }
}

/// [`Store::forget_claims`](crate::store::Store::forget_claims).
pub(super) struct ForgetClaims;

impl Operation for ForgetClaims {
    type Output = ();

    fn execute(&self, transaction: &mut Transaction<'_>) -> Result<(), Failure> {
        transaction.connection.execute("DELETE FROM claims", [])?;
        Ok(())
    }
}

fn handles(connection: &Connection, user_id: &str) -> rusqlite::Result<Vec<Handle>> {
    connection
        .prepare_cached("SELECT handle FROM claims WHERE user_id = ?1 ORDER BY id")?
        .query_map([user_id], |row| row.get::<_, [u8; 12]>(0).map(Handle::from))?
        .collect()
}

/// Puts `handles` behind those that the user has, in one statement: all of them or none.
fn insert(connection: &Connection, user_id: &str, handles: &[Handle]) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO claims (user_id, handle) SELECT ?1, unhex(value) FROM json_each(?2) ORDER BY key",
        )?
        .execute((user_id, json(handles)))?;
    Ok(())
}

/// A JSON array of the handles in hexadecimal digits.
fn json(handles: &[Handle]) -> String {
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
