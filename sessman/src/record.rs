//! What a store keeps of a session.

use std::time::Duration;

use serde::Serialize;

use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::time::Timestamp;

/// One session, whole. Every store keeps every field exactly; a later layout gets a higher [`Record::SCHEMA`].
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The store key.
    pub handle: Handle,
    /// Recognises the secret half of the id.
    pub secret_hash: SecretHash,
    /// Whose session it is; `None` for an anonymous visitor.
    pub user_id: Option<String>,
    /// When that user logged in; `None` for an anonymous visitor.
    pub auth_time: Option<Timestamp>,
    /// The application's data.
    pub data: Data,
    /// What is known of the client: always a JSON object.
    pub metadata: Data,
    /// When it began.
    pub created_at: Timestamp,
    /// When `data`, `user_id` or `metadata` changed last.
    pub updated_at: Timestamp,
    /// From when `ttl` runs.
    pub reset_at: Timestamp,
    /// When the client was last seen.
    pub last_activity: Timestamp,
    /// The session's own time to live, from `reset_at`; whole milliseconds.
    pub ttl: Duration,
    /// From this moment on the session does not exist.
    pub expires_at: Timestamp,
    /// 1 at creation, and one more with every change of `data`, `user_id` or `metadata`.
    pub version: u64,
}

impl Record {
    /// The layout of records that this build writes, kept beside each of them.
    pub const SCHEMA: u32 = 1;

    /// How many bytes of memory it takes, about, without what an index over it does.
    pub(crate) fn bytes(&self) -> usize {
        let texts = self.data.as_str().len() + self.metadata.as_str().len();
        size_of::<Self>() + self.user_id.as_ref().map_or(0, String::len) + texts
    }

    /// Whether the session still exists at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// Writes the members of the JSON object that shows the session, without braces; `data` only if it is wanted. The
    /// secret's hash is not among them.
    pub fn write_members(&self, out: &mut Vec<u8>, with_data: bool) {
        let mut handle = [0; Handle::TEXT_LENGTH];
        out.extend_from_slice(b"\"handle\":\"");
        out.extend_from_slice(self.handle.write(&mut handle).as_bytes());
        out.extend_from_slice(b"\",\"user_id\":");
        write_json(out, &self.user_id);
        if with_data {
            // Canonical text already.
            out.extend_from_slice(b",\"data\":");
            out.extend_from_slice(self.data.as_str().as_bytes());
        }
        write_moment(out, b",\"auth_time\":", self.auth_time);
        out.extend_from_slice(b",\"metadata\":");
        out.extend_from_slice(self.metadata.as_str().as_bytes());
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
    // Texts and numbers are always JSON, and a Vec takes them all.
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

/// One conditional write to an existing record: what is `None` stays as it is.
///
/// Touching a session, changing its data and rotating its id are all a `Change`; a store needs no other way to
/// write to a record that exists.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// A new secret: the old id is dead from here on.
    pub secret_hash: Option<SecretHash>,
    /// The session is this user's, who logs in now.
    pub user_id: Option<String>,
    /// Replaces the data.
    pub data: Option<Data>,
    /// Replaces the metadata.
    pub metadata: Option<Data>,
    /// When the change is made: [`Record::updated_at`] if it counts as one.
    pub now: Timestamp,
    /// Set in any case.
    pub times: Times,
}

impl Change {
    /// A change of nothing but the times.
    pub fn touch(now: Timestamp, times: Times) -> Self {
        Self { secret_hash: None, user_id: None, data: None, metadata: None, now, times }
    }

    /// Whether `version` grows and `updated_at` moves with it.
    pub fn counts(&self) -> bool {
        self.user_id.is_some() || self.data.is_some() || self.metadata.is_some()
    }

    /// The record as it is after this change.
    pub fn applied_to(&self, record: &Record) -> Record {
        let mut changed = record.clone();
        if let Some(secret_hash) = self.secret_hash {
            changed.secret_hash = secret_hash;
        }
        if let Some(user_id) = &self.user_id {
            changed.user_id = Some(user_id.clone());
            changed.auth_time = Some(self.now);
        }
        if let Some(data) = &self.data {
            changed.data = data.clone();
        }
        if let Some(metadata) = &self.metadata {
            changed.metadata = metadata.clone();
        }
        if self.counts() {
            changed.version += 1;
            changed.updated_at = self.now;
        }
        let Times { reset_at, last_activity, expires_at } = self.times;
        Record { reset_at, last_activity, expires_at, ..changed }
    }
}
