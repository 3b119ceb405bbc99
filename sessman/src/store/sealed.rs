//! Any store, with `data` and `metadata` encrypted in it, and a MAC over what protects a session.
//!
//! XChaCha20-Poly1305 with a random nonce each time. A text is bound to its session and its field: moved to another
//! record it does not open. User ids, times and handles stay readable, because stores look for them.
//!
//! Whoever can write to the database, and has no key, cannot make a session that is taken, and cannot change whose it is, what
//! opens it, or what bounds its end: a [MAC](crate::record::Mac) is over these, made when they are set and checked
//! whenever a record is loaded. Such a writer can still delete sessions, put an older text or record of the same session back, and
//! feign activity and put the end off, which a touch writes without a new MAC; `absolute_ttl` bounds that.

mod keys;
mod mac;
mod name;
mod refusal;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Checkup, Claim, Claimed, Counts, Created, Listing, Loaded, Outlined, Page, PlacesPage, Purged, Result,
    Store, Target, Unless, Updated,
};
use crate::data::Data;
use crate::id::Handle;
use crate::record::{Change, Record, Summary};
use crate::time::Timestamp;
use keys::{Field, looks_sealed};
pub use keys::{Keys, RecordMacs};
pub use mac::BackupMac;
pub use name::{KEY_BYTES, Name};
use refusal::unusable;

/// Refuses a record that was sealed when there are no keys: what looks like its data is not, and must not be changed.
///
/// # Errors
/// What is missing.
pub fn check_unsealed(record: &Record) -> Result<()> {
    match looks_sealed(record) == [true, true] {
        true => Err(unusable(record.handle, "is encrypted, and there are no `encryption_keys`")),
        false => Ok(()),
    }
}

/// Any store, with `data` and `metadata` encrypted in it.
pub struct SealedStore {
    inner: Arc<dyn Store>,
    keys: Keys,
}

impl SealedStore {
    /// Seals what goes into `inner`, and opens what comes out.
    pub fn new(inner: Arc<dyn Store>, keys: Keys) -> Self {
        Self { inner, keys }
    }
}

#[async_trait]
impl Store for SealedStore {
    async fn create(&self, record: Arc<Record>, now: Timestamp) -> Result<Created> {
        self.inner.create(Arc::new(self.keys.seal_record(&record)), now).await
    }

    fn suits(&self, handle: Handle) -> bool {
        self.inner.suits(handle)
    }

    async fn load(&self, handle: Handle, now: Timestamp) -> Result<Loaded> {
        self.keys.open_loaded(self.inner.load(handle, now).await?)
    }

    fn has_records_at_hand(&self) -> bool {
        self.inner.has_records_at_hand()
    }

    fn load_now(&self, handle: Handle, now: Timestamp) -> Option<Result<Loaded>> {
        let loaded = self.inner.load_now(handle, now)?;
        Some(loaded.and_then(|loaded| self.keys.open_loaded(loaded)))
    }

    async fn update(&self, read: &Record, unless: Unless, change: &Change) -> Result<Updated> {
        let Change { secret_hash, user_id, data, metadata, mac: _, now, times } = change;
        let seal = |field, plain: &Option<Data>| {
            plain.as_ref().map(|plain| self.keys.seal(read.handle, field, plain))
        };
        let mut sealed = Change {
            secret_hash: *secret_hash,
            user_id: user_id.clone(),
            data: seal(Field::Data, data),
            metadata: seal(Field::Metadata, metadata),
            mac: None,
            now: *now,
            times: *times,
        };
        let mut read = Cow::Borrowed(read);
        loop {
            sealed.mac = self.keys.mac_after(&read, change);
            // A MAC is over the user, too, whom others may change meanwhile; that counts as a version.
            let condition =
                if sealed.mac.is_some() && unless == Unless::Gone { Unless::Changed } else { unless };
            return Ok(match self.inner.update(&read, condition, &sealed).await? {
                Updated::Done { record, lived_until } => {
                    Updated::Done { record: self.keys.open_record(&record)?, lived_until }
                }
                Updated::Conflict(_) if condition != unless => {
                    let found = self.load(read.handle, change.now).await?.live();
                    match found.filter(|found| unless.is_met(&read, found).is_some()) {
                        Some(found) => {
                            read = Cow::Owned((*found).clone());
                            continue;
                        }
                        None => Updated::Missing,
                    }
                }
                other => other,
            });
        }
    }

    async fn delete(&self, targets: &[Target]) -> Result<Vec<Handle>> {
        self.inner.delete(targets).await
    }

    async fn outlines(&self, handles: &[Handle]) -> Result<Vec<Outlined>> {
        self.inner.outlines(handles).await
    }

    async fn list(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page<Summary>> {
        let mut page = self.inner.list(listing, now).await?;
        for summary in &mut page.items {
            match self.keys.open(summary.handle, Field::Metadata, &summary.metadata) {
                Ok(opened) => summary.metadata = opened,
                // It stays as it is stored: whoever ends sessions must find it, and the others with it.
                Err(error) => tracing::warn!(%error, "a session is listed unread"),
            }
        }
        Ok(page)
    }

    async fn records(
        &self,
        after: Option<Handle>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<Arc<Record>>> {
        let mut page = self.inner.records(after, limit, now).await?;
        for record in std::mem::take(&mut page.items) {
            match self.keys.open_record(&record) {
                Ok(opened) => page.items.push(opened),
                Err(error) => {
                    tracing::warn!(%error, "a session is left out, unread");
                    page.unread.push(record.handle);
                }
            }
        }
        Ok(page)
    }

    async fn counts(&self, now: Timestamp, since: &[Timestamp]) -> Result<Counts> {
        self.inner.counts(now, since).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed> {
        self.inner.claim(claim).await
    }

    async fn release(&self, user_id: &str, handles: &[Handle]) -> Result<()> {
        self.inner.release(user_id, handles).await
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

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    async fn leads_cleanup(&self, period: Duration) -> Result<bool> {
        self.inner.leads_cleanup(period).await
    }

    async fn tidy(&self, now: Timestamp) -> Result<()> {
        self.inner.tidy(now).await
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

    fn metrics(&self) -> String {
        self.inner.metrics()
    }

    async fn checkup(&self) -> Result<Checkup> {
        self.inner.checkup().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[cfg(test)]
#[cfg(feature = "memory")]
mod tests;
