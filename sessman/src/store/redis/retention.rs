//! How long servers keep expired records.

use std::time::Duration;

use crate::time::Timestamp;

/// The TTL of a key is this much longer than the session's.
const LAG: Duration = Duration::from_secs(60);

/// When the name of a session is due for a check, in milliseconds since 1970: the server has removed its record by then.
pub(super) fn removal(expires_at: Timestamp) -> i64 {
    expires_at.after(LAG).as_millis()
}

/// The TTL of a key in milliseconds. A duration, so that a wrong clock of the server expires nothing early.
pub(super) fn kept(expires_at: Timestamp, now: Timestamp) -> Vec<u8> {
    (expires_at.since(now) + LAG).as_millis().to_string().into_bytes()
}
