//! The stored form of a session.

use std::time::Duration;

use serde::Serialize;

use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::labels::Labels;
use crate::mark::Mark;
use crate::time::Timestamp;

/// One whole session. Every store keeps every field without loss; a later layout gets a higher [`Record::SCHEMA`].
///
/// # Layouts
/// Layout 2 is layout 1 plus an extensible tail: in Redis and SQLite pairs of a number and bytes (see `store::tail`), in
/// MongoDB fields, in a backup members. A build rejects a record whose tail has an entry that it does not know: it might
/// otherwise ignore what protects the record. A record with an empty tail is written as layout 1, which older builds read:
/// so during a rolling upgrade nodes of both versions read each other's records.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The primary key.
    pub handle: Handle,
    /// The incarnation: tells this session from others that had the same handle.
    pub mark: Mark,
    /// Verifies the secret half of the id.
    pub secret_hash: SecretHash,
    /// The owner; `None` for an anonymous visitor.
    pub user_id: Option<String>,
    /// When that user logged in; `None` for an anonymous visitor.
    pub auth_time: Option<Timestamp>,
    /// The application's data.
    pub data: Data,
    /// Information about the client: always a JSON object.
    pub metadata: Data,
    /// When it was created.
    pub created_at: Timestamp,
    /// When `data`, `user_id`, `metadata` or `labels` changed last.
    pub updated_at: Timestamp,
    /// When the time to live last restarted.
    pub reset_at: Timestamp,
    /// When the client was last seen.
    pub last_activity: Timestamp,
    /// The time to live, from `reset_at`; whole milliseconds.
    pub ttl: Duration,
    /// Where `ttl` comes from.
    pub ttl_source: TtlSource,
    /// Its own idle timeout in whole milliseconds, zero for none; `None` for the configured one.
    pub idle: Option<Duration>,
    /// Whether its cookie outlives the browser ("remember me").
    pub persistent: bool,
    /// By which it is found beside its user.
    pub labels: Labels,
    /// Expiry, exclusive: from this time on the session does not exist.
    pub expires_at: Timestamp,
    /// 1 at creation; incremented by every change of `data`, `user_id`, `metadata` or `labels`.
    pub version: u64,
    /// Proves that the record was written with the encryption key; `None` without a key.
    pub mac: Option<Mac>,
}

/// The source of a session's time to live, which decides whether a new `session_ttl` applies to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TtlSource {
    /// The configured `session_ttl`.
    Configured,
    /// Requested by the caller.
    Caller,
    /// Not stored in a record of layout 1. Treated like `Caller`.
    Unknown,
}

/// How long a session lasts by its own wish, within the rules, and whether its cookie outlives the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// See [`Record::ttl`].
    pub ttl: Duration,
    /// See [`Record::ttl_source`].
    pub ttl_source: TtlSource,
    /// See [`Record::idle`].
    pub idle: Option<Duration>,
    /// See [`Record::persistent`].
    pub persistent: bool,
}

/// An HMAC-SHA-256 (RFC 2104) over what someone who can write to the database must not be able to forge: see
/// [`SealedStore`](crate::store::sealed::SealedStore).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mac(pub [u8; 32]);

impl std::fmt::Debug for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mac(..)")
    }
}

/// The times of a session, from which the rules compute whether it is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// See [`Record::created_at`].
    pub created_at: Timestamp,
    /// See [`Record::reset_at`].
    pub reset_at: Timestamp,
    /// See [`Record::last_activity`].
    pub last_activity: Timestamp,
    /// See [`Record::ttl`].
    pub ttl: Duration,
    /// See [`Record::ttl_source`].
    pub ttl_source: TtlSource,
    /// See [`Record::idle`].
    pub idle: Option<Duration>,
    /// See [`Record::expires_at`].
    pub expires_at: Timestamp,
}

impl Life {
    /// The same times of a session with these terms.
    pub(crate) fn with(self, terms: &Terms) -> Self {
        let Terms { ttl, ttl_source, idle, persistent: _ } = *terms;
        Self { ttl, ttl_source, idle, ..self }
    }

    /// Whether the session was never used since it was created or became a user's. Meaningful only where the rules
    /// [record that](crate::rules::Rules::renewed).
    pub fn was_never_used(&self) -> bool {
        self.last_activity == self.reset_at
    }

    /// The `last_activity` of a pending session, which waits for its place among its user's: one millisecond before its
    /// creation. No other session has such a value.
    pub(crate) fn pending_since(created_at: Timestamp) -> Timestamp {
        created_at.before(Duration::from_millis(1))
    }

    /// Whether the session is pending: it waits for its place among its user's and is not visible yet.
    pub fn is_pending(&self) -> bool {
        self.reset_at == self.created_at && self.last_activity == Self::pending_since(self.created_at)
    }
}

/// The part of a session that is needed to count it against the limit and to end it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// See [`Record::mark`].
    pub mark: Mark,
    /// See [`Record::user_id`].
    pub user_id: Option<String>,
    /// Its times.
    pub life: Life,
}

/// A session without its data, as shown in lists.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// See [`Record::handle`].
    pub handle: Handle,
    /// See [`Record::mark`].
    pub mark: Mark,
    /// See [`Record::user_id`].
    pub user_id: Option<String>,
    /// See [`Record::auth_time`].
    pub auth_time: Option<Timestamp>,
    /// See [`Record::metadata`].
    pub metadata: Data,
    /// See [`Record::updated_at`].
    pub updated_at: Timestamp,
    /// See [`Record::version`].
    pub version: u64,
    /// See [`Record::persistent`].
    pub persistent: bool,
    /// See [`Record::labels`].
    pub labels: Labels,
    /// Its times.
    pub life: Life,
}

impl Summary {
    /// Approximate memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let texts = self.labels.bytes() + self.metadata.as_str().len();
        size_of::<Self>() + self.user_id.as_ref().map_or(0, String::len) + texts
    }

    /// Writes the members of its JSON object, without braces.
    pub fn write_members(&self, out: &mut Vec<u8>) {
        SessionJson {
            handle: self.handle,
            user_id: self.user_id.as_deref(),
            data: None,
            auth_time: self.auth_time,
            metadata: &self.metadata,
            persistent: self.persistent,
            labels: &self.labels,
            created_at: self.life.created_at,
            updated_at: self.updated_at,
            last_activity: self.life.last_activity,
            expires_at: self.life.expires_at,
            version: self.version,
        }
        .write(out);
    }
}

impl Record {
    /// The latest layout of records that this build reads and writes.
    pub const SCHEMA: u32 = 2;

    /// Approximate memory in bytes, without indexes.
    pub(crate) fn bytes(&self) -> usize {
        let texts = self.data.as_str().len() + self.metadata.as_str().len() + self.labels.bytes();
        size_of::<Self>() + self.user_id.as_ref().map_or(0, String::len) + texts
    }

    /// Whether the session is live at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// Its times.
    pub fn life(&self) -> Life {
        Life {
            created_at: self.created_at,
            reset_at: self.reset_at,
            last_activity: self.last_activity,
            ttl: self.ttl,
            ttl_source: self.ttl_source,
            idle: self.idle,
            expires_at: self.expires_at,
        }
    }

    /// Its form in lists.
    pub fn summary(&self) -> Summary {
        Summary {
            handle: self.handle,
            mark: self.mark,
            user_id: self.user_id.clone(),
            auth_time: self.auth_time,
            metadata: self.metadata.clone(),
            updated_at: self.updated_at,
            version: self.version,
            persistent: self.persistent,
            labels: self.labels.clone(),
            life: self.life(),
        }
    }

    /// Its terms.
    pub fn terms(&self) -> Terms {
        Terms { ttl: self.ttl, ttl_source: self.ttl_source, idle: self.idle, persistent: self.persistent }
    }

    /// The part of it that counting needs.
    pub fn outline(&self) -> Outline {
        Outline { mark: self.mark, user_id: self.user_id.clone(), life: self.life() }
    }

    /// Writes the members of its JSON object, without braces. The secret's hash is left out.
    pub fn write_members(&self, out: &mut Vec<u8>) {
        SessionJson {
            handle: self.handle,
            user_id: self.user_id.as_deref(),
            data: Some(&self.data),
            auth_time: self.auth_time,
            metadata: &self.metadata,
            persistent: self.persistent,
            labels: &self.labels,
            created_at: self.created_at,
            updated_at: self.updated_at,
            last_activity: self.last_activity,
            expires_at: self.expires_at,
            version: self.version,
        }
        .write(out);
    }
}

/// The JSON form of a session.
struct SessionJson<'a> {
    handle: Handle,
    user_id: Option<&'a str>,
    data: Option<&'a Data>,
    auth_time: Option<Timestamp>,
    metadata: &'a Data,
    persistent: bool,
    labels: &'a Labels,
    created_at: Timestamp,
    updated_at: Timestamp,
    last_activity: Timestamp,
    expires_at: Timestamp,
    version: u64,
}

impl SessionJson<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut handle = [0; Handle::TEXT_LENGTH];
        out.extend_from_slice(b"\"handle\":\"");
        out.extend_from_slice(self.handle.write(&mut handle).as_bytes());
        out.extend_from_slice(b"\",\"user_id\":");
        write_json(out, &self.user_id);
        if let Some(data) = self.data {
            // Already canonical JSON.
            out.extend_from_slice(b",\"data\":");
            out.extend_from_slice(data.as_str().as_bytes());
        }
        write_moment(out, b",\"auth_time\":", self.auth_time);
        out.extend_from_slice(b",\"metadata\":");
        out.extend_from_slice(self.metadata.as_str().as_bytes());
        out.extend_from_slice(b",\"labels\":");
        self.labels.write_json(out);
        out.extend_from_slice(if self.persistent {
            b",\"persistent\":true"
        } else {
            b",\"persistent\":false"
        });
        write_moment(out, b",\"created_at\":", Some(self.created_at));
        write_moment(out, b",\"updated_at\":", Some(self.updated_at));
        write_moment(out, b",\"last_activity\":", Some(self.last_activity));
        write_moment(out, b",\"expires_at\":", Some(self.expires_at));
        out.extend_from_slice(b",\"version\":");
        write_json(out, &self.version);
    }
}

fn write_moment(out: &mut Vec<u8>, name: &[u8], moment: Option<Timestamp>) {
    out.extend_from_slice(name);
    match moment {
        Some(moment) => {
            out.push(b'"');
            out.extend_from_slice(moment.text().as_bytes());
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

fn write_json(out: &mut Vec<u8>, value: &impl Serialize) {
    // Strings and numbers always serialise, and writing to a Vec does not fail.
    let _ = serde_json::to_writer(out, value);
}

/// The times that every write sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// See [`Record::reset_at`].
    pub reset_at: Timestamp,
    /// See [`Record::last_activity`].
    pub last_activity: Timestamp,
    /// See [`Record::expires_at`].
    pub expires_at: Timestamp,
}

/// One conditional write to an existing record: fields that are `None` stay unchanged.
///
/// A change of terms, labels or MAC is made from what was read, and needs the precondition
/// [`Unless::Changed`](crate::store::Unless::Changed).
///
/// Touch, update and rotation are all a `Change`; a store needs no other way to write to an existing record.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// A new secret: revokes the old id.
    pub secret_hash: Option<SecretHash>,
    /// The user who logs in: the session's owner from now on.
    pub user_id: Option<String>,
    /// Replaces the data.
    pub data: Option<Data>,
    /// Replaces the metadata.
    pub metadata: Option<Data>,
    /// Replaces the terms.
    pub terms: Option<Terms>,
    /// Replaces the labels.
    pub labels: Option<Labels>,
    /// The record's new MAC, if a field that it covers changes.
    pub mac: Option<Mac>,
    /// The time of the change; becomes [`Record::updated_at`] if the change [counts](Self::counts).
    pub now: Timestamp,
    /// Always set.
    pub times: Times,
}

impl Change {
    /// A change of the times only.
    pub fn touch(now: Timestamp, times: Times) -> Self {
        Self {
            secret_hash: None,
            user_id: None,
            data: None,
            metadata: None,
            terms: None,
            labels: None,
            mac: None,
            now,
            times,
        }
    }

    /// Whether the change increments `version` and sets `updated_at`.
    pub fn counts(&self) -> bool {
        self.user_id.is_some() || self.data.is_some() || self.metadata.is_some() || self.labels.is_some()
    }

    /// Whether it sets terms, labels or MAC, which some stores keep together in a tail: it is then made from what was read of
    /// them, and needs the precondition [`Unless::Changed`](crate::store::Unless::Changed).
    pub fn changes_tail(&self) -> bool {
        self.terms.is_some() || self.labels.is_some() || self.mac.is_some()
    }

    /// The record after this change.
    pub fn applied_to(&self, record: &Record) -> Record {
        let Self { secret_hash, user_id, data, metadata, terms, labels, mac, now, times } = self;
        let mut changed = record.clone();
        if let Some(secret_hash) = *secret_hash {
            changed.secret_hash = secret_hash;
        }
        if let Some(user_id) = user_id {
            changed.user_id = Some(user_id.clone());
            changed.auth_time = Some(*now);
        }
        if let Some(data) = data {
            changed.data = data.clone();
        }
        if let Some(metadata) = metadata {
            changed.metadata = metadata.clone();
        }
        if let Some(Terms { ttl, ttl_source, idle, persistent }) = *terms {
            changed = Record { ttl, ttl_source, idle, persistent, ..changed };
        }
        if let Some(labels) = labels {
            changed.labels = labels.clone();
        }
        if mac.is_some() {
            changed.mac = *mac;
        }
        if self.counts() {
            changed.version += 1;
            changed.updated_at = *now;
        }
        let Times { reset_at, last_activity, expires_at } = *times;
        Record { reset_at, last_activity, expires_at, ..changed }
    }
}
