//! For how long servers keep what has ended.

use std::time::Duration;

use crate::time::Timestamp;

/// The servers remove a record so much later than it ends.
const LAG: Duration = Duration::from_secs(60);

/// From when on the name of a session is worth a look, in milliseconds since 1970: its record is removed by then.
pub(super) fn removal(expires_at: Timestamp) -> i64 {
    expires_at.after(LAG).as_millis()
}

/// For how many milliseconds a server keeps a record. It counts them by itself: whatever its clock says ends nothing early.
pub(super) fn kept(expires_at: Timestamp, now: Timestamp) -> Vec<u8> {
    (expires_at.since(now) + LAG).as_millis().to_string().into_bytes()
}
