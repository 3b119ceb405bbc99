//! The places of users: a document for each user, in a collection beside that of the sessions.
//!
//! `{_id: user_id, handles: [BinData, ..]}`, in the order of arrival. Each step of a request is one update of one of them.

use mongodb::bson::{Document, RawBsonRef, RawDocument, RawDocumentBuf, doc};
use mongodb::options::ReturnDocument;

use super::connection::Documents;
use super::failure::{is_duplicate_key, store_error};
use super::metrics::Command;
use super::scalars;
use super::settings::{SERVER_LIMIT, SUFFIX};
use crate::id::Handle;
use crate::store::{Claim, Claimed, Places, PlacesPage, Result, StoreError};

/// The collection of the users' places.
pub(super) fn entries(sessions: &Documents) -> Documents {
    let names = sessions.namespace();
    sessions.beside(sessions.client().database(&names.db).collection(&format!("{}{SUFFIX}", names.coll)))
}

/// A [`Claim`] with owned fields.
pub(super) struct Claiming {
    user_id: String,
    handle: Handle,
    room: Option<usize>,
    moves_last: bool,
    earlier: Option<Vec<Handle>>,
}

impl From<Claim<'_>> for Claiming {
    fn from(claim: Claim<'_>) -> Self {
        let Claim { user_id, handle, room, moves_last, earlier } = claim;
        Self {
            user_id: user_id.to_owned(),
            handle,
            room,
            moves_last,
            earlier: earlier.map(<[Handle]>::to_vec),
        }
    }
}

/// See [`Store::claim`](crate::store::Store::claim).
pub(super) async fn claim(entries: &Documents, claim: &Claiming) -> Result<Claimed> {
    if let Some(earlier) = &claim.earlier {
        let entry = doc! { "_id": &claim.user_id, "handles": scalars::ids(earlier.iter().copied()) };
        let entry = RawDocumentBuf::try_from(&entry)
            .map_err(|_| StoreError::Unusable("a user id that BSON cannot hold".into()))?;
        match entries.ask(Command::Insert, entries.insert_one(entry)).await {
            // Another claim was faster; the existing list counts.
            Err(error) if !is_duplicate_key(&error) => return Err(store_error(error)),
            _ => {}
        }
    }
    if claim.moves_last { move_last(entries, claim).await } else { append(entries, claim).await }
}

/// Appends the handle, unless it is in the list.
async fn append(entries: &Documents, claim: &Claiming) -> Result<Claimed> {
    let Claiming { user_id, handle, room, .. } = claim;
    // Not $addToSet, which guarantees no order.
    let mut vacant = doc! { "_id": user_id, "handles": { "$ne": scalars::id(*handle) } };
    if let Some(room) = room {
        vacant.insert(format!("handles.{}", room.saturating_sub(1)), doc! { "$exists": false });
    }
    let push = doc! { "$push": { "handles": scalars::id(*handle) } };
    let mut again = entries.again();
    loop {
        let append = entries
            .find_one_and_update(vacant.clone(), push.clone())
            .return_document(ReturnDocument::After)
            .max_time(SERVER_LIMIT);
        let appended = entries.ask(Command::FindAndModify, append).await.map_err(store_error)?;
        if let Some(entry) = appended {
            return Ok(Claimed::Done(handles(user_id, &entry)?));
        }
        let Some(handles) = find(entries, user_id).await? else { return Ok(Claimed::Unknown) };
        let place = handles.iter().position(|other| other == handle);
        let fits = room.is_none_or(|room| place.unwrap_or(handles.len()) < room);
        match (place, fits) {
            (Some(_), true) => return Ok(Claimed::Done(handles)),
            (_, false) => return Ok(Claimed::Full(handles)),
            // A place became free between the two steps.
            (None, true) => again.wait().await?,
        }
    }
}

/// Moves or adds the handle to the end. Removing an item of an array and appending one are two updates of one field, which
/// one command may not have. So the array is replaced, by compare-and-set.
async fn move_last(entries: &Documents, claim: &Claiming) -> Result<Claimed> {
    let Claiming { user_id, handle, room, .. } = claim;
    let mut again = entries.again();
    loop {
        let Some(before) = find(entries, user_id).await? else { return Ok(Claimed::Unknown) };
        let others: Vec<Handle> = before.iter().filter(|other| *other != handle).copied().collect();
        if room.is_some_and(|room| others.len() >= room) {
            return Ok(Claimed::Full(before));
        }
        let after = [&others[..], &[*handle]].concat();
        if after == before || replace(entries, user_id, &before, &after).await? {
            return Ok(Claimed::Done(after));
        }
        again.wait().await?;
    }
}

async fn replace(entries: &Documents, user_id: &str, before: &[Handle], after: &[Handle]) -> Result<bool> {
    let ids = |handles: &[Handle]| scalars::ids(handles.iter().copied());
    let replace = entries
        .find_one_and_update(
            doc! { "_id": user_id, "handles": ids(before) },
            doc! { "$set": { "handles": ids(after) } },
        )
        .projection(doc! { "_id": 1 })
        .max_time(SERVER_LIMIT);
    let replaced = entries.ask(Command::FindAndModify, replace).await.map_err(store_error)?;
    Ok(replaced.is_some())
}

/// See [`Store::release`](crate::store::Store::release).
pub(super) async fn release(entries: &Documents, user_id: &str, gone: &[Handle]) -> Result<()> {
    let pull = doc! { "$pullAll": { "handles": scalars::ids(gone.iter().copied()) } };
    let mut again = entries.again();
    loop {
        let pull = entries
            .find_one_and_update(doc! { "_id": user_id }, pull.clone())
            .return_document(ReturnDocument::After)
            .max_time(SERVER_LIMIT);
        let pulled = entries.ask(Command::FindAndModify, pull).await.map_err(store_error)?;
        let left = match pulled {
            Some(entry) => Some(handles(user_id, &entry)?),
            None => find(entries, user_id).await?,
        };
        match left {
            None => return Ok(()),
            Some(left) if left.is_empty() => return forget_empty(entries, &[user_id.to_owned()]).await,
            Some(left) if left.iter().all(|handle| !gone.contains(handle)) => return Ok(()),
            Some(_) => again.wait().await?,
        }
    }
}

/// See [`Store::places`](crate::store::Store::places).
pub(super) async fn places(entries: &Documents, user_id: &str) -> Result<Vec<Handle>> {
    Ok(find(entries, user_id).await?.unwrap_or_default())
}

/// The handles of a user; `None` without a document.
async fn find(entries: &Documents, user_id: &str) -> Result<Option<Vec<Handle>>> {
    let find = entries.find_one(doc! { "_id": user_id }).max_time(SERVER_LIMIT);
    let found = entries.ask(Command::Find, find).await.map_err(store_error)?;
    found.map(|entry| handles(user_id, &entry)).transpose()
}

/// See [`Store::all_places`](crate::store::Store::all_places).
pub(super) async fn all_places(
    entries: &Documents,
    after: Option<String>,
    limit: usize,
) -> Result<PlacesPage> {
    let find = entries
        .find(doc! { "_id": users_after(after) })
        .sort(doc! { "_id": 1 })
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .max_time(SERVER_LIMIT);
    let mut cursor = entries.ask(Command::Find, find).await.map_err(store_error)?;
    let (mut page, mut empty, mut found) = (PlacesPage::default(), Vec::new(), 0);
    while cursor.advance().await.map_err(store_error)? {
        let Ok(Some(RawBsonRef::String(user_id))) = cursor.current().get("_id") else { continue };
        let user_id = user_id.to_owned();
        found += 1;
        page.next = Some(user_id.clone());
        match handles(&user_id, cursor.current()) {
            Ok(handles) if handles.is_empty() => empty.push(user_id),
            Ok(handles) => page.users.push(Places { user_id, handles }),
            Err(_) => tracing::warn!(
                user_id,
                "the user's entry in the users' collection cannot be read and is passed over; delete it, and it is made \
                 again from their sessions"
            ),
        }
    }
    if found < limit {
        page.next = None;
    }
    if !empty.is_empty() {
        forget_empty(entries, &empty).await?;
    }
    Ok(page)
}

/// A filter on `_id`. No user id is empty, and only strings compare with a string: documents of another kind, like the
/// [lease](super::lease), are left out.
pub(super) fn users_after(after: Option<String>) -> Document {
    doc! { "$gt": after.unwrap_or_default() }
}

/// Deletes the documents of users without handles, if they are still without: a claim may be faster.
async fn forget_empty(entries: &Documents, user_ids: &[String]) -> Result<()> {
    let empty = doc! { "_id": { "$in": user_ids }, "handles": { "$size": 0 } };
    // `delete_many` even for one user: see `again` on the replies of a delete of one.
    entries.ask(Command::Delete, entries.delete_many(empty)).await.map_err(store_error)?;
    Ok(())
}

fn handles(user_id: &str, entry: &RawDocument) -> Result<Vec<Handle>> {
    let unreadable = || {
        StoreError::Unusable(format!("the entry of user {user_id:?} in the users' collection cannot be read"))
    };
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
