//! Single values, in the form that documents have.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime};

use crate::id::{Handle, SecretHash};
use crate::store::StoreError;
use crate::time::Timestamp;

/// The handle in an `_id`.
pub(super) fn handle_in(id: &Bson) -> Option<Handle> {
    let Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes }) = id else { return None };
    <[u8; 12]>::try_from(&bytes[..]).ok().map(Handle::from)
}

/// Handles as `_id`s.
pub(super) fn ids(handles: impl IntoIterator<Item = Handle>) -> Vec<Binary> {
    handles.into_iter().map(id).collect()
}

/// A handle as `_id`.
pub(super) fn id(handle: Handle) -> Binary {
    binary(handle.as_bytes())
}

/// The stored form of a secret's hash.
pub(super) fn hash(secret_hash: SecretHash) -> Binary {
    binary(secret_hash.as_bytes())
}

/// The stored form of a timestamp.
pub(super) fn date(timestamp: Timestamp) -> DateTime {
    DateTime::from_millis(timestamp.as_millis())
}

/// The stored form of bytes.
pub(super) fn binary(bytes: &[u8]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

/// The stored form of a number.
///
/// # Errors
/// [`StoreError::Unusable`] for one beyond 63 bits.
pub(super) fn whole(
    handle: Handle,
    field: &'static str,
    number: impl TryInto<i64>,
) -> Result<i64, StoreError> {
    number
        .try_into()
        .map_err(|_| StoreError::Unusable(format!("session {handle}: {field} is too large a number")))
}
