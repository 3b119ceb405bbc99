//! The size of a key, and what tells keys apart.

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Characters that tell keys apart.
pub(super) const KEY_NAME_LENGTH: usize = 8;

/// Tells keys apart: 8 characters of base64.
pub type Name = [u8; KEY_NAME_LENGTH];
