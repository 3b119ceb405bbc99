//! The store itself: each method as one or two commands.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::claims::{self, Claiming};
use super::conditions::{self, Read};
use super::connection::{Connection, Documents};
use super::failure::store_error;
use super::lease::Lease;
use super::listing::Wanted;
use super::metrics::Command;
use super::settings::{MongoConfig, SERVER_LIMIT};
use super::{checkup, cleanup, counts, indexes, listing, probe, writes};
use super::{document, scalars};
use crate::id::Handle;
use crate::record::{Change, Record, Summary};
use crate::store::{
    Checkup, Claim, Claimed, Counts, Created, Listing, Loaded, Outlined, Page, PlacesPage, Purged, Result,
    Store, StoreError, Target, Unless, Updated,
};
use crate::time::Timestamp;

/// Records per command; well within the time limit of a call.
const SLICE: usize = 500;

/// Sessions in a MongoDB collection. For its guarantees see [the module](super).
pub struct MongoStore {
    connection: Arc<Connection>,
    /// The tasks that create the indexes; they end with the store.
    tasks: Mutex<JoinSet<()>>,
    /// Identifies this store among other nodes.
    node: ObjectId,
    lease: Arc<Lease>,
}

impl MongoStore {
    /// Opens the store and returns immediately, whether the server is reachable or not: until it is, calls fail with
    /// [`StoreError::Unavailable`]. The indexes are created in the background.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] for a configuration that [`MongoConfig::check`] rejects.
    ///
    /// # Panics
    /// Outside of a tokio runtime, which runs the tasks of the driver and the store.
    pub fn open(config: MongoConfig) -> Result<Self> {
        let mut store = Self::open_as_it_is(config)?;
        let indexed = Arc::clone(&store.connection);
        store.tasks.get_mut().spawn(async move { indexes::make(&indexed).await });
        Ok(store)
    }

    /// Like [`open`](Self::open), without creating indexes.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_as_it_is(config: MongoConfig) -> Result<Self> {
        let config = config.check().map_err(|problem| StoreError::Unusable(problem.to_string()))?;
        let node = ObjectId::new();
        Ok(Self {
            connection: Arc::new(Connection::new(config)),
            tasks: Mutex::default(),
            node,
            lease: Arc::new(Lease::new(node)),
        })
    }
}

impl MongoStore {
    /// Deletes the documents that match `filter`, in ascending order and in batches: each call is short, and concurrent inserts
    /// cannot keep it going. `range` is the filter for `_id`s after one, or for all.
    async fn clear_slices(
        &self,
        collection: fn(&Documents) -> Documents,
        filter: Document,
        range: fn(Option<Bson>) -> Document,
    ) -> Result<u64> {
        let (mut cleared, mut last) = (0, None);
        loop {
            let (filter, after) = (filter.clone(), range(last));
            let slice = move |documents: Documents| async move {
                cleanup::clear(&collection(&documents), filter, after).await
            };
            let deleted;
            (deleted, last) = self.connection.call(slice).await?;
            cleared += deleted;
            if last.is_none() {
                return Ok(cleared);
            }
        }
    }
}

#[async_trait]
impl Store for MongoStore {
    async fn create(&self, record: Arc<Record>, now: Timestamp) -> Result<Created> {
        let handle = record.handle;
        let document = raw(&document::from_record(&record)?)?;
        self.connection
            .call(move |documents| async move { writes::create(&documents, handle, document, now).await })
            .await
    }

    async fn load(&self, handle: Handle, now: Timestamp) -> Result<Loaded> {
        let find = move |documents: Documents| async move {
            let find = documents.find_one(doc! { "_id": scalars::id(handle) }).max_time(SERVER_LIMIT);
            documents.ask(Command::Find, find).await.map_err(store_error)
        };
        let found = self.connection.call(find).await?;
        let record = found.as_deref().map(document::to_record).transpose()?;
        Ok(Loaded::of(record.map(Arc::new), now))
    }

    async fn update(&self, read: &Record, unless: Unless, change: &Change) -> Result<Updated> {
        let (read, change) = (Read::of(read), change.clone());
        let call = move |documents: Documents| async move {
            writes::update(&documents, read, unless, &change).await
        };
        self.connection.call(call).await
    }

    async fn delete(&self, targets: &[Target]) -> Result<Vec<Handle>> {
        if let [target] = *targets {
            let call =
                move |documents: Documents| async move { writes::delete_one(&documents, target).await };
            let deleted = self.connection.call(call).await?;
            return Ok(deleted.then_some(target.handle).into_iter().collect());
        }
        let mut deleted = Vec::new();
        for slice in targets.chunks(SLICE) {
            let slice = slice.to_vec();
            let call =
                move |documents: Documents| async move { writes::delete_many(&documents, &slice).await };
            deleted.extend(self.connection.call(call).await?);
        }
        Ok(deleted)
    }

    async fn outlines(&self, handles: &[Handle]) -> Result<Vec<Outlined>> {
        let mut outlines = Vec::new();
        for slice in handles.chunks(10 * SLICE) {
            let slice = slice.to_vec();
            let call = move |documents: Documents| async move { listing::outlines(&documents, &slice).await };
            outlines.extend(self.connection.call(call).await?);
        }
        Ok(outlines)
    }

    async fn list(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page<Summary>> {
        let Listing { user_id, label, after, limit } = listing;
        let (user_id, label) = (user_id.map(str::to_owned), label.cloned());
        let wanted = Wanted { user_id, label, after, limit: limit.max(1), now };
        self.connection.call(move |documents| async move { listing::list(&documents, wanted).await }).await
    }

    async fn records(
        &self,
        after: Option<Handle>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<Arc<Record>>> {
        let wanted = Wanted { user_id: None, label: None, after, limit: limit.max(1), now };
        self.connection.call(move |documents| async move { listing::records(&documents, wanted).await }).await
    }

    async fn counts(&self, now: Timestamp, since: &[Timestamp]) -> Result<Counts> {
        let since = since.to_vec();
        let call = move |documents: Documents| async move {
            counts::of(&documents, now, &since, counts::COUNTED).await
        };
        self.connection.call(call).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed> {
        let claiming = Claiming::from(claim);
        let call = move |documents: Documents| async move {
            claims::claim(&claims::entries(&documents), &claiming).await
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

    async fn places(&self, user_id: &str) -> Result<Vec<Handle>> {
        let user_id = user_id.to_owned();
        let call = move |documents: Documents| async move {
            claims::places(&claims::entries(&documents), &user_id).await
        };
        self.connection.call(call).await
    }

    async fn all_places(&self, after: Option<&str>, limit: usize) -> Result<PlacesPage> {
        let after = after.map(str::to_owned);
        let call = move |documents: Documents| async move {
            claims::all_places(&claims::entries(&documents), after, limit).await
        };
        self.connection.call(call).await
    }

    async fn forget_places(&self) -> Result<()> {
        let after = |last: Option<Bson>| match last {
            Some(Bson::String(user_id)) => claims::users_after(Some(user_id)),
            _ => claims::users_after(None),
        };
        self.clear_slices(claims::entries, doc! {}, after).await?;
        Ok(())
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn leads_cleanup(&self, period: Duration) -> Result<bool> {
        let lease = Arc::clone(&self.lease);
        let call = move |documents: Documents| async move {
            lease.is_held(&claims::entries(&documents), period).await
        };
        self.connection.call(call).await
    }

    async fn purge_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Purged>> {
        self.connection
            .call(move |documents| async move { cleanup::purge(&documents, now, limit).await })
            .await
    }

    async fn clear(&self) -> Result<u64> {
        // Without a secret it is no session, and not ours to delete.
        let sessions = doc! { "secret_hash": { "$exists": true } };
        let after =
            |last: Option<Bson>| conditions::handles_after(last.as_ref().and_then(scalars::handle_in));
        let cleared = self.clear_slices(Documents::clone, sessions, after).await?;
        self.forget_places().await?;
        Ok(cleared)
    }

    async fn ping(&self) -> Result<()> {
        let node = self.node;
        self.connection.call(move |documents| async move { probe::ping(&documents, node).await }).await
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

fn raw(document: &Document) -> Result<RawDocumentBuf> {
    RawDocumentBuf::try_from(document)
        .map_err(|_| StoreError::Unusable("a record that BSON cannot hold".into()))
}
