//! Any store, with `data` and `metadata` encrypted in it, and a MAC over the fields that protect a session.
//!
//! XChaCha20-Poly1305 with a random nonce for each text. A text is bound to its session and its field (associated data): it
//! does not decrypt in another record. User ids, times and handles stay readable, because stores search by them.
//!
//! Someone who can write to the database, but has no key, cannot forge a session, and cannot change its user, its secret or
//! the limits of its lifetime: a [MAC](crate::record::Mac) covers these. It is made when they are set, and checked whenever a
//! record is loaded. Such an attacker can still delete sessions, replay an older text or record of the same session, fake
//! activity and extend the expiry, as a touch writes no new MAC; `absolute_ttl` bounds the latter.

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

/// Rejects an encrypted record when there are no keys: its data is ciphertext, and must not be changed.
///
/// # Errors
/// That the keys are missing.
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
    /// Encrypts what goes into `inner`, and decrypts what comes out.
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
        let Change { secret_hash, user_id, data, metadata, terms, labels, mac: _, now, times } = change;
        let seal = |field, plain: &Option<Data>| {
            plain.as_ref().map(|plain| self.keys.seal(read.handle, field, plain))
        };
        let mut sealed = Change {
            secret_hash: *secret_hash,
            user_id: user_id.clone(),
            data: seal(Field::Data, data),
            metadata: seal(Field::Metadata, metadata),
            // Not encrypted: sessions are found by them.
            labels: labels.clone(),
            terms: *terms,
            mac: None,
            now: *now,
            times: *times,
        };
        let mut read = Cow::Borrowed(read);
        loop {
            sealed.mac = self.keys.mac_after(&read, change);
            // The MAC covers the user, who may change meanwhile; a change of the user increments the version.
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
                // Listed as stored: otherwise it could not be ended, nor the page be shown.
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
