//! The store itself: each call of the contract as one or two commands.

use std::sync::Arc;

use async_trait::async_trait;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, RawDocumentBuf, doc};
use mongodb::options::ReturnDocument;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::checkup;
use super::claims;
use super::config::{MongoConfig, SERVER_LIMIT};
use super::connection::{Connection, Documents};
use super::document::{self, date};
use super::failure::{is_duplicate_key, store_error};
use super::indexes;
use super::metrics::Command;
use crate::id::{Handle, SecretHash};
use crate::record::{Change, Record};
use crate::store::{
    Checkup, Claim, Claimed, Counts, Created, Expected, Listing, Loaded, Page, Purged, Result, Store,
    StoreError, Updated,
};
use crate::time::Timestamp;

/// Documents that `clear` deletes with one command, well within the limit of a call.
const CLEAR_SLICE: usize = 1_000;

/// Sessions in a MongoDB collection. See [the module](super) for what is promised.
pub struct MongoStore {
    connection: Arc<Connection>,
    /// Those that make the indexes; they end with the store.
    tasks: Mutex<JoinSet<()>>,
}

impl MongoStore {
    /// Opens the store and returns at once, whether the server is there or not: calls fail with
    /// [`StoreError::Unavailable`] until it is. The indexes are made meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] for a configuration that [`MongoConfig::check`] refuses.
    ///
    /// # Panics
    /// Outside of a tokio runtime: the driver's tasks and those of the store run on the one it is called in.
    pub fn open(config: MongoConfig) -> Result<Self> {
        let mut store = Self::open_as_it_is(config)?;
        let indexed = Arc::clone(&store.connection);
        store.tasks.get_mut().spawn(async move { indexes::make(&indexed).await });
        Ok(store)
    }

    /// As [`open`](Self::open), and makes no index.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_as_it_is(config: MongoConfig) -> Result<Self> {
        let config = config.check().map_err(|problem| StoreError::Unusable(problem.to_string()))?;
        Ok(Self { connection: Arc::new(Connection::new(config)), tasks: Mutex::default() })
    }
}

#[async_trait]
impl Store for MongoStore {
    async fn create(&self, record: Arc<Record>, now: Timestamp) -> Result<Created> {
        let handle = record.handle;
        let document = raw(&document::from_record(&record)?)?;
        self.connection
            .call(move |documents| async move { create(&documents, handle, document, now).await })
            .await
    }

    async fn load(&self, handle: Handle, now: Timestamp) -> Result<Loaded> {
        let find = move |documents: Documents| async move {
            let find = documents.find_one(doc! { "_id": document::id(handle) }).max_time(SERVER_LIMIT);
            documents.ask(Command::Find, find).await.map_err(store_error)
        };
        let found = self.connection.call(find).await?;
        let record = found.as_deref().map(document::to_record).transpose()?;
        Ok(Loaded::of(record.map(Arc::new), now))
    }

    async fn update(&self, handle: Handle, expected: Expected, change: &Change) -> Result<Updated> {
        let filter = document::expected(handle, expected, change.now)?;
        let update = document::from_change(handle, change)?;
        // Whose id opens the session learns which version it has, whatever it is.
        let holder = Expected::holder(expected.secret_hash);
        let any_version = document::expected(handle, holder, change.now)?;
        let call = move |documents: Documents| async move {
            let update = documents
                .find_one_and_update(filter, update)
                .return_document(ReturnDocument::After)
                .max_time(SERVER_LIMIT);
            let updated = documents.ask(Command::FindAndModify, update).await.map_err(store_error)?;
            if let Some(document) = updated {
                return Ok(Updated::Done(Arc::new(document::to_record(&document)?)));
            }
            if expected == holder {
                return Ok(Updated::Missing);
            }
            let find = documents.find_one(any_version).max_time(SERVER_LIMIT);
            let found = documents.ask(Command::Find, find).await.map_err(store_error)?;
            match found {
                Some(document) => Ok(Updated::Conflict(document::to_record(&document)?.version)),
                None => Ok(Updated::Missing),
            }
        };
        self.connection.call(call).await
    }

    async fn delete(&self, handle: Handle, secret_hash: Option<SecretHash>) -> Result<bool> {
        let mut filter = doc! { "_id": document::id(handle) };
        if let Some(secret_hash) = secret_hash {
            filter.insert("secret_hash", document::hash(secret_hash));
        }
        let delete = move |documents: Documents| async move {
            let delete = documents.delete_one(filter);
            let deleted = documents.ask(Command::Delete, delete).await.map_err(store_error)?;
            Ok(deleted.deleted_count == 1)
        };
        self.connection.call(delete).await
    }

    async fn list(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page> {
        let mut filter = doc! { "expires_at": { "$gt": date(now) } };
        if let Some(user_id) = listing.user_id {
            filter.insert("user_id", user_id);
        }
        let (after, limit) = (listing.after, listing.limit.max(1));
        self.connection
            .call(move |documents| async move { list(&documents, filter, after, limit).await })
            .await
    }

    async fn counts(&self, now: Timestamp) -> Result<Counts> {
        let count = move |documents: Documents| async move {
            // Both within the index on `expires_at`, which has no entry of a document without a date there.
            let live = documents.count_documents(doc! { "expires_at": { "$gt": date(now) } });
            let live = live.max_time(SERVER_LIMIT);
            let active = documents.ask(Command::Aggregate, live).await.map_err(store_error)?;
            let dead = documents.count_documents(expired(now));
            let dead = dead.max_time(SERVER_LIMIT);
            let expired = documents.ask(Command::Aggregate, dead).await.map_err(store_error)?;
            Ok(Counts { active, expired })
        };
        self.connection.call(count).await
    }

    async fn counts_since(&self, now: Timestamp, moments: &[Timestamp]) -> Result<Vec<u64>> {
        let mut counts = Vec::new();
        for moment in moments {
            let filter = doc! { "expires_at": { "$gt": date(now) }, "created_at": { "$gte": date(*moment) } };
            let count = move |documents: Documents| async move {
                let count = documents.count_documents(filter).max_time(SERVER_LIMIT);
                documents.ask(Command::Aggregate, count).await.map_err(store_error)
            };
            counts.push(self.connection.call(count).await?);
        }
        Ok(counts)
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed> {
        let (user_id, handle, room) = (claim.user_id.to_owned(), claim.handle, claim.room);
        let earlier = claim.earlier.map(<[Handle]>::to_vec);
        let call = move |documents: Documents| async move {
            claims::claim(&claims::entries(&documents), &user_id, handle, room, earlier).await
        };
        self.connection.call(call).await
    }

    async fn release(&self, user_id: &str, handles: &[Handle]) -> Result<()> {
        let (user_id, handles) = (user_id.to_owned(), handles.to_vec());
        let call = move |documents: Documents| async move {
            claims::release(&claims::entries(&documents), &user_id, &handles).await
        };
        self.connection.call(call).await
    }

    async fn tidy_claims(&self, now: Timestamp, after: Option<&str>, limit: usize) -> Result<Option<String>> {
        let after = after.map(str::to_owned);
        let call =
            move |documents: Documents| async move { claims::tidy(&documents, now, after, limit).await };
        self.connection.call(call).await
    }

    async fn forget_claims(&self) -> Result<()> {
        let call = move |documents: Documents| async move {
            let entries = claims::entries(&documents);
            entries.ask(Command::Delete, entries.delete_many(doc! {})).await.map_err(store_error)?;
            Ok(())
        };
        self.connection.call(call).await
    }

    async fn purge_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Purged>> {
        self.connection.call(move |documents| async move { purge(&documents, now, limit).await }).await
    }

    async fn clear(&self) -> Result<u64> {
        let (mut cleared, mut after) = (0, None);
        loop {
            // Upwards and in slices: each call is short, and sessions that begin meanwhile cannot keep it going.
            let slice = move |documents: Documents| async move { clear(&documents, after).await };
            let (deleted, last) = self.connection.call(slice).await?;
            cleared += deleted;
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        self.forget_claims().await?;
        Ok(cleared)
    }

    async fn ping(&self) -> Result<()> {
        // A write that finds nothing: it needs a primary, the right to write and a majority, and changes nothing.
        let nobody = Binary { subtype: BinarySubtype::Generic, bytes: Vec::new() };
        let write = move |documents: Documents| async move {
            let update = doc! { "$set": { "schema": Record::SCHEMA } };
            let update = documents.update_one(doc! { "_id": nobody }, update);
            documents.ask(Command::Update, update).await.map_err(store_error)?;
            Ok(())
        };
        self.connection.call(write).await
    }

    fn metrics(&self) -> String {
        self.connection.metrics().to_string()
    }

    async fn checkup(&self) -> Result<Checkup> {
        checkup::of(&self.connection).await
    }

    async fn close(&self) {
        self.tasks.lock().await.shutdown().await;
        self.connection.close().await;
    }
}

/// Inserts, or else replaces an expired record, until one of both is done or a live one is seen.
async fn create(
    documents: &Documents,
    handle: Handle,
    record: RawDocumentBuf,
    now: Timestamp,
) -> Result<Created> {
    let same_id = doc! { "_id": document::id(handle) };
    // Between the two steps an expired record may be removed, and then nothing is there to be replaced. That happens
    // once; more rounds than two mean that what is in the way is something else.
    for _ in 0..3 {
        match documents.ask(Command::Insert, documents.insert_one(&record)).await {
            Ok(_) => return Ok(Created::Yes),
            Err(error) if is_duplicate_key(&error) => {}
            Err(error) => return Err(store_error(error)),
        }
        let mut dead = expired(now);
        dead.extend(same_id.clone());
        let replace = documents.replace_one(dead, &record);
        let replaced = documents.ask(Command::Update, replace).await.map_err(store_error)?;
        if replaced.matched_count == 1 {
            return Ok(Created::Yes);
        }
        let find = documents.find_one(same_id.clone()).projection(doc! { "_id": 1 }).max_time(SERVER_LIMIT);
        if documents.ask(Command::Find, find).await.map_err(store_error)?.is_some() {
            return Ok(Created::Exists);
        }
    }
    Err(StoreError::Unusable(
        "a unique index of the collection, other than that of _id, refuses sessions".into(),
    ))
}

/// A page of what `filter` matches behind `after`. Documents of others are passed over, and more is asked for in their
/// place, so that they end no page early.
async fn list(
    documents: &Documents,
    mut filter: Document,
    mut after: Option<Handle>,
    limit: usize,
) -> Result<Page> {
    let mut page = Page::default();
    loop {
        // One more than fits tells whether there is a next page.
        let wanted = limit.saturating_add(1) - page.records.len();
        filter.insert("_id", handles_after(after));
        let find = documents
            .find(filter.clone())
            .sort(doc! { "_id": 1 })
            .limit(i64::try_from(wanted).unwrap_or(i64::MAX))
            .batch_size(u32::try_from(wanted).unwrap_or(u32::MAX))
            .max_time(SERVER_LIMIT);
        let mut cursor = documents.ask(Command::Find, find).await.map_err(store_error)?;
        let mut found = 0;
        while cursor.advance().await.map_err(store_error)? {
            found += 1;
            after = document::handle_of(cursor.current()).or(after);
            match document::to_record(cursor.current()) {
                Ok(_) if page.records.len() == limit => {
                    page.next = page.records.last().map(|record| record.handle);
                }
                Ok(record) => page.records.push(Arc::new(record)),
                Err(unreadable) => {
                    tracing::warn!(%unreadable, "a document of the session collection is left out");
                }
            }
        }
        if page.next.is_some() || found < wanted {
            return Ok(page);
        }
    }
}

async fn purge(documents: &Documents, now: Timestamp, limit: usize) -> Result<Vec<Purged>> {
    let mut purged = Vec::new();
    while purged.len() < limit {
        let wanted = limit - purged.len();
        let (ids, records) = expired_records(documents, now, wanted).await?;
        if ids.is_empty() {
            break;
        }
        let all = ids.len() < wanted;
        // The condition again: one that was extended since it was found stays.
        let mut filter = expired(now);
        filter.insert("_id", doc! { "$in": ids.clone() });
        let delete = documents.delete_many(filter);
        let deleted = documents.ask(Command::Delete, delete).await.map_err(store_error)?.deleted_count;
        // Another node or the server itself took some of them, or one was extended: which is not said, so that as many
        // are named as there were.
        purged.extend(records.into_iter().take(usize::try_from(deleted).unwrap_or(usize::MAX)));
        if all {
            break;
        }
    }
    Ok(purged)
}

/// Deletes one slice of the records after `after`; says how many, and where to go on.
async fn clear(documents: &Documents, after: Option<Handle>) -> Result<(u64, Option<Handle>)> {
    // What has no secret is no session, and not ours to delete.
    let filter = doc! { "_id": handles_after(after), "secret_hash": { "$exists": true } };
    let found = ids(documents, filter, CLEAR_SLICE).await?;
    let last = match found.last() {
        Some(Bson::Binary(id)) if found.len() == CLEAR_SLICE => <[u8; 12]>::try_from(&*id.bytes).ok(),
        _ => None,
    };
    if found.is_empty() {
        return Ok((0, None));
    }
    let delete = documents.delete_many(doc! { "_id": { "$in": found } });
    let deleted = documents.ask(Command::Delete, delete).await.map_err(store_error)?;
    Ok((deleted.deleted_count, last.map(Handle::from)))
}

/// The `_id`s of at most `limit` documents that `filter` matches, in the order of a field that has an index.
/// At most `limit` documents that are past their time: their `_id`s, and of those that are records what is told of them.
async fn expired_records(
    documents: &Documents,
    now: Timestamp,
    limit: usize,
) -> Result<(Vec<Bson>, Vec<Purged>)> {
    let find = documents
        .find(expired(now))
        .projection(doc! { "_id": 1, "user_id": 1 })
        .sort(doc! { "expires_at": 1 })
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .max_time(SERVER_LIMIT);
    let mut cursor = documents.ask(Command::Find, find).await.map_err(store_error)?;
    let (mut ids, mut records) = (Vec::new(), Vec::new());
    while cursor.advance().await.map_err(store_error)? {
        let found = cursor.current();
        if let Ok(Some(id)) = found.get("_id") {
            ids.extend(Bson::try_from(id).ok());
        }
        let user_id = found.get_str("user_id").ok().map(str::to_owned);
        records.extend(document::handle_of(found).map(|handle| Purged { handle, user_id }));
    }
    Ok((ids, records))
}

async fn ids(documents: &Documents, filter: Document, limit: usize) -> Result<Vec<Bson>> {
    let find = documents
        .find(filter)
        .projection(doc! { "_id": 1 })
        .sort(doc! { "_id": 1 })
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .max_time(SERVER_LIMIT);
    let mut cursor = documents.ask(Command::Find, find).await.map_err(store_error)?;
    let mut ids = Vec::new();
    while cursor.advance().await.map_err(store_error)? {
        if let Ok(Some(id)) = cursor.current().get("_id") {
            ids.extend(Bson::try_from(id).ok());
        }
    }
    Ok(ids)
}

/// A condition on `_id`: a handle greater than `after`. Binary data is ordered by length first and comes before and
/// after other types, so the bounds leave `_id`s of other kinds out.
fn handles_after(after: Option<Handle>) -> Document {
    let last = document::id(Handle::from([0xFF; 12]));
    match after {
        Some(after) => doc! { "$gt": document::id(after), "$lte": last },
        None => doc! { "$gte": document::id(Handle::from([0; 12])), "$lte": last },
    }
}

fn expired(now: Timestamp) -> Document {
    doc! { "expires_at": { "$lte": date(now) } }
}

fn raw(document: &Document) -> Result<RawDocumentBuf> {
    RawDocumentBuf::try_from(document)
        .map_err(|_| StoreError::Unusable("a record that BSON cannot hold".into()))
}
