//! Message authentication codes (HMAC-SHA-256, RFC 2104): of a record, and of a backup file.
//!
//! Their keys are derived from an encryption key by the HMAC of a label, a different one for each use, so that a code of one
//! use is never valid for another.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::name::{KEY_BYTES, Name};
use crate::record::{Mac, Record, TtlSource};
use crate::time::Timestamp;

type HmacSha256 = Hmac<Sha256>;

const OF_RECORDS: &[u8] = b"sessman: key of the MACs of records, 1";
const OF_BACKUPS: &[u8] = b"sessman: key of the MACs of backups, 1";

/// Makes and verifies the codes of one encryption key.
#[derive(Clone)]
pub(super) struct MacKeys {
    records: HmacSha256,
    backups: HmacSha256,
}

impl MacKeys {
    pub(super) fn derive(key: &[u8; KEY_BYTES]) -> Self {
        let derived = |label: &[u8]| keyed(&keyed(key).chain_update(label).finalize().into_bytes());
        Self { records: derived(OF_RECORDS), backups: derived(OF_BACKUPS) }
    }

    pub(super) fn of_record(&self, record: &Record) -> Mac {
        Mac(self.records.clone().chain_update(protected(record)).finalize().into_bytes().into())
    }

    /// Whether this key made `mac` for `record`; `protected` is the result of [`protected`]. Compared in constant time.
    pub(super) fn is_of_record(&self, mac: Mac, protected: &[u8]) -> bool {
        self.records.clone().chain_update(protected).verify_slice(&mac.0).is_ok()
    }

    pub(super) fn backup(&self, name: Name) -> BackupMac {
        BackupMac { name, state: self.backups.clone() }
    }
}

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// The bytes that a record's MAC covers: its user, its secret, its labels, and the limits of its lifetime. Not covered is what a
/// touch or a change of data writes; data and metadata are bound to their session by their encryption.
///
/// Fields of a fixed length come first, then the user. A record without an idle timeout of its own, persistent cookie and labels
/// ends there, as all did before there were these, so that old MACs stay valid. For others a NUL follows, which no user id has,
/// and then these, the labels last. So the encoding is unambiguous.
pub(super) fn protected(record: &Record) -> Vec<u8> {
    let Record {
        handle,
        mark,
        secret_hash,
        user_id,
        auth_time,
        created_at,
        ttl,
        ttl_source,
        idle,
        persistent,
        labels,
        data: _,
        metadata: _,
        updated_at: _,
        reset_at: _,
        last_activity: _,
        expires_at: _,
        version: _,
        mac: _,
    } = record;
    let user = user_id.as_deref().map(str::as_bytes);
    let mut bytes = Vec::with_capacity(96 + user.map_or(0, <[u8]>::len));
    bytes.extend_from_slice(handle.as_bytes());
    bytes.extend_from_slice(mark.as_bytes());
    bytes.extend_from_slice(secret_hash.as_bytes());
    bytes.extend_from_slice(&moment(*created_at));
    bytes.extend_from_slice(&u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).to_be_bytes());
    bytes.push(match ttl_source {
        TtlSource::Configured => 0,
        TtlSource::Caller => 1,
        TtlSource::Unknown => 2,
    });
    bytes.push(u8::from(auth_time.is_some()));
    bytes.extend_from_slice(&auth_time.map_or([0; 8], moment));
    bytes.push(u8::from(user.is_some()));
    bytes.extend_from_slice(user.unwrap_or_default());
    if idle.is_some() || *persistent || !labels.is_empty() {
        bytes.push(0);
        bytes.push(u8::from(idle.is_some()));
        let idle = idle.unwrap_or_default().as_millis();
        bytes.extend_from_slice(&u64::try_from(idle).unwrap_or(u64::MAX).to_be_bytes());
        bytes.push(u8::from(*persistent));
        bytes.extend_from_slice(&labels.to_bytes());
    }
    bytes
}

fn moment(at: Timestamp) -> [u8; 8] {
    at.as_millis().to_be_bytes()
}

/// The MAC of a file, over everything passed to it.
#[derive(Clone)]
pub struct BackupMac {
    name: Name,
    state: HmacSha256,
}

impl BackupMac {
    /// Length of a code in bytes.
    pub const BYTES: usize = 32;

    /// Identifies its key, without revealing it.
    pub fn key_name(&self) -> Name {
        self.name
    }

    /// Adds bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// Returns the code.
    pub fn finish(self) -> [u8; Self::BYTES] {
        self.state.finalize().into_bytes().into()
    }

    /// Verifies `code`, in constant time.
    pub fn is(self, code: &[u8; Self::BYTES]) -> bool {
        self.state.verify_slice(code).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::data::Data;
    use crate::id::{Handle, SecretHash};
    use crate::labels::Labels;
    use crate::mark::Mark;

    const KEY: [u8; KEY_BYTES] = [7; KEY_BYTES];

    fn record() -> Record {
        let at = Timestamp::from_millis(1_700_000_000_000);
        Record {
            handle: Handle::from([1; 12]),
            mark: Mark::from([2; 8]),
            secret_hash: SecretHash::from([3; 32]),
            user_id: Some("ada".into()),
            auth_time: Some(at),
            data: Data::empty(),
            metadata: Data::empty(),
            created_at: at,
            updated_at: at,
            reset_at: at,
            last_activity: at,
            ttl: Duration::from_secs(60),
            ttl_source: TtlSource::Caller,
            idle: None,
            persistent: false,
            labels: Labels::none(),
            expires_at: at,
            version: 1,
            mac: None,
        }
    }

    #[test]
    fn a_code_is_the_same_in_every_version() {
        // Computed once by another implementation (Python's hmac), so that no version makes others unawares.
        let Mac(mac) = MacKeys::derive(&KEY).of_record(&record());
        let text: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "44de9ce5999c0fa5fed611c28fa75894ba70649d6f60db03c26ebfaa88a8f7b8");
    }

    #[test]
    fn two_uses_and_two_keys_have_nothing_in_common() {
        let keys = MacKeys::derive(&KEY);
        let bytes = protected(&record());
        let mut backup = keys.backup([0; 8]);
        backup.update(&bytes);
        let Mac(mac) = keys.of_record(&record());
        assert_ne!(backup.clone().finish(), mac);
        assert!(!backup.is(&mac));
        assert!(keys.is_of_record(Mac(mac), &bytes));
        assert!(!MacKeys::derive(&[8; KEY_BYTES]).is_of_record(Mac(mac), &bytes));
    }
}
