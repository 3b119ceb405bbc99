//! A sealed store for the conformance suite, which wants back the MACs that it gives: the seal makes its own in their place,
//! and they are put back here. All else is the seal's.

use std::collections::HashMap;
use std::sync::Mutex;

use super::*;
use crate::record::Mac;

pub(super) struct OwnMacs {
    store: SealedStore,
    given: Mutex<HashMap<Handle, Mac>>,
}

impl OwnMacs {
    pub(super) fn new(store: SealedStore) -> Self {
        Self { store, given: Mutex::default() }
    }

    fn give(&self, handle: Handle, mac: Option<Mac>) {
        let mut given = self.given.lock().unwrap();
        match mac {
            Some(mac) => given.insert(handle, mac),
            None => given.remove(&handle),
        };
    }

    fn put_back(&self, record: &Record) -> Arc<Record> {
        assert!(record.mac.is_some(), "the seal makes one for each");
        let mac = self.given.lock().unwrap().get(&record.handle).copied();
        Arc::new(Record { mac, ..record.clone() })
    }

    fn put_back_into(&self, loaded: Loaded) -> Loaded {
        match loaded {
            Loaded::Live(record) => Loaded::Live(self.put_back(&record)),
            Loaded::Expired(record) => Loaded::Expired(self.put_back(&record)),
            Loaded::Missing => Loaded::Missing,
        }
    }
}

#[async_trait]
impl Store for OwnMacs {
    async fn create(&self, record: Arc<Record>, now: Timestamp) -> Result<Created> {
        let created = self.store.create(Arc::clone(&record), now).await?;
        if created == Created::Yes {
            self.give(record.handle, record.mac);
        }
        Ok(created)
    }

    async fn load(&self, handle: Handle, now: Timestamp) -> Result<Loaded> {
        Ok(self.put_back_into(self.store.load(handle, now).await?))
    }

    fn has_records_at_hand(&self) -> bool {
        self.store.has_records_at_hand()
    }

    fn load_now(&self, handle: Handle, now: Timestamp) -> Option<Result<Loaded>> {
        Some(self.store.load_now(handle, now)?.map(|loaded| self.put_back_into(loaded)))
    }

    async fn update(&self, read: &Record, unless: Unless, change: &Change) -> Result<Updated> {
        Ok(match self.store.update(read, unless, change).await? {
            Updated::Done { record, lived_until } => {
                if change.mac.is_some() {
                    self.give(read.handle, change.mac);
                }
                Updated::Done { record: self.put_back(&record), lived_until }
            }
            other => other,
        })
    }

    async fn delete(&self, targets: &[Target]) -> Result<Vec<Handle>> {
        self.store.delete(targets).await
    }

    async fn outlines(&self, handles: &[Handle]) -> Result<Vec<Outlined>> {
        self.store.outlines(handles).await
    }

    async fn list(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page<Summary>> {
        self.store.list(listing, now).await
    }

    async fn records(
        &self,
        after: Option<Handle>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<Arc<Record>>> {
        let mut page = self.store.records(after, limit, now).await?;
        for record in &mut page.items {
            *record = self.put_back(record);
        }
        Ok(page)
    }

    async fn counts(&self, now: Timestamp, since: &[Timestamp]) -> Result<Counts> {
        self.store.counts(now, since).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed> {
        self.store.claim(claim).await
    }

    async fn release(&self, user_id: &str, handles: &[Handle]) -> Result<()> {
        self.store.release(user_id, handles).await
    }

    async fn places(&self, user_id: &str) -> Result<Vec<Handle>> {
        self.store.places(user_id).await
    }

    async fn all_places(&self, after: Option<&str>, limit: usize) -> Result<PlacesPage> {
        self.store.all_places(after, limit).await
    }

    async fn forget_places(&self) -> Result<()> {
        self.store.forget_places().await
    }

    async fn purge_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Purged>> {
        self.store.purge_expired(now, limit).await
    }

    async fn clear(&self) -> Result<u64> {
        self.store.clear().await
    }

    async fn ping(&self) -> Result<()> {
        self.store.ping().await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}
