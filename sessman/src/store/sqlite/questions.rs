//! The queries on the file, for its owner and for read-only processes: each a closure that owns its arguments, to run on
//! another thread.

use std::sync::Arc;

use rusqlite::{Connection, Result};

use super::listing::List;
use super::{claims, counting, listing};
use crate::id::Handle;
use crate::record::{Record, Summary};
use crate::store::{Counts, Listing, Outlined, Page, PlacesPage};
use crate::time::Timestamp;

/// [`Store::outlines`](crate::store::Store::outlines).
pub(super) fn outlines(
    handles: &[Handle],
) -> impl FnOnce(&Connection) -> Result<Vec<Outlined>> + Send + use<> {
    let handles = handles.to_vec();
    move |connection| listing::outlines(connection, &handles)
}

/// [`Store::list`](crate::store::Store::list).
pub(super) fn list(
    listing: Listing<'_>,
    now: Timestamp,
) -> impl FnOnce(&Connection) -> Result<Page<Summary>> + Send + use<> {
    let list = List::new(listing, now);
    move |connection| list.page(connection)
}

/// [`Store::records`](crate::store::Store::records).
pub(super) fn records(
    after: Option<Handle>,
    limit: usize,
    now: Timestamp,
) -> impl FnOnce(&Connection) -> Result<Page<Arc<Record>>> + Send + use<> {
    move |connection| listing::records(connection, after, limit, now)
}

/// [`Store::counts`](crate::store::Store::counts).
pub(super) fn counts(
    now: Timestamp,
    since: &[Timestamp],
) -> impl FnOnce(&Connection) -> Result<Counts> + Send + use<> {
    let since = since.to_vec();
    move |connection| counting::counts(connection, now, &since)
}

/// [`Store::places`](crate::store::Store::places).
pub(super) fn places(user_id: &str) -> impl FnOnce(&Connection) -> Result<Vec<Handle>> + Send + use<> {
    let user_id = user_id.to_owned();
    move |connection| claims::places(connection, &user_id)
}

/// [`Store::all_places`](crate::store::Store::all_places).
pub(super) fn all_places(
    after: Option<&str>,
    limit: usize,
) -> impl FnOnce(&Connection) -> Result<PlacesPage> + Send + use<> {
    let after = after.map(str::to_owned);
    move |connection| claims::all_places(connection, after.as_deref(), limit)
}
