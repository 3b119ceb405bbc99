//! The encoding of records, exposed to the fuzz targets.

use mongodb::bson::{RawDocument, RawDocumentBuf};

use super::document;
use crate::record::Record;
use crate::store::StoreError;

/// Encodes `record`.
///
/// # Errors
/// [`StoreError::Unusable`] for a record that the engine would not make.
pub fn write(record: &Record) -> Result<Vec<u8>, StoreError> {
    let document = document::from_record(record)?;
    RawDocumentBuf::try_from(&document)
        .map(RawDocumentBuf::into_bytes)
        .map_err(|error| StoreError::Unusable(error.to_string()))
}

/// Decodes a record.
///
/// # Errors
/// [`StoreError::Unusable`] with the field that is not as [`write()`] writes it.
pub fn read(bytes: &[u8]) -> Result<Record, StoreError> {
    let document = RawDocument::from_bytes(bytes).map_err(|error| StoreError::Unusable(error.to_string()))?;
    Ok(document::to_record(document)?)
}
