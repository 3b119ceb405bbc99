//! Records as the bytes that a server keeps, for the fuzz targets.

use super::layout;
use crate::id::Handle;
use crate::record::Record;
use crate::store::StoreError;

/// Bytes before the texts, at least.
pub const HEAD_BYTES: usize = layout::HEAD_1;

/// The value that holds `record`.
pub fn write(record: &Record) -> Vec<u8> {
    layout::write(record)
}

/// The record of `handle` that a value holds.
///
/// # Errors
/// [`StoreError::Unusable`] for what [`write()`] did not write.
pub fn read(handle: Handle, bytes: &[u8]) -> Result<Record, StoreError> {
    layout::read(handle, bytes)
}
