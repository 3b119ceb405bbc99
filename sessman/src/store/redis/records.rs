//! The binary form of records, exposed to the fuzz targets.

use super::layout;
use crate::id::Handle;
use crate::record::Record;
use crate::store::StoreError;

/// The least length of the head.
pub const HEAD_BYTES: usize = layout::HEAD_1;

/// Encodes `record`.
pub fn write(record: &Record) -> Vec<u8> {
    layout::write(record)
}

/// Decodes the record of `handle`.
///
/// # Errors
/// [`StoreError::Unusable`] for bytes that are not from [`write()`].
pub fn read(handle: Handle, bytes: &[u8]) -> Result<Record, StoreError> {
    layout::read(handle, bytes)
}
