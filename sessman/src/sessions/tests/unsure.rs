//! A store that now and then makes a write and does not say so, or takes its time.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;

use super::*;
use crate::id::SecretHash;
use crate::store::{Claim, Claimed, Counts, Created, Page, Purged, Result};

/// The memory store, some of whose calls fail.
pub(super) struct Unsure {
    pub(super) inner: MemoryStore,
    /// So many updates are made and not answered.
    pub(super) silent_updates: AtomicU32,
    /// So many deletions are not made.
    pub(super) failing_deletes: AtomicU32,
    /// What a load takes, by this clock.
    pub(super) slow_loads: Option<(Arc<ManualClock>, Duration)>,
    /// How many milliseconds a load or an update takes.
    pub(super) delay: AtomicU32,
}

impl Default for Unsure {
    fn default() -> Self {
        let inner = MemoryStore::new(MemoryConfig::default());
        let [silent_updates, failing_deletes, delay] = [0; 3].map(AtomicU32::new);
        Self { inner, silent_updates, failing_deletes, slow_loads: None, delay }
    }
}

impl Unsure {
    async fn wait(&self) {
        let delay = self.delay.load(Ordering::SeqCst);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay.into())).await;
        }
    }
}

fn takes_one(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn away<T>() -> Result<T> {
    Err(StoreError::Unavailable("no answer came".into()))
}

#[async_trait]
impl Store for Unsure {
    async fn create(&self, record: Arc<Record>, now: Timestamp) -> Result<Created> {
        self.inner.create(record, now).await
    }

    async fn load(&self, handle: Handle, now: Timestamp) -> Result<Loaded> {
        self.wait().await;
        let loaded = self.inner.load(handle, now).await;
        if let Some((clock, takes)) = &self.slow_loads {
            clock.advance(*takes);
        }
        loaded
    }

    async fn update(&self, handle: Handle, expected: Expected, change: &Change) -> Result<Updated> {
        self.wait().await;
        let updated = self.inner.update(handle, expected, change).await;
        if takes_one(&self.silent_updates) { away() } else { updated }
    }

    async fn delete(&self, handle: Handle, secret_hash: Option<SecretHash>) -> Result<bool> {
        if takes_one(&self.failing_deletes) { away() } else { self.inner.delete(handle, secret_hash).await }
    }

    async fn list(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page> {
        self.inner.list(listing, now).await
    }

    async fn counts(&self, now: Timestamp) -> Result<Counts> {
        self.inner.counts(now).await
    }

    async fn counts_since(&self, now: Timestamp, moments: &[Timestamp]) -> Result<Vec<u64>> {
        self.inner.counts_since(now, moments).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed> {
        self.inner.claim(claim).await
    }

    async fn release(&self, user_id: &str, handles: &[Handle]) -> Result<()> {
        self.inner.release(user_id, handles).await
    }

    async fn tidy_claims(&self, now: Timestamp, after: Option<&str>, limit: usize) -> Result<Option<String>> {
        self.inner.tidy_claims(now, after, limit).await
    }

    async fn forget_claims(&self) -> Result<()> {
        self.inner.forget_claims().await
    }

    async fn purge_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Purged>> {
        self.inner.purge_expired(now, limit).await
    }

    async fn clear(&self) -> Result<u64> {
        self.inner.clear().await
    }

    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
