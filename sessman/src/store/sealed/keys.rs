//! The keys of a sealed store, for encryption and for MACs.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

use super::mac::{BackupMac, MacKeys, protected};
use super::name::{KEY_BYTES, KEY_NAME_LENGTH, Name};
use super::refusal::unusable;
use crate::data::Data;
use crate::id::Handle;
use crate::record::{Change, Mac, Record};
use crate::store::{Loaded, Result};

const NONCE_BYTES: usize = 24;
/// The beginning of encrypted metadata, which must be an object too.
const SEALED_METADATA: &str = "{\"$sealed\":\"";
/// The beginning of encrypted data, which is a string.
const SEALED_DATA: &str = "\"$sealed:";

/// What to do with records without a valid MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordMacs {
    /// They are rejected.
    Required,
    /// They are accepted, and get one at their next write.
    Optional,
    /// They are accepted, and get none; only records that have one get a new one. A version that knows no MACs reads the others.
    Off,
}

/// The keys that decrypt.
#[derive(Clone)]
pub struct Keys {
    /// The first one encrypts.
    keys: Vec<Key>,
    /// Whether records from before there was a key are accepted.
    accept_unencrypted: bool,
    record_macs: RecordMacs,
}

#[derive(Clone)]
struct Key {
    /// Derived from the key, and stored with what it encrypted.
    name: Name,
    cipher: XChaCha20Poly1305,
    macs: MacKeys,
}

/// The field that a text belongs to.
#[derive(Clone, Copy)]
pub(super) enum Field {
    Data,
    Metadata,
}

impl Keys {
    /// The first of `keys` encrypts, all of them decrypt; `None` if there is none. With `accept_unencrypted`, unencrypted
    /// records are accepted. MACs are required.
    pub fn new(keys: &[[u8; KEY_BYTES]], accept_unencrypted: bool) -> Option<Self> {
        let keys: Vec<Key> = keys.iter().map(Key::new).collect();
        (!keys.is_empty()).then_some(Self { keys, accept_unencrypted, record_macs: RecordMacs::Required })
    }

    /// The same keys with another rule for records without a valid MAC.
    #[must_use]
    pub fn with_record_macs(self, record_macs: RecordMacs) -> Self {
        Self { record_macs, ..self }
    }

    pub(super) fn seal(&self, handle: Handle, field: Field, plain: &Data) -> Data {
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
        let name = std::str::from_utf8(&key.name).expect("it is base64");
        Data::from_store(format!("{begin}{name}{}{end}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    pub(super) fn open(&self, handle: Handle, field: Field, stored: &Data) -> Result<Data> {
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
        let key = self.keys.iter().find(|key| key.name == name.as_bytes());
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

    pub(super) fn seal_record(&self, record: &Record) -> Record {
        Record {
            data: self.seal(record.handle, Field::Data, &record.data),
            metadata: self.seal(record.handle, Field::Metadata, &record.metadata),
            mac: (self.record_macs != RecordMacs::Off).then(|| self.keys[0].macs.of_record(record)),
            ..record.clone()
        }
    }

    /// Decrypts a stored record and checks its MAC.
    ///
    /// # Errors
    /// [`StoreError::Unusable`](crate::store::StoreError::Unusable): it cannot be decrypted with these keys, or it was changed
    /// without one of them.
    pub fn open_record(&self, record: &Record) -> Result<Arc<Record>> {
        // Before the MAC: if the key is missing, that is the only useful error.
        let data = self.open(record.handle, Field::Data, &record.data)?;
        let metadata = self.open(record.handle, Field::Metadata, &record.metadata)?;
        self.check_mac(record)?;
        Ok(Arc::new(Record { data, metadata, ..record.clone() }))
    }

    pub(super) fn open_loaded(&self, loaded: Loaded) -> Result<Loaded> {
        Ok(match loaded {
            Loaded::Live(record) => Loaded::Live(self.open_record(&record)?),
            // An expired record may be from a key that was removed.
            other => other,
        })
    }

    fn check_mac(&self, stored: &Record) -> Result<()> {
        // Who can change a record can also remove its MAC: where it may be missing, a wrong one is no worse.
        if self.record_macs != RecordMacs::Required || self.has_right_mac(stored) {
            return Ok(());
        }
        match stored.mac {
            // From before there were keys. A partly encrypted record was written with a key, and needs a MAC.
            None if self.accept_unencrypted && looks_sealed(stored) == [false, false] => Ok(()),
            None => Err(unusable(
                stored.handle,
                "has no MAC, so that anybody may have changed it; `record_macs` optional reads it all the same",
            )),
            Some(_) => Err(unusable(
                stored.handle,
                "was changed by somebody without the key, or by a version that knows no MACs",
            )),
        }
    }

    /// Whether any of the keys made its MAC.
    fn has_right_mac(&self, record: &Record) -> bool {
        let Some(mac) = record.mac else { return false };
        let protected = protected(record);
        self.keys.iter().any(|key| key.macs.is_of_record(mac, &protected))
    }

    /// The new MAC of the record that was `read` after `change`; `None` if the old one stays valid.
    pub(super) fn mac_after(&self, read: &Record, change: &Change) -> Option<Mac> {
        let Change { secret_hash, user_id, terms, labels, data: _, metadata: _, mac: _, now: _, times: _ } =
            change;
        let is_over_it = secret_hash.is_some() || user_id.is_some() || terms.is_some() || labels.is_some();
        let is_due = match self.record_macs {
            RecordMacs::Required => is_over_it || (self.accept_unencrypted && read.mac.is_none()),
            RecordMacs::Optional => is_over_it || !self.has_right_mac(read),
            RecordMacs::Off => read.mac.is_some() && (is_over_it || !self.has_right_mac(read)),
        };
        is_due.then(|| self.keys[0].macs.of_record(&change.applied_to(read)))
    }

    /// A stored record without a MAC that the caller vouches for: adds its MAC.
    pub fn vouch_for(&self, stored: &Record) -> Record {
        let is_wanted = stored.mac.is_none() && self.record_macs != RecordMacs::Off;
        let made = is_wanted.then(|| self.keys[0].macs.of_record(stored));
        Record { mac: stored.mac.or(made), ..stored.clone() }
    }

    /// The MAC of a backup that is being written.
    pub fn backup_mac(&self) -> BackupMac {
        let key = &self.keys[0];
        key.macs.backup(key.name)
    }

    /// The MAC of a backup, by the key with that name; `None` if it is none of these.
    pub fn backup_mac_of(&self, name: Name) -> Option<BackupMac> {
        self.keys.iter().find(|key| key.name == name).map(|key| key.macs.backup(name))
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
        let text = URL_SAFE_NO_PAD.encode(hash.finalize());
        let name = std::array::from_fn(|index| text.as_bytes()[index]);
        Self { name, cipher: XChaCha20Poly1305::new(key.into()), macs: MacKeys::derive(key) }
    }
}

impl Field {
    /// Prefix and suffix of an encrypted text, which make it JSON of the type that the field holds.
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

/// Whether its data, and whether its metadata, look encrypted.
pub(super) fn looks_sealed(stored: &Record) -> [bool; 2] {
    [stored.data.as_str().starts_with(SEALED_DATA), stored.metadata.as_str().starts_with(SEALED_METADATA)]
}
