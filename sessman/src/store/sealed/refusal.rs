//! Why a record is refused.

use crate::id::Handle;
use crate::store::StoreError;

/// Of the session with that handle.
pub(super) fn unusable(handle: Handle, what: &str) -> StoreError {
    StoreError::Unusable(format!("the session {handle} {what}"))
}
