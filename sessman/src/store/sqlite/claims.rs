//! The places of users: a row for each session, in the order of arrival.

use rusqlite::{Connection, Row};

use super::operation::{Failure, Operation, Transaction};
use super::row::json;
use crate::id::Handle;
use crate::store::{Claim, Claimed, Places, PlacesPage};

pub(super) const PLACES: &str = "SELECT handle FROM claims WHERE user_id = ?1 ORDER BY id";

pub(super) const ALL_PLACES: &str =
    "SELECT user_id, handle FROM claims WHERE user_id > ?1 ORDER BY user_id, id";

pub(super) const RELEASE: &str = "
    DELETE FROM claims WHERE user_id = ?1 AND handle IN (SELECT unhex(value) FROM json_each(?2))";

pub(super) const MOVE_LAST: &str =
    "UPDATE claims SET id = (SELECT max(id) + 1 FROM claims) WHERE user_id = ?1 AND handle = ?2";

/// Handles after which a page of users ends; the last user is complete.
const MANY: usize = 10_000;

/// [`Store::claim`](crate::store::Store::claim).
pub(super) struct TakePlace {
    user_id: String,
    handle: Handle,
    room: Option<usize>,
    moves_last: bool,
    earlier: Option<Vec<Handle>>,
}

impl TakePlace {
    pub(super) fn new(claim: Claim<'_>) -> Self {
        let Claim { user_id, handle, room, moves_last, earlier } = claim;
        let earlier = earlier.map(<[Handle]>::to_vec);
        Self { user_id: user_id.to_owned(), handle, room, moves_last, earlier }
    }
}

impl Operation for TakePlace {
    type Output = Claimed;

    fn execute(&self, transaction: &mut Transaction<'_>) -> Result<Claimed, Failure> {
        let connection = transaction.connection;
        let stored = places(connection, &self.user_id)?;
        let is_new = stored.is_empty();
        let known = if is_new { self.earlier.clone() } else { Some(stored) };
        let Some(mut handles) = known else { return Ok(Claimed::Unknown) };
        let held = handles.iter().position(|other| *other == self.handle);
        let last = handles.len() - usize::from(held.is_some());
        let place = held.filter(|_| !self.moves_last).unwrap_or(last);
        let fits = self.room.is_none_or(|room| place < room);
        let moves = fits && held != Some(place);
        if moves {
            handles.retain(|other| *other != self.handle);
            handles.push(self.handle);
        }
        match (is_new, moves, held) {
            (true, ..) => insert(connection, &self.user_id, &handles)?,
            (false, true, None) => insert(connection, &self.user_id, &[self.handle])?,
            (false, true, Some(_)) => move_last(connection, &self.user_id, self.handle)?,
            (false, false, _) => {}
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
        transaction.connection.prepare_cached(RELEASE)?.execute((&self.user_id, json(&self.handles)))?;
        Ok(())
    }
}

/// [`Store::forget_places`](crate::store::Store::forget_places).
pub(super) struct ForgetPlaces;

impl Operation for ForgetPlaces {
    type Output = ();

    fn execute(&self, transaction: &mut Transaction<'_>) -> Result<(), Failure> {
        transaction.connection.execute("DELETE FROM claims", [])?;
        Ok(())
    }
}

/// [`Store::places`](crate::store::Store::places).
pub(super) fn places(connection: &Connection, user_id: &str) -> rusqlite::Result<Vec<Handle>> {
    let mut statement = connection.prepare_cached(PLACES)?;
    let mut rows = statement.query([user_id])?;
    let mut handles = Vec::new();
    while let Some(row) = rows.next()? {
        handles.extend(handle(row, 0, user_id));
    }
    Ok(handles)
}

/// [`Store::all_places`](crate::store::Store::all_places).
pub(super) fn all_places(
    connection: &Connection,
    after: Option<&str>,
    limit: usize,
) -> rusqlite::Result<PlacesPage> {
    let mut statement = connection.prepare_cached(ALL_PLACES)?;
    // No user id is empty, so this is before all of them.
    let mut rows = statement.query([after.unwrap_or_default()])?;
    let (mut users, mut count): (Vec<Places>, _) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let Ok(user_id) = row.get_ref(0)?.as_str() else {
            tracing::warn!("a place in the SQLite file is passed over: the id of its user cannot be read");
            continue;
        };
        if users.last().is_none_or(|last| last.user_id != user_id) {
            if users.len() == limit || count >= MANY {
                let next = users.last().map(|last| last.user_id.clone());
                return Ok(PlacesPage { users, next });
            }
            let Some(handle) = handle(row, 1, user_id) else { continue };
            users.push(Places { user_id: user_id.to_owned(), handles: vec![handle] });
        } else if let Some((handle, places)) = handle(row, 1, user_id).zip(users.last_mut()) {
            places.handles.push(handle);
        }
        count += 1;
    }
    Ok(PlacesPage { users, next: None })
}

/// The handle in a column; an unreadable one is logged and skipped.
fn handle(row: &Row<'_>, index: usize, user_id: &str) -> Option<Handle> {
    match row.get::<_, [u8; 12]>(index) {
        Ok(handle) => Some(Handle::from(handle)),
        Err(error) => {
            tracing::warn!(user_id, %error, "a place in the SQLite file cannot be read and is passed over");
            None
        }
    }
}

/// Appends `handles` to the user's places in one statement: all of them or none.
fn insert(connection: &Connection, user_id: &str, handles: &[Handle]) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO claims (user_id, handle) SELECT ?1, unhex(value) FROM json_each(?2) ORDER BY key",
        )?
        .execute((user_id, json(handles)))?;
    Ok(())
}

/// Moves a handle of the user to the last place in one statement, so that it is never without a place.
fn move_last(connection: &Connection, user_id: &str, handle: Handle) -> rusqlite::Result<()> {
    connection.prepare_cached(MOVE_LAST)?.execute((user_id, handle.as_bytes()))?;
    Ok(())
}
