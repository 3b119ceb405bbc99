//! Session ids: a public handle and a secret, and the hash that is all a store keeps of the secret.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const HANDLE_BYTES: usize = 12;
const SECRET_BYTES: usize = 24;

/// The public name of a session: its primary key, fixed for the session's life. It may be logged and shown; it does not
/// authenticate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle([u8; HANDLE_BYTES]);

impl Handle {
    /// Length of the text form.
    pub const TEXT_LENGTH: usize = 16;

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; HANDLE_BYTES] {
        &self.0
    }

    /// The text form.
    pub(crate) fn write<'a>(&self, text: &'a mut [u8; Self::TEXT_LENGTH]) -> &'a str {
        encode(&self.0, text)
    }

    /// Parses the 16 base64url characters that [`Display`](fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; HANDLE_BYTES];
        decode(text, Self::TEXT_LENGTH, &mut bytes).then_some(Self(bytes))
    }
}

impl From<[u8; HANDLE_BYTES]> for Handle {
    fn from(bytes: [u8; HANDLE_BYTES]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.write(&mut [0; Self::TEXT_LENGTH]))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({self})")
    }
}

/// SHA-256 of a session's secret. Compared in constant time.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The raw bytes, as stored.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for SecretHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// The session id that a client holds: a bearer secret. So it has no `Display`, and its `Debug` shows only the handle.
///
/// A generated id is 48 base64url characters: 16 of the handle, then 32 of the secret. For an external id, chosen by the
/// caller, handle and secret are hashes of it.
#[derive(Clone)]
pub struct SessionId {
    handle: Handle,
    form: Form,
}

#[derive(Clone)]
enum Form {
    Native([u8; SECRET_BYTES]),
    External(Arc<str>),
}

impl SessionId {
    /// Length of a generated id as text.
    pub const TEXT_LENGTH: usize = 48;
    /// Allowed lengths of an external id. 128 random bits are 22 characters of base64.
    pub const EXTERNAL_LENGTHS: RangeInclusive<usize> = 22..=256;

    /// A new id from the operating system's random generator.
    ///
    /// # Panics
    /// If the operating system's random generator fails: there is no safe fallback.
    pub fn generate() -> Self {
        // One call: the system call costs more than the bytes.
        let bytes: [u8; HANDLE_BYTES + SECRET_BYTES] = random();
        let (mut handle, mut secret) = ([0; HANDLE_BYTES], [0; SECRET_BYTES]);
        handle.copy_from_slice(&bytes[..HANDLE_BYTES]);
        secret.copy_from_slice(&bytes[HANDLE_BYTES..]);
        Self { handle: Handle(handle), form: Form::Native(secret) }
    }

    /// The same handle with a new secret; `None` for an external id.
    ///
    /// # Panics
    /// As for [`generate`](Self::generate).
    pub fn rotated(&self) -> Option<Self> {
        match self.form {
            Form::Native(_) => Some(Self { handle: self.handle, form: Form::Native(random()) }),
            Form::External(_) => None,
        }
    }

    /// A generated id with this handle and a new secret, also in place of an external id.
    ///
    /// # Panics
    /// As for [`generate`](Self::generate).
    pub fn generated_for(handle: Handle) -> Self {
        Self { handle, form: Form::Native(random()) }
    }

    /// Parses a generated id; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; HANDLE_BYTES + SECRET_BYTES];
        if !decode(text, Self::TEXT_LENGTH, &mut bytes) {
            return None;
        }
        let (handle, secret) = bytes.split_at(HANDLE_BYTES);
        Some(Self { handle: Handle(handle.try_into().ok()?), form: Form::Native(secret.try_into().ok()?) })
    }

    /// Accepts an external id: visible ASCII of [these lengths](Self::EXTERNAL_LENGTHS), and nothing that could be a generated
    /// id.
    pub fn external(text: &str) -> Option<Self> {
        let fits =
            Self::EXTERNAL_LENGTHS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits || Self::parse(text).is_some() {
            return None;
        }
        let digest = digest("handle", text);
        let handle = Handle(*digest.first_chunk()?);
        Some(Self { handle, form: Form::External(text.into()) })
    }

    /// Parses an id of either kind; `None` for a text that cannot be an id.
    pub fn read(text: &str) -> Option<Self> {
        Self::parse(text).or_else(|| Self::external(text))
    }

    /// Whether it is an external id.
    pub fn is_external(&self) -> bool {
        matches!(self.form, Form::External(_))
    }

    /// The session's public name.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// The hash that a store keeps to verify the secret.
    pub fn secret_hash(&self) -> SecretHash {
        SecretHash(match &self.form {
            Form::Native(secret) => Sha256::digest(secret).into(),
            Form::External(text) => Sha256::digest(digest("secret", text)).into(),
        })
    }

    /// Writes the id as text, to be given to the session's owner only.
    pub fn expose<'a>(&'a self, text: &'a mut [u8; Self::TEXT_LENGTH]) -> &'a str {
        match &self.form {
            Form::External(text) => text,
            Form::Native(secret) => {
                let mut bytes = [0; HANDLE_BYTES + SECRET_BYTES];
                bytes[..HANDLE_BYTES].copy_from_slice(&self.handle.0);
                bytes[HANDLE_BYTES..].copy_from_slice(secret);
                encode(&bytes, text)
            }
        }
    }
}

impl PartialEq for SessionId {
    fn eq(&self, other: &Self) -> bool {
        self.handle == other.handle && self.secret_hash() == other.secret_hash()
    }
}

/// SHA-256 of an external id, with a different prefix for each half, so that one half does not reveal the other.
fn digest(half: &str, text: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update("sessman ")
        .chain_update(half)
        .chain_update("\0")
        .chain_update(text)
        .finalize()
        .into()
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({}..)", self.handle)
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

fn decode(text: &str, text_length: usize, bytes: &mut [u8]) -> bool {
    text.len() == text_length
        && URL_SAFE_NO_PAD.decode_slice(text, bytes).is_ok_and(|written| written == bytes.len())
}

fn encode<'a>(bytes: &[u8], text: &'a mut [u8]) -> &'a str {
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, text).unwrap_or_default();
    // Base64 is ASCII, and every caller's buffer has the exact size, so this never fails.
    std::str::from_utf8(&text[..written]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(id: &SessionId) -> String {
        id.expose(&mut [0; SessionId::TEXT_LENGTH]).to_owned()
    }

    #[test]
    fn the_text_form_is_read_back_and_begins_with_the_handle() {
        let id = SessionId::generate();
        let text = text_of(&id);
        assert_eq!(text.len(), SessionId::TEXT_LENGTH);
        assert!(text.starts_with(&id.handle().to_string()));
        let read = SessionId::parse(&text).unwrap();
        assert_eq!((read.handle(), read.secret_hash()), (id.handle(), id.secret_hash()));
        assert_eq!(Handle::parse(&id.handle().to_string()), Some(id.handle()));
    }

    #[test]
    fn ids_differ_and_rotation_keeps_the_handle() {
        let (a, b) = (SessionId::generate(), SessionId::generate());
        assert_ne!(text_of(&a), text_of(&b));
        let rotated = a.rotated().unwrap();
        assert_eq!(rotated.handle(), a.handle());
        assert_ne!(rotated.secret_hash(), a.secret_hash());
    }

    /// Of 4,000 ids none is another's, and each character is any of the 64 about as often as the others: 62 times in 4,000, give
    /// or take eight standard deviations.
    #[test]
    fn no_place_of_an_id_is_foreseeable() {
        let ids: Vec<String> = (0..4_000).map(|_| text_of(&SessionId::generate())).collect();
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), ids.len());
        let length = ids[0].len();
        assert!(length * 6 >= 192 + 96, "{length} characters");
        for place in 0..length {
            let mut counts = std::collections::HashMap::new();
            for id in &ids {
                *counts.entry(id.as_bytes()[place]).or_insert(0) += 1;
            }
            assert!(
                counts.len() == 64 && counts.values().all(|count| (1..130).contains(count)),
                "{place}: {counts:?}"
            );
        }
    }

    #[test]
    fn what_no_session_can_have_is_refused() {
        let good = text_of(&SessionId::generate());
        for bad in ["", "x", &good[1..], &format!("{good}A"), &good.replace(&good[..1], "="), &"ä".repeat(24)]
        {
            assert!(SessionId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_id_that_the_caller_chose_is_found_again_and_not_rotated() {
        let text = "connect.sid/AAAAAAAAAAAAAAAA+~";
        let (id, again) = (SessionId::external(text).unwrap(), SessionId::read(text).unwrap());
        assert_eq!((id.handle(), id.secret_hash()), (again.handle(), again.secret_hash()));
        assert_eq!(text_of(&id), text);
        assert!(id.rotated().is_none() && id.is_external());
        let other = SessionId::external(&format!("{text}x")).unwrap();
        assert!(other.handle() != id.handle() && other.secret_hash() != id.secret_hash());
        assert!(!format!("{id:?}").contains("connect"));

        let native = text_of(&SessionId::generate());
        for no in [
            &native,
            &"x".repeat(21),
            &"x".repeat(257),
            "a space in between them",
            "\u{e4}bcdefghijklmnopqrstuvw",
        ] {
            assert!(SessionId::external(no).is_none(), "{no}");
        }
        assert!(!SessionId::read(&native).unwrap().is_external());
    }

    #[test]
    fn debug_shows_no_secret() {
        let id = SessionId::generate();
        let shown = format!("{id:?} {:?}", id.secret_hash());
        assert!(!shown.contains(&text_of(&id)[Handle::TEXT_LENGTH..]));
        assert!(shown.ends_with("SecretHash(..)"));
    }
}
