//! A store that now and then makes a write and does not say so, or takes its time.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::*;
use crate::record::Summary;
use crate::store::{Claim, Claimed, Counts, Created, Outlined, Page, PlacesPage, Purged, Result};

/// What happens between two calls of others.
type Meanwhile = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// The memory store, some of whose calls fail.
pub(super) struct Unsure {
    pub(super) inner: Arc<MemoryStore>,
    /// So many updates are made and not answered.
    pub(super) silent_updates: AtomicU32,
    /// So many deletions are made and not answered.
    pub(super) silent_deletes: AtomicU32,
    /// So many deletions are not made.
    pub(super) failing_deletes: AtomicU32,
    /// What taking a place takes, by this clock, so many times.
    pub(super) slow_claims: Option<(Arc<ManualClock>, Duration, AtomicU32)>,
    /// What an update takes, by this clock, while it is slow.
    pub(super) slow_updates: Option<(Arc<ManualClock>, Duration, AtomicBool)>,
    /// Happens just before the next places are taken away.
    pub(super) before_release: std::sync::Mutex<Option<Meanwhile>>,
    /// Happens just after the next places are taken away.
    pub(super) after_release: std::sync::Mutex<Option<Meanwhile>>,
    /// Happens just before the next update.
    pub(super) before_update: std::sync::Mutex<Option<Meanwhile>>,
    /// How many milliseconds a count takes.
    pub(super) counts_take: AtomicU32,
    /// So many counts were made.
    pub(super) counted: AtomicU32,
    /// Happens just before the next deletion.
    pub(super) before_delete: std::sync::Mutex<Option<Meanwhile>>,
    /// How many milliseconds a page of a list takes.
    pub(super) lists_take: AtomicU32,
    /// The most sessions on a page of a list, if it is not 0.
    pub(super) longest_page: AtomicU32,
    /// Those that a list cannot read.
    pub(super) unread: std::sync::Mutex<BTreeSet<Handle>>,
    /// How many milliseconds a load, a creation, a claim or an update takes.
    pub(super) delay: AtomicU32,
    /// Handles that begin with a smaller byte are created and nobody is told so; that is known after a while.
    pub(super) hangs_below: AtomicU32,
    pub(super) is_known_to_hang: AtomicBool,
    /// Whether other processes work on it, too.
    pub(super) is_shared: bool,
}

impl Default for Unsure {
    fn default() -> Self {
        let inner = memory();
        let [silent_updates, silent_deletes, failing_deletes, delay, counts_take, counted, hangs_below] =
            [0; 7].map(AtomicU32::new);
        Self {
            inner,
            silent_updates,
            silent_deletes,
            failing_deletes,
            slow_claims: None,
            slow_updates: None,
            before_release: std::sync::Mutex::default(),
            after_release: std::sync::Mutex::default(),
            before_update: std::sync::Mutex::default(),
            counts_take,
            counted,
            before_delete: std::sync::Mutex::default(),
            lists_take: AtomicU32::new(0),
            longest_page: AtomicU32::new(0),
            unread: std::sync::Mutex::default(),
            delay,
            hangs_below,
            is_known_to_hang: AtomicBool::new(false),
            is_shared: false,
        }
    }
}

impl Unsure {
    fn hangs(&self, handle: Handle) -> bool {
        u32::from(handle.as_bytes()[0]) < self.hangs_below.load(Ordering::SeqCst)
    }

    async fn wait(&self) {
        let delay = self.delay.load(Ordering::SeqCst);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay.into())).await;
        }
    }
}

async fn happen(meanwhile: &std::sync::Mutex<Option<Meanwhile>>) {
    let meanwhile = meanwhile.lock().unwrap().take();
    if let Some(meanwhile) = meanwhile {
        meanwhile().await;
    }
}

fn takes_one(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn unreachable<T>() -> Result<T> {
    Err(StoreError::Unavailable("no answer came".into()))
}

#[async_trait]
impl Store for Unsure {
    async fn create(&self, record: Arc<Record>, now: Timestamp) -> Result<Created> {
        self.wait().await;
        let hangs = self.hangs(record.handle);
        let created = self.inner.create(record, now).await;
        if hangs {
            tokio::time::sleep(Duration::from_millis(300)).await;
            self.is_known_to_hang.store(true, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        created
    }

    fn suits(&self, handle: Handle) -> bool {
        !self.is_known_to_hang.load(Ordering::SeqCst) || !self.hangs(handle)
    }

    fn is_shared(&self) -> bool {
        self.is_shared
    }

    async fn load(&self, handle: Handle, now: Timestamp) -> Result<Loaded> {
        self.wait().await;
        self.inner.load(handle, now).await
    }

    async fn update(&self, read: &Record, unless: Unless, change: &Change) -> Result<Updated> {
        self.wait().await;
        happen(&self.before_update).await;
        let updated = self.inner.update(read, unless, change).await;
        if let Some((clock, takes, is_slow)) = &self.slow_updates
            && is_slow.load(Ordering::SeqCst)
        {
            clock.advance(*takes);
        }
        if takes_one(&self.silent_updates) { unreachable() } else { updated }
    }

    async fn delete(&self, targets: &[Target]) -> Result<Vec<Handle>> {
        if takes_one(&self.failing_deletes) {
            return unreachable();
        }
        happen(&self.before_delete).await;
        let deleted = self.inner.delete(targets).await;
        if takes_one(&self.silent_deletes) { unreachable() } else { deleted }
    }

    async fn outlines(&self, handles: &[Handle]) -> Result<Vec<Outlined>> {
        self.inner.outlines(handles).await
    }

    async fn list(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page<Summary>> {
        let takes = self.lists_take.load(Ordering::SeqCst);
        if takes > 0 {
            tokio::time::sleep(Duration::from_millis(takes.into())).await;
        }
        let limit = match self.longest_page.load(Ordering::SeqCst) {
            0 => listing.limit,
            longest => listing.limit.min(longest as usize),
        };
        let mut page = self.inner.list(Listing { limit, ..listing }, now).await?;
        let unread = self.unread.lock().unwrap();
        page.unread =
            page.items.iter().map(|item| item.handle).filter(|handle| unread.contains(handle)).collect();
        page.items.retain(|item| !unread.contains(&item.handle));
        Ok(page)
    }

    async fn records(
        &self,
        after: Option<Handle>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<Arc<Record>>> {
        self.inner.records(after, limit, now).await
    }

    async fn counts(&self, now: Timestamp, since: &[Timestamp]) -> Result<Counts> {
        let takes = self.counts_take.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(takes.into())).await;
        self.counted.fetch_add(1, Ordering::SeqCst);
        self.inner.counts(now, since).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed> {
        self.wait().await;
        let claimed = self.inner.claim(claim).await;
        if let Some((clock, takes, times)) = &self.slow_claims
            && takes_one(times)
        {
            clock.advance(*takes);
        }
        claimed
    }

    async fn release(&self, user_id: &str, handles: &[Handle]) -> Result<()> {
        happen(&self.before_release).await;
        let released = self.inner.release(user_id, handles).await;
        happen(&self.after_release).await;
        released
    }

    async fn places(&self, user_id: &str) -> Result<Vec<Handle>> {
        self.inner.places(user_id).await
    }

    async fn all_places(&self, after: Option<&str>, limit: usize) -> Result<PlacesPage> {
        self.inner.all_places(after, limit).await
    }

    async fn forget_places(&self) -> Result<()> {
        self.inner.forget_places().await
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
