//! Which sessions each user has, in the order of their arrival: a document a user, in a collection beside the sessions.
//!
//! `{_id: user_id, handles: [BinData, ..]}`. Each step on the way of a request is one update of one of them.

use mongodb::bson::{Binary, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc};
use mongodb::options::ReturnDocument;

use super::config::{SERVER_LIMIT, SUFFIX};
use super::connection::Documents;
use super::document::{self, date};
use super::failure::{is_duplicate_key, store_error};
use super::metrics::Command;
use crate::id::Handle;
use crate::store::{Claimed, Result, StoreError};
use crate::time::Timestamp;

/// The users' collection beside that of the sessions.
pub(super) fn entries(sessions: &Documents) -> Documents {
    let names = sessions.namespace();
    sessions.beside(sessions.client().database(&names.db).collection(&format!("{}{SUFFIX}", names.coll)))
}

/// See [`Store::claim`](crate::store::Store::claim).
pub(super) async fn claim(
    entries: &Documents,
    user_id: &str,
    handle: Handle,
    room: Option<usize>,
    earlier: Option<Vec<Handle>>,
) -> Result<Claimed> {
    if let Some(earlier) = earlier {
        let entry = RawDocumentBuf::try_from(&doc! { "_id": user_id, "handles": ids(&earlier) })
            .map_err(|_| StoreError::Unusable("a user id that BSON cannot hold".into()))?;
        match entries.ask(Command::Insert, entries.insert_one(entry)).await {
            // Somebody else was first; what counts is what is there.
            Err(error) if !is_duplicate_key(&error) => return Err(store_error(error)),
            _ => {}
        }
    }
    // Not $addToSet, which promises no order.
    let mut vacant = doc! { "_id": user_id, "handles": { "$ne": document::id(handle) } };
    if let Some(room) = room {
        vacant.insert(format!("handles.{}", room.saturating_sub(1)), doc! { "$exists": false });
    }
    let append = entries
        .find_one_and_update(vacant, doc! { "$push": { "handles": document::id(handle) } })
        .return_document(ReturnDocument::After)
        .max_time(SERVER_LIMIT);
    let appended = entries.ask(Command::FindAndModify, append).await.map_err(store_error)?;
    if let Some(entry) = appended {
        return Ok(Claimed::Done(handles(&entry)?));
    }
    let find = entries.find_one(doc! { "_id": user_id }).max_time(SERVER_LIMIT);
    let found = entries.ask(Command::Find, find).await.map_err(store_error)?;
    let Some(entry) = found else { return Ok(Claimed::Unknown) };
    let handles = handles(&entry)?;
    let place = handles.iter().position(|other| *other == handle);
    let beyond = |place: usize| room.is_some_and(|room| place >= room);
    Ok(match place {
        Some(place) if !beyond(place) => Claimed::Done(handles),
        None if !beyond(handles.len()) => {
            // The entry came, or a place in it became free, between the two steps: to be tried again.
            Claimed::Unknown
        }
        _ => Claimed::Full(handles),
    })
}

/// See [`Store::release`](crate::store::Store::release).
pub(super) async fn release(entries: &Documents, user_id: &str, gone: &[Handle]) -> Result<()> {
    let pull = entries
        .find_one_and_update(doc! { "_id": user_id }, doc! { "$pullAll": { "handles": ids(gone) } })
        .return_document(ReturnDocument::After)
        .max_time(SERVER_LIMIT);
    match entries.ask(Command::FindAndModify, pull).await.map_err(store_error)? {
        Some(entry) if handles(&entry)?.is_empty() => forget_if_empty(entries, user_id).await,
        _ => Ok(()),
    }
}

/// See [`Store::tidy_claims`](crate::store::Store::tidy_claims).
pub(super) async fn tidy(
    sessions: &Documents,
    now: Timestamp,
    after: Option<String>,
    limit: usize,
) -> Result<Option<String>> {
    let entries = entries(sessions);
    // No user's id is empty, and no other type is compared with text.
    let find = entries.find(doc! { "_id": { "$gt": after.unwrap_or_default() } }).sort(doc! { "_id": 1 });
    let limit_wanted = i64::try_from(limit).unwrap_or(i64::MAX);
    let find = find.limit(limit_wanted).max_time(SERVER_LIMIT);
    let mut cursor = entries.ask(Command::Find, find).await.map_err(store_error)?;
    let mut users = Vec::new();
    while cursor.advance().await.map_err(store_error)? {
        if let Ok(Some(RawBsonRef::String(user_id))) = cursor.current().get("_id") {
            users.push((user_id.to_owned(), handles(cursor.current())?));
        }
    }
    let all: Vec<Handle> = users.iter().flat_map(|(_, handles)| handles).copied().collect();
    let live = live_among(sessions, &all, now).await?;
    for (user_id, handles) in &users {
        let dead: Vec<Handle> = handles.iter().filter(|handle| !live.contains(handle)).copied().collect();
        if !dead.is_empty() || handles.is_empty() {
            release(&entries, user_id, &dead).await?;
        }
    }
    Ok(if users.len() < limit { None } else { users.pop().map(|(user_id, _)| user_id) })
}

async fn live_among(sessions: &Documents, handles: &[Handle], now: Timestamp) -> Result<Vec<Handle>> {
    let filter = doc! { "_id": { "$in": ids(handles) }, "expires_at": { "$gt": date(now) } };
    let find = sessions.find(filter).projection(doc! { "_id": 1 }).max_time(SERVER_LIMIT);
    let mut cursor = sessions.ask(Command::Find, find).await.map_err(store_error)?;
    let mut live = Vec::new();
    while cursor.advance().await.map_err(store_error)? {
        live.extend(document::handle_of(cursor.current()));
    }
    Ok(live)
}

/// Only while it is: a claim may come in between.
async fn forget_if_empty(entries: &Documents, user_id: &str) -> Result<()> {
    let empty: Document = doc! { "_id": user_id, "handles": { "$size": 0 } };
    entries.ask(Command::Delete, entries.delete_one(empty)).await.map_err(store_error)?;
    Ok(())
}

fn ids(handles: &[Handle]) -> Vec<Binary> {
    handles.iter().map(|handle| document::id(*handle)).collect()
}

fn handles(entry: &RawDocument) -> Result<Vec<Handle>> {
    let unreadable = || StoreError::Unusable("an entry of the users' collection cannot be read".into());
    let Ok(Some(RawBsonRef::Array(array))) = entry.get("handles") else { return Err(unreadable()) };
    array
        .into_iter()
        .map(|item| match item {
            Ok(RawBsonRef::Binary(id)) => {
                id.bytes.try_into().map(|bytes: [u8; 12]| Handle::from(bytes)).map_err(|_| unreadable())
            }
            _ => Err(unreadable()),
        })
        .collect()
}
