//! Records as the bytes that a server keeps, for the fuzz targets.

use super::layout::{self, Mark};
use crate::id::Handle;
use crate::record::Record;
use crate::store::StoreError;

/// The value that holds `record`, and this mark.
pub fn write(record: &Record, mark: &Mark) -> Vec<u8> {
    layout::write(record, mark)
}

/// The record of `handle` that a value holds, and its mark.
///
/// # Errors
/// [`StoreError::Unusable`] for what [`write()`] did not write.
pub fn read(handle: Handle, bytes: &[u8]) -> Result<(Record, Mark), StoreError> {
    layout::read(handle, bytes)
}
