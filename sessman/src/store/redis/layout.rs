//! The binary form of a record, the value of its key.
//!
//! First a head of fixed length with all fixed-length fields, at fixed offsets, so that scripts read and write them in place
//! (`GETRANGE`, `SETRANGE`). Then the user, the metadata, in layout 2 the [tail](crate::store::tail), and the data. Numbers
//! are big endian. The mark and the source of the ttl are in the head, so that a record needs layout 2 only for a MAC,
//! an idle timeout of its own, a persistent cookie, or labels.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::mark::Mark;
use crate::record::{Life, Outline, Record, Summary, Terms, TtlSource};
use crate::store::StoreError;
use crate::store::tail::Tail;
use crate::time::Timestamp;

/// Defines constants in Rust, and the same constants as the first lines of the Lua scripts.
macro_rules! places {
    ($($(#[$attribute:meta])* $name:ident = $number:expr;)*) => {
        $($(#[$attribute])* pub(super) const $name: usize = $number;)*

        /// The constants in Lua, with which each script about records begins.
        pub(super) fn constants() -> String {
            let mut lines = String::new();
            $(let _ = writeln!(lines, "local {} = {}", stringify!($name), $name);)*
            lines
        }
    };
}

places! {
    /// The first byte: the layout.
    LAYOUT = 0;
    /// Bits: [`HAS_USER`] and so on.
    FLAGS = 1;
    MARK = 2;
    SECRET_HASH = 10;
    VERSION = 42;
    CREATED_AT = 50;
    UPDATED_AT = 58;
    TTL = 66;
    RESET_AT = 74;
    LAST_ACTIVITY = 82;
    EXPIRES_AT = 90;
    AUTH_TIME = 98;
    USER_LENGTH = 106;
    METADATA_LENGTH = 110;
    /// Only in layout 2.
    TAIL_LENGTH = 114;
    /// Length of the head in layout 1.
    HEAD_1 = 114;
    /// Length of the head in layout 2.
    HEAD_2 = 118;
    HAS_USER = 1;
    HAS_AUTH_TIME = 2;
    /// The ttl is the caller's; with neither of the two bits its source is unknown.
    HAS_OWN_TTL = 4;
    /// The ttl is the configured one.
    HAS_CONFIGURED_TTL = 8;
}

/// Length of the beginning of a record that includes its mark.
pub(super) const UP_TO_MARK: usize = SECRET_HASH;

/// Encodes a record: as layout 1, which older versions read, unless it needs a tail.
#[allow(clippy::cast_possible_truncation, reason = "flags are bits of a byte")]
pub(super) fn write(record: &Record) -> Vec<u8> {
    let Record {
        handle: _,
        mark,
        secret_hash,
        user_id,
        auth_time,
        data,
        metadata,
        created_at,
        updated_at,
        reset_at,
        last_activity,
        ttl,
        ttl_source,
        expires_at,
        version,
        // In the tail.
        idle: _,
        persistent: _,
        labels: _,
        mac: _,
    } = record;
    let user = user_id.as_deref().unwrap_or_default().as_bytes();
    let (metadata, data) = (metadata.as_str().as_bytes(), data.as_str().as_bytes());
    let tail = tail(record);
    let mut bytes = Vec::with_capacity(HEAD_2 + user.len() + metadata.len() + tail.len() + data.len());
    let has_user = if user_id.is_some() { HAS_USER } else { 0 };
    let has_auth_time = if auth_time.is_some() { HAS_AUTH_TIME } else { 0 };
    let ttl_source = source_flag(*ttl_source);
    let layout = if tail.is_empty() { 1 } else { 2 };
    bytes.extend([layout, (has_user | has_auth_time | ttl_source) as u8]);
    bytes.extend(mark.as_bytes());
    bytes.extend(secret_hash.as_bytes());
    bytes.extend(version.to_be_bytes());
    bytes.extend(moment(*created_at));
    bytes.extend(moment(*updated_at));
    bytes.extend(millis(*ttl));
    bytes.extend(moment(*reset_at));
    bytes.extend(moment(*last_activity));
    bytes.extend(moment(*expires_at));
    bytes.extend(moment(auth_time.unwrap_or(Timestamp::from_millis(0))));
    // No text is near 4 GiB: the engine limits them.
    let mut length = |text: &[u8]| bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    length(user);
    length(metadata);
    if !tail.is_empty() {
        length(&tail);
    }
    for part in [user, metadata, &tail, data] {
        bytes.extend(part);
    }
    bytes
}

/// The tail of a record; empty if it needs none.
pub(super) fn tail(record: &Record) -> Vec<u8> {
    Tail::without_head(record).to_bytes()
}

/// The terms in the head, for scripts to compare and to write: the flag of the ttl's source, and the ttl.
#[allow(clippy::cast_possible_truncation, reason = "flags are bits of a byte")]
pub(super) fn terms(terms: &Terms) -> [u8; 9] {
    // The others are in the tail.
    let Terms { ttl, ttl_source, idle: _, persistent: _ } = terms;
    let mut bytes = [source_flag(*ttl_source) as u8; 9];
    bytes[1..].copy_from_slice(&millis(*ttl));
    bytes
}

fn source_flag(source: TtlSource) -> usize {
    match source {
        TtlSource::Caller => HAS_OWN_TTL,
        TtlSource::Configured => HAS_CONFIGURED_TTL,
        TtlSource::Unknown => 0,
    }
}

fn millis(duration: Duration) -> [u8; 8] {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).to_be_bytes()
}

/// Decodes the record of `handle`.
///
/// # Errors
/// [`StoreError::Unusable`] for bytes that are not from [`write()`].
pub(super) fn read(handle: Handle, bytes: &[u8]) -> Result<Record, StoreError> {
    let parts = Parts::of(bytes)?;
    let tail = parts.tail()?;
    let life = parts.life(&tail)?;
    Ok(Record {
        handle,
        mark: parts.mark()?,
        secret_hash: SecretHash::from(parts.array(SECRET_HASH)?),
        user_id: parts.user_id()?,
        auth_time: parts.auth_time()?,
        data: Data::from_store(Arc::from(text(&bytes[parts.data..])?)),
        metadata: parts.metadata()?,
        created_at: life.created_at,
        updated_at: parts.moment(UPDATED_AT)?,
        reset_at: life.reset_at,
        last_activity: life.last_activity,
        ttl: life.ttl,
        ttl_source: life.ttl_source,
        idle: tail.idle,
        persistent: tail.persistent,
        labels: tail.labels,
        expires_at: life.expires_at,
        version: u64::from_be_bytes(parts.array(VERSION)?),
        mac: tail.mac,
    })
}

/// Decodes the summary of the record of `handle` from [everything before the data](data_at).
///
/// # Errors
/// As for [`read`].
pub(super) fn summary(handle: Handle, beginning: &[u8]) -> Result<Summary, StoreError> {
    let parts = Parts::of(beginning)?;
    let tail = parts.tail()?;
    Ok(Summary {
        handle,
        mark: parts.mark()?,
        user_id: parts.user_id()?,
        auth_time: parts.auth_time()?,
        metadata: parts.metadata()?,
        updated_at: parts.moment(UPDATED_AT)?,
        version: u64::from_be_bytes(parts.array(VERSION)?),
        life: parts.life(&tail)?,
        persistent: tail.persistent,
        labels: tail.labels,
    })
}

/// Decodes an outline of a record from [everything before the data](data_at).
///
/// # Errors
/// As for [`read`].
pub(super) fn outline(beginning: &[u8]) -> Result<Outline, StoreError> {
    let parts = Parts::of(beginning)?;
    let life = parts.life(&parts.tail()?)?;
    Ok(Outline { mark: parts.mark()?, user_id: parts.user_id()?, life })
}

/// From when until when a session lives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) created_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

/// Decodes the span in a record's head.
///
/// # Errors
/// As for [`read`], but nothing after the head is checked.
pub(super) fn span(head: &[u8]) -> Result<Span, StoreError> {
    head_bytes(head)?;
    let head = Head(head);
    Ok(Span { created_at: head.moment(CREATED_AT)?, expires_at: head.moment(EXPIRES_AT)? })
}

/// The mark of a record, from [everything before the secret](UP_TO_MARK); `None` for a layout that this build does not know.
pub(super) fn mark(beginning: &[u8]) -> Option<Mark> {
    matches!(beginning.get(LAYOUT), Some(1 | 2)).then(|| Head(beginning).mark().ok()).flatten()
}

/// The offset of the data, from the head of a record.
///
/// # Errors
/// As for [`span`].
pub(super) fn data_at(head: &[u8]) -> Result<usize, StoreError> {
    Ok(Parts::of(head)?.data)
}

/// Encodes a timestamp for scripts.
pub(super) fn moment(moment: Timestamp) -> [u8; 8] {
    moment.as_millis().to_be_bytes()
}

/// Decodes a timestamp.
pub(super) fn read_moment(bytes: [u8; 8]) -> Timestamp {
    Timestamp::from_millis(i64::from_be_bytes(bytes))
}

/// Encodes a version for scripts to compare.
pub(super) fn version(version: u64) -> [u8; 8] {
    version.to_be_bytes()
}

/// The length of the head; fails if it is not complete.
fn head_bytes(bytes: &[u8]) -> Result<usize, StoreError> {
    let head = match bytes.get(LAYOUT) {
        Some(1) => HEAD_1,
        Some(2) => HEAD_2,
        Some(layout) if *layout < b' ' && *layout > 2 => {
            let known = Record::SCHEMA;
            return Err(StoreError::Unusable(format!(
                "a record's layout is {layout}, this build knows {known}"
            )));
        }
        _ => return Err(unreadable()),
    };
    if bytes.len() < head { Err(unreadable()) } else { Ok(head) }
}

fn text(bytes: &[u8]) -> Result<&str, StoreError> {
    std::str::from_utf8(bytes).map_err(|_| unreadable())
}

/// The error for a reply that our commands cannot have.
pub(super) fn unexpected() -> StoreError {
    StoreError::Unusable("Redis answered with something that its command does not have".into())
}

/// The error for an unreadable record; reveals none of its bytes.
pub(super) fn unreadable() -> StoreError {
    StoreError::Unusable("a key that should hold a session holds something else".into())
}

/// The fixed-length fields.
struct Head<'a>(&'a [u8]);

impl Head<'_> {
    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], StoreError> {
        let part = self.0.get(at..at + N).ok_or_else(unreadable)?;
        part.try_into().map_err(|_| unreadable())
    }

    fn moment(&self, at: usize) -> Result<Timestamp, StoreError> {
        Ok(read_moment(self.array(at)?))
    }

    fn length(&self, at: usize) -> Result<usize, StoreError> {
        usize::try_from(u32::from_be_bytes(self.array(at)?)).map_err(|_| unreadable())
    }

    fn has(&self, flag: usize) -> bool {
        self.0.get(FLAGS).is_some_and(|flags| usize::from(*flags) & flag != 0)
    }

    fn mark(&self) -> Result<Mark, StoreError> {
        Ok(Mark::from(self.array::<{ Mark::BYTES }>(MARK)?))
    }

    fn auth_time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.has(HAS_AUTH_TIME).then(|| self.moment(AUTH_TIME)).transpose()
    }

    fn life(&self, tail: &Tail) -> Result<Life, StoreError> {
        Ok(Life {
            created_at: self.moment(CREATED_AT)?,
            reset_at: self.moment(RESET_AT)?,
            last_activity: self.moment(LAST_ACTIVITY)?,
            ttl: Duration::from_millis(u64::from_be_bytes(self.array(TTL)?)),
            ttl_source: match (self.has(HAS_OWN_TTL), self.has(HAS_CONFIGURED_TTL)) {
                (true, false) => TtlSource::Caller,
                (false, true) => TtlSource::Configured,
                (false, false) => TtlSource::Unknown,
                (true, true) => return Err(unreadable()),
            },
            idle: tail.idle,
            expires_at: self.moment(EXPIRES_AT)?,
        })
    }
}

/// A record split up: its head, and the offsets of the texts, each of which ends where the next one begins.
struct Parts<'a> {
    head: Head<'a>,
    user: usize,
    metadata: usize,
    tail: usize,
    data: usize,
}

impl<'a> std::ops::Deref for Parts<'a> {
    type Target = Head<'a>;

    fn deref(&self) -> &Head<'a> {
        &self.head
    }
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, StoreError> {
        let (user, head) = (head_bytes(bytes)?, Head(bytes));
        let tail_length = if user == HEAD_2 { head.length(TAIL_LENGTH)? } else { 0 };
        let add = |from: usize, length: usize| from.checked_add(length).ok_or_else(unreadable);
        let metadata = add(user, head.length(USER_LENGTH)?)?;
        let tail = add(metadata, head.length(METADATA_LENGTH)?)?;
        let data = add(tail, tail_length)?;
        Ok(Self { head, user, metadata, tail, data })
    }

    /// The bytes between two of these offsets; an error if they are incomplete.
    fn between(&self, from: usize, to: usize) -> Result<&'a [u8], StoreError> {
        self.head.0.get(from..to).ok_or_else(unreadable)
    }

    fn user_id(&self) -> Result<Option<String>, StoreError> {
        let user = self.between(self.user, self.metadata)?;
        self.has(HAS_USER).then(|| text(user).map(str::to_owned)).transpose()
    }

    fn metadata(&self) -> Result<Data, StoreError> {
        Ok(Data::from_store(Arc::from(text(self.between(self.metadata, self.tail)?)?)))
    }

    /// # Errors
    /// Also for entries that this build does not know.
    fn tail(&self) -> Result<Tail, StoreError> {
        let tail = Tail::read(self.between(self.tail, self.data)?);
        tail.map_err(|wrong| StoreError::Unusable(format!("a record cannot be read: {wrong}")))
    }
}

#[cfg(test)]
mod tests;
