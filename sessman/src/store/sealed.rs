//! Any store, with `data` and `metadata` encrypted in it.
//!
//! XChaCha20-Poly1305 with a random nonce each time. A text is bound to its session and its field: moved to another
//! record it does not open. It is not bound to a version: who can write to the database can put an older text of the
//! same session back. User ids, times and handles stay readable, because stores look for them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

use super::{
    Checkup, Claim, Claimed, Counts, Created, Listing, Loaded, Outlined, Page, PlacesPage, Purged, Result,
    Store, StoreError, Target, Unless, Updated,
};
use crate::data::Data;
use crate::id::Handle;
use crate::record::{Change, Record, Summary};
use crate::time::Timestamp;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// Characters that tell keys apart.
const KEY_NAME_LENGTH: usize = 8;
/// Sealed metadata is an object too; this is how its text begins.
const SEALED_METADATA: &str = "{\"$sealed\":\"";
/// And sealed data is a text.
const SEALED_DATA: &str = "\"$sealed:";

/// The keys that open sealed texts.
#[derive(Clone)]
pub struct Keys {
    /// The first one seals.
    keys: Vec<Key>,
    /// Whether what was written before there was a key is read.
    accept_unencrypted: bool,
}

#[derive(Clone)]
struct Key {
    /// Derived from the key and stored beside what it sealed.
    name: String,
    cipher: XChaCha20Poly1305,
}

/// What a sealed text is part of.
#[derive(Clone, Copy)]
enum Field {
    Data,
    Metadata,
}

impl Keys {
    /// The first of `keys` seals, all of them open; `None` if there is none. With `accept_unencrypted`, records that are
    /// not sealed are read as they are.
    pub fn new(keys: &[[u8; KEY_BYTES]], accept_unencrypted: bool) -> Option<Self> {
        let keys: Vec<Key> = keys.iter().map(Key::new).collect();
        (!keys.is_empty()).then_some(Self { keys, accept_unencrypted })
    }

    fn seal(&self, handle: Handle, field: Field, plain: &Data) -> Data {
        let key = &self.keys[0];
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).expect("the operating system gives randomness");
        let payload = Payload { msg: plain.as_str().as_bytes(), aad: &bound_to(handle, field) };
        let sealed = key
            .cipher
            .encrypt(XNonce::from_slice(&nonce), payload)
            .expect("it is far from the cipher's limit");
        let mut bytes = nonce.to_vec();
        bytes.extend_from_slice(&sealed);
        let (begin, end) = field.frame();
        Data::from_store(format!("{begin}{}{}{end}", key.name, URL_SAFE_NO_PAD.encode(bytes)))
    }

    fn open(&self, handle: Handle, field: Field, stored: &Data) -> Result<Data> {
        let (begin, end) = field.frame();
        let sealed = stored.as_str().strip_prefix(begin).and_then(|rest| rest.strip_suffix(end));
        let Some((name, text)) = sealed.and_then(|sealed| sealed.split_at_checked(KEY_NAME_LENGTH)) else {
            return match self.accept_unencrypted {
                true => Ok(stored.clone()),
                false => {
                    Err(unusable(handle, "is not encrypted; `accept_unencrypted` reads it all the same"))
                }
            };
        };
        let key = self.keys.iter().find(|key| key.name == name);
        let key = key.ok_or_else(|| {
            unusable(handle, "was encrypted with a key that `encryption_keys` does not have")
        })?;
        let damaged = || unusable(handle, "is damaged, or was put there by somebody without the key");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| damaged())?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or_else(damaged)?;
        let payload = Payload { msg: sealed, aad: &bound_to(handle, field) };
        let plain = key.cipher.decrypt(XNonce::from_slice(nonce), payload).map_err(|_| damaged())?;
        String::from_utf8(plain).map(Data::from_store).map_err(|_| damaged())
    }

    fn seal_record(&self, record: &Record) -> Record {
        Record {
            data: self.seal(record.handle, Field::Data, &record.data),
            metadata: self.seal(record.handle, Field::Metadata, &record.metadata),
            ..record.clone()
        }
    }

    /// Opens a record as a store has it.
    ///
    /// # Errors
    /// [`StoreError::Unusable`]: why it does not open with these keys.
    pub fn open_record(&self, record: &Record) -> Result<Arc<Record>> {
        Ok(Arc::new(Record {
            data: self.open(record.handle, Field::Data, &record.data)?,
            metadata: self.open(record.handle, Field::Metadata, &record.metadata)?,
            ..record.clone()
        }))
    }
}

impl Keys {
    fn open_loaded(&self, loaded: Loaded) -> Result<Loaded> {
        Ok(match loaded {
            Loaded::Live(record) => Loaded::Live(self.open_record(&record)?),
            // Its key may be gone, as its time is over.
            other => other,
        })
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.keys.len())
    }
}

impl Key {
    fn new(key: &[u8; KEY_BYTES]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"the name of a key of a sealed session store");
        hash.update(key);
        let mut name = URL_SAFE_NO_PAD.encode(hash.finalize());
        name.truncate(KEY_NAME_LENGTH);
        Self { name, cipher: XChaCha20Poly1305::new(key.into()) }
    }
}

impl Field {
    /// What is around a sealed text, so that it is JSON of the kind that the field holds.
    fn frame(self) -> (&'static str, &'static str) {
        match self {
            Self::Data => (SEALED_DATA, "\""),
            Self::Metadata => (SEALED_METADATA, "\"}"),
        }
    }
}

fn bound_to(handle: Handle, field: Field) -> [u8; 13] {
    let mut bytes = [0; 13];
    bytes[..12].copy_from_slice(handle.as_bytes());
    bytes[12] = match field {
        Field::Data => 0,
        Field::Metadata => 1,
    };
    bytes
}

fn unusable(handle: Handle, what: &str) -> StoreError {
    StoreError::Unusable(format!("the session {handle} {what}"))
}

/// Refuses a record that was sealed when there are no keys: what looks like its data is not, and must not be changed.
///
/// # Errors
/// What is missing.
pub fn check_unsealed(record: &Record) -> Result<()> {
    match record.metadata.as_str().starts_with(SEALED_METADATA)
        && record.data.as_str().starts_with(SEALED_DATA)
    {
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
        let seal = |field, plain: &Option<Data>| {
            plain.as_ref().map(|plain| self.keys.seal(read.handle, field, plain))
        };
        let sealed = Change {
            data: seal(Field::Data, &change.data),
            metadata: seal(Field::Metadata, &change.metadata),
            ..change.clone()
        };
        Ok(match self.inner.update(read, unless, &sealed).await? {
            Updated::Done { record, lived_until } => {
                Updated::Done { record: self.keys.open_record(&record)?, lived_until }
            }
            other => other,
        })
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
mod tests;
