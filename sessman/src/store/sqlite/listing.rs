//! Pages of sessions. A row that cannot be read is reported by its handle, and does not fail the page.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, Row, Rows};

use super::row::{self, outline_columns, read_or_handle, record_columns, summary_columns};
use crate::id::Handle;
use crate::labels::Label;
use crate::record::{Record, Summary};
use crate::store::{Listing, Outlined, PAGE_BYTES, Page};
use crate::time::Timestamp;

/// The most rows that a page examines: some milliseconds of work. Expired sessions are examined and not shown.
pub(super) const MAX_LOOKED_AT: usize = 10_000;

pub(super) const SUMMARIES: &str =
    concat!("SELECT ", summary_columns!(), " FROM sessions WHERE handle > ?1 ORDER BY handle");

pub(super) const SUMMARIES_OF_USER: &str = concat!(
    "SELECT ",
    summary_columns!(),
    " FROM sessions WHERE user_id = ?2 AND handle > ?1 ORDER BY handle"
);

pub(super) const SUMMARIES_OF_LABEL: &str = concat!(
    "SELECT ",
    summary_columns!(),
    " FROM (SELECT handle AS labelled FROM labels WHERE name = ?2 AND value = ?3 AND handle > ?1 ORDER BY handle)
     JOIN sessions ON sessions.handle = labelled ORDER BY labelled"
);

pub(super) const RECORDS: &str =
    concat!("SELECT ", record_columns!(), " FROM sessions WHERE handle > ?1 ORDER BY handle");

pub(super) const OUTLINES: &str = concat!(
    "SELECT ",
    outline_columns!(),
    " FROM sessions WHERE handle IN (SELECT unhex(value) FROM json_each(?1))"
);

/// The arguments of [`Store::list`](crate::store::Store::list), with an owned user id.
pub(super) struct List {
    user_id: Option<String>,
    label: Option<Label>,
    after: Option<Handle>,
    limit: usize,
    now: Timestamp,
}

impl List {
    pub(super) fn new(listing: Listing<'_>, now: Timestamp) -> Self {
        let Listing { user_id, label, after, limit } = listing;
        Self { user_id: user_id.map(str::to_owned), label: label.cloned(), after, limit, now }
    }

    pub(super) fn page(&self, connection: &Connection) -> rusqlite::Result<Page<Summary>> {
        let after = beginning(self.after.as_ref());
        let mut statement;
        let rows = match (&self.user_id, &self.label) {
            (None, None) => {
                statement = connection.prepare_cached(SUMMARIES)?;
                statement.query([after])?
            }
            (None, Some(label)) => {
                statement = connection.prepare_cached(SUMMARIES_OF_LABEL)?;
                statement.query((after, label.name(), label.value()))?
            }
            (Some(user_id), _) => {
                statement = connection.prepare_cached(SUMMARIES_OF_USER)?;
                statement.query((after, user_id))?
            }
        };
        let has_label = |summary: &Summary| self.label.as_ref().is_none_or(|label| summary.labels.has(label));
        page(rows, self.limit, self.now, row::summary, has_label, |summary| (summary.handle, summary.bytes()))
    }
}

/// [`Store::records`](crate::store::Store::records).
pub(super) fn records(
    connection: &Connection,
    after: Option<Handle>,
    limit: usize,
    now: Timestamp,
) -> rusqlite::Result<Page<Arc<Record>>> {
    let mut statement = connection.prepare_cached(RECORDS)?;
    let rows = statement.query([beginning(after.as_ref())])?;
    let read = |row: &Row<'_>| row::record(row).map(Arc::new);
    page(rows, limit, now, read, |_| true, |record: &Arc<Record>| (record.handle, record.bytes()))
}

/// The handle to start after; the empty blob is before all handles.
fn beginning(after: Option<&Handle>) -> &[u8] {
    after.map_or(&[], |after| after.as_bytes())
}

/// A page of those `rows` that match; they begin with [`outline_columns`] and are ordered by handle. `told` returns an item's
/// handle and its memory in bytes.
fn page<T>(
    mut rows: Rows<'_>,
    limit: usize,
    now: Timestamp,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    matches: impl Fn(&T) -> bool,
    told: impl Fn(&T) -> (Handle, usize),
) -> rusqlite::Result<Page<T>> {
    let (mut page, mut last, mut size) = (Page::default(), None, 0);
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        let is_full = page.items.len() + page.unread.len() >= limit || size >= PAGE_BYTES;
        if is_full || (looked_at >= MAX_LOOKED_AT && last.is_some()) {
            page.next = last;
            break;
        }
        looked_at += 1;
        if row::expires_at(row)? <= now {
            last = row::handle(row).ok().or(last);
            continue;
        }
        match read_or_handle(row, &read)? {
            Ok(item) if !matches(&item) => last = Some(told(&item).0),
            Ok(item) => {
                let (handle, bytes) = told(&item);
                last = Some(handle);
                size += bytes;
                page.items.push(item);
            }
            Err(Some(handle)) => {
                last = Some(handle);
                page.unread.push(handle);
            }
            // A row without a readable handle is no session that a client could request.
            Err(None) => {}
        }
    }
    Ok(page)
}

/// [`Store::outlines`](crate::store::Store::outlines).
pub(super) fn outlines(connection: &Connection, handles: &[Handle]) -> rusqlite::Result<Vec<Outlined>> {
    let mut found = HashMap::with_capacity(handles.len());
    let mut statement = connection.prepare_cached(OUTLINES)?;
    let mut rows = statement.query([row::json(handles)])?;
    while let Some(row) = rows.next()? {
        match read_or_handle(row, row::outline)? {
            Ok((handle, outline)) => found.insert(handle, Outlined::Found(outline)),
            Err(Some(handle)) => found.insert(handle, Outlined::Unreadable),
            Err(None) => None,
        };
    }
    Ok(handles.iter().map(|handle| found.get(handle).cloned().unwrap_or(Outlined::Missing)).collect())
}
