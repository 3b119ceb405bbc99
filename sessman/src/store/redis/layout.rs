//! A record as the one value that is kept of it.
//!
//! First what has a fixed length, at fixed places, so that a script reads and writes it without touching the rest; then
//! the user, the metadata and the data. Numbers are big endian. The scripts know the places, too.

use std::sync::Arc;
use std::time::Duration;

use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::record::Record;
use crate::store::StoreError;
use crate::time::Timestamp;

/// Sets the sessions that have had the same handle one after the other apart: the second that one began in, and what is
/// random.
pub(super) const MARK_BYTES: usize = 8;

/// The seconds since 1970, whose 32 bits begin anew in 2106.
const MARK_SECONDS: usize = 4;

/// So much is before the user.
pub(super) const HEAD_BYTES: usize = 114;

/// The first byte: which of the layouts it is.
const SCHEMA: usize = 0;
/// [`HAS_USER`] and [`HAS_AUTH_TIME`].
const FLAGS: usize = 1;
pub(super) const MARK: usize = 2;
const SECRET_HASH: usize = 10;
const VERSION: usize = 42;
const CREATED_AT: usize = 50;
const UPDATED_AT: usize = 58;
const TTL: usize = 66;
const RESET_AT: usize = 74;
const LAST_ACTIVITY: usize = 82;
const EXPIRES_AT: usize = 90;
const AUTH_TIME: usize = 98;
const USER_LENGTH: usize = 106;
const METADATA_LENGTH: usize = 110;

const HAS_USER: u8 = 1;
const HAS_AUTH_TIME: u8 = 2;

/// A session's [mark](MARK_BYTES).
pub(super) type Mark = [u8; MARK_BYTES];

/// What clean-up needs to know of a record, from its head alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) created_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

/// Fills `bytes` from the system's generator.
///
/// # Errors
/// There is none.
pub(super) fn fill_at_random(bytes: &mut [u8]) -> Result<(), StoreError> {
    getrandom::fill(bytes)
        .map_err(|error| StoreError::Unusable(format!("the system gives no randomness: {error}")))
}

/// The mark of a session that begins at `now`.
///
/// # Errors
/// As [`fill_at_random`].
pub(super) fn new_mark(now: Timestamp) -> Result<Mark, StoreError> {
    let mut mark: Mark = [0; MARK_BYTES];
    let (begun, random) = mark.split_at_mut(MARK_SECONDS);
    begun.copy_from_slice(&seconds(now).to_be_bytes());
    fill_at_random(random)?;
    Ok(mark)
}

/// How many seconds ago the session of a mark began; 0 if that was not before `now`.
pub(super) fn age(mark: &Mark, now: Timestamp) -> u32 {
    let begun = u32::from_be_bytes(std::array::from_fn(|index| mark[index]));
    let age = seconds(now).wrapping_sub(begun);
    // More than half of all that there are: it is the future.
    if age > u32::MAX / 2 { 0 } else { age }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they begin anew in 2106")]
fn seconds(at: Timestamp) -> u32 {
    at.as_millis().div_euclid(1_000) as u32
}

/// Writes a record.
pub(super) fn write(record: &Record, mark: &Mark) -> Vec<u8> {
    let user = record.user_id.as_deref().unwrap_or_default().as_bytes();
    let (metadata, data) = (record.metadata.as_str().as_bytes(), record.data.as_str().as_bytes());
    let mut bytes = Vec::with_capacity(HEAD_BYTES + user.len() + metadata.len() + data.len());
    let has_user = if record.user_id.is_some() { HAS_USER } else { 0 };
    let has_auth_time = if record.auth_time.is_some() { HAS_AUTH_TIME } else { 0 };
    bytes.extend([schema(), has_user | has_auth_time]);
    bytes.extend(mark);
    bytes.extend(record.secret_hash.as_bytes());
    bytes.extend(record.version.to_be_bytes());
    bytes.extend(moment(record.created_at));
    bytes.extend(moment(record.updated_at));
    bytes.extend(u64::try_from(record.ttl.as_millis()).unwrap_or(u64::MAX).to_be_bytes());
    bytes.extend(moment(record.reset_at));
    bytes.extend(moment(record.last_activity));
    bytes.extend(moment(record.expires_at));
    bytes.extend(moment(record.auth_time.unwrap_or(Timestamp::from_millis(0))));
    // Neither comes near 4 GiB: the engine limits both.
    bytes.extend(u32::try_from(user.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(u32::try_from(metadata.len()).unwrap_or(u32::MAX).to_be_bytes());
    for part in [user, metadata, data] {
        bytes.extend(part);
    }
    bytes
}

/// Reads the record of `handle`, and its mark.
///
/// # Errors
/// [`StoreError::Unusable`] for what [`write()`] did not write.
pub(super) fn read(handle: Handle, bytes: &[u8]) -> Result<(Record, Mark), StoreError> {
    check_schema(bytes)?;
    let parts = Parts(bytes);
    let flags = bytes[FLAGS];
    let user_length = parts.length(USER_LENGTH)?;
    let metadata_length = parts.length(METADATA_LENGTH)?;
    let texts = &bytes[HEAD_BYTES..];
    let (user, texts) = texts.split_at_checked(user_length).ok_or_else(unreadable)?;
    let (metadata, data) = texts.split_at_checked(metadata_length).ok_or_else(unreadable)?;
    let record = Record {
        handle,
        secret_hash: SecretHash::from(parts.array(SECRET_HASH)?),
        user_id: (flags & HAS_USER != 0).then(|| text(user).map(str::to_owned)).transpose()?,
        auth_time: (flags & HAS_AUTH_TIME != 0).then(|| parts.moment(AUTH_TIME)).transpose()?,
        data: Data::from_store(Arc::from(text(data)?)),
        metadata: Data::from_store(Arc::from(text(metadata)?)),
        created_at: parts.moment(CREATED_AT)?,
        updated_at: parts.moment(UPDATED_AT)?,
        reset_at: parts.moment(RESET_AT)?,
        last_activity: parts.moment(LAST_ACTIVITY)?,
        ttl: Duration::from_millis(u64::from_be_bytes(parts.array(TTL)?)),
        expires_at: parts.moment(EXPIRES_AT)?,
        version: u64::from_be_bytes(parts.array(VERSION)?),
    };
    Ok((record, parts.array(MARK)?))
}

/// Reads what [`Life`] has from the beginning of a record.
///
/// # Errors
/// As [`read`].
pub(super) fn life(head: &[u8]) -> Result<Life, StoreError> {
    check_schema(head)?;
    let parts = Parts(head);
    Ok(Life { created_at: parts.moment(CREATED_AT)?, expires_at: parts.moment(EXPIRES_AT)? })
}

/// The mark of a record, from its beginning.
///
/// # Errors
/// As [`read`].
pub(super) fn mark(head: &[u8]) -> Result<Mark, StoreError> {
    check_schema(head)?;
    Parts(head).array(MARK)
}

/// Whether a record, of which so much is given as there is before the metadata, has this mark and is this user's.
pub(super) fn is_of(beginning: &[u8], mark: &Mark, user_id: &str) -> bool {
    let parts = Parts(beginning);
    parts.array(MARK).is_ok_and(|found: Mark| found == *mark)
        && parts.length(USER_LENGTH).is_ok_and(|length| length == user_id.len())
        && beginning.get(HEAD_BYTES..) == Some(user_id.as_bytes())
}

/// How many bytes the user has, of a record's beginning.
///
/// # Errors
/// As [`read`].
pub(super) fn user_length(beginning: &[u8]) -> Result<usize, StoreError> {
    check_schema(beginning)?;
    Parts(beginning).length(USER_LENGTH)
}

/// The user, of as much of a record as there is before the metadata; `None` for nobody's, and where it is cut short.
pub(super) fn user(beginning: &[u8]) -> Option<&str> {
    let length = user_length(beginning).ok().filter(|length| *length > 0)?;
    std::str::from_utf8(beginning.get(HEAD_BYTES..HEAD_BYTES + length)?).ok()
}

/// A moment as scripts put it into a record.
pub(super) fn moment(moment: Timestamp) -> [u8; 8] {
    moment.as_millis().to_be_bytes()
}

/// A version as scripts compare it.
pub(super) fn version(version: u64) -> [u8; 8] {
    version.to_be_bytes()
}

/// The byte that every record of ours begins with.
#[allow(clippy::cast_possible_truncation, reason = "a layout's number is small")]
const fn schema() -> u8 {
    Record::SCHEMA as u8
}

fn check_schema(bytes: &[u8]) -> Result<(), StoreError> {
    match bytes.get(SCHEMA) {
        Some(found) if *found == schema() && bytes.len() >= HEAD_BYTES => Ok(()),
        Some(found) if *found > schema() && *found < b' ' => {
            Err(StoreError::Unusable(format!("a record's layout is {found}, this build knows {}", schema())))
        }
        _ => Err(unreadable()),
    }
}

fn text(bytes: &[u8]) -> Result<&str, StoreError> {
    std::str::from_utf8(bytes).map_err(|_| unreadable())
}

/// Of an answer that no command of ours has.
pub(super) fn unexpected() -> StoreError {
    StoreError::Unusable("Redis answered with something that its command does not have".into())
}

const UNREADABLE: &str = "a key that should hold a session holds something else";

/// Says so without a byte of what is there.
pub(super) fn unreadable() -> StoreError {
    StoreError::Unusable(UNREADABLE.into())
}

/// Whether that is all that is wrong.
pub(super) fn is_unreadable(error: &StoreError) -> bool {
    matches!(error, StoreError::Unusable(reason) if reason == UNREADABLE)
}

struct Parts<'a>(&'a [u8]);

impl Parts<'_> {
    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], StoreError> {
        let part = self.0.get(at..at + N).ok_or_else(unreadable)?;
        part.try_into().map_err(|_| unreadable())
    }

    fn moment(&self, at: usize) -> Result<Timestamp, StoreError> {
        Ok(Timestamp::from_millis(i64::from_be_bytes(self.array(at)?)))
    }

    fn length(&self, at: usize) -> Result<usize, StoreError> {
        usize::try_from(u32::from_be_bytes(self.array(at)?)).map_err(|_| unreadable())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let at = Timestamp::from_millis;
        Record {
            handle: Handle::from([7; 12]),
            secret_hash: SecretHash::from([9; 32]),
            user_id: Some("ada ü".into()),
            auth_time: Some(at(8)),
            data: Data::parse(r#"{"a":1}"#).unwrap(),
            metadata: Data::parse(r#"{"ip":"::1"}"#).unwrap(),
            created_at: at(1),
            updated_at: at(2),
            reset_at: at(3),
            last_activity: at(4),
            ttl: Duration::from_millis(5),
            expires_at: at(6),
            version: u64::MAX - 1,
        }
    }

    #[test]
    fn the_places_are_those_that_the_scripts_know() {
        let bytes = write(&record(), b"markmark");
        let number = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!(bytes[..2], [1, HAS_USER | HAS_AUTH_TIME]);
        assert_eq!(bytes[MARK..SECRET_HASH], *b"markmark");
        assert_eq!(bytes[SECRET_HASH..VERSION], [9; 32]);
        assert_eq!([50, 58, 66, 74, 82, 90, 98].map(number), [1, 2, 5, 3, 4, 6, 8]);
        assert_eq!(bytes[USER_LENGTH..HEAD_BYTES], [0, 0, 0, 6, 0, 0, 0, 12]);
        assert_eq!(&bytes[HEAD_BYTES..], "ada ü{\"ip\":\"::1\"}{\"a\":1}".as_bytes());
    }

    #[test]
    fn a_record_cut_short_or_changed_is_refused_and_never_a_panic() {
        let bytes = write(&record(), b"markmark");
        assert_eq!(read(record().handle, &bytes).unwrap(), (record(), *b"markmark"));
        let lives = Life { created_at: record().created_at, expires_at: record().expires_at };
        assert_eq!(life(&bytes[..HEAD_BYTES]).unwrap(), lives);
        // The end of the data is the end of the value: what is cut there is JSON cut short, and not seen here.
        for length in 0..bytes.len() - 7 {
            let error = read(record().handle, &bytes[..length]).unwrap_err();
            assert!(matches!(error, StoreError::Unusable(_)), "{length}");
        }
        let newer = [&[2], &bytes[1..]].concat();
        let error = read(record().handle, &newer).unwrap_err().to_string();
        assert!(error.contains("layout is 2") && error.contains("knows 1"), "{error}");
        for index in 0..bytes.len() {
            let mut other = bytes.clone();
            other[index] ^= 0xFF;
            let _ = read(record().handle, &other);
        }
    }
}
