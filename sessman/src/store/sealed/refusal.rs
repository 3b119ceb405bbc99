//! The error for a record that is rejected.

use crate::id::Handle;
use crate::store::StoreError;

/// For the session with that handle.
pub(super) fn unusable(handle: Handle, what: &str) -> StoreError {
    StoreError::Unusable(format!("the session {handle} {what}"))
}
