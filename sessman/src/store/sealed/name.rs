//! The length of a key, and the name that identifies it.

/// Length of a key in bytes.
pub const KEY_BYTES: usize = 32;

/// Length of a key's name in characters.
pub(super) const KEY_NAME_LENGTH: usize = 8;

/// The name of a key: 8 characters of base64.
pub type Name = [u8; KEY_NAME_LENGTH];
