//! The names of the keys: `<prefix>:s:<handle>` is a session, `<prefix>:i:<first byte>` the names of all sessions whose
//! handles begin with that byte, `<prefix>:u:<user>` the names of a user's sessions, `<prefix>:p:<user>` their places.

use std::fmt;

use super::layout::Mark;
use crate::id::Handle;

const HANDLE_BYTES: usize = 12;

/// Which keys are ours.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

/// A name of a session, as it is among those of all and among those of a user: the handle, and the session's mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) handle: Handle,
    pub(super) mark: Mark,
}

/// What a key is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Session,
    Names,
    Places,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Self::Session => 's',
            Self::Names => 'u',
            Self::Places => 'p',
        }
    }
}

impl Keys {
    /// Keys below `prefix`, which has none of the characters that have a meaning in a name or in a pattern.
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(super) fn session(&self, handle: Handle) -> Vec<u8> {
        self.beginning(Kind::Session, handle)
    }

    /// The names of all sessions whose handles begin with `first`.
    pub(super) fn index(&self, first: u8) -> Vec<u8> {
        format!("{}:i:{first:02x}", self.prefix).into_bytes()
    }

    pub(super) fn names(&self, user_id: &str) -> Vec<u8> {
        self.beginning(Kind::Names, user_id)
    }

    pub(super) fn places(&self, user_id: &str) -> Vec<u8> {
        self.beginning(Kind::Places, user_id)
    }

    /// A key that is never there, and what others of that kind begin with.
    pub(super) fn ping(&self) -> Vec<u8> {
        format!("{}:ping", self.prefix).into_bytes()
    }

    /// A pattern for `SCAN`; what it finds is to be [looked at](Self::session_of).
    pub(super) fn pattern(&self, kind: Kind) -> Vec<u8> {
        self.beginning(kind, "*")
    }

    /// The session that a key is of, if it is one of ours.
    pub(super) fn session_of(&self, key: &[u8]) -> Option<Handle> {
        let rest = key.strip_prefix(self.beginning(Kind::Session, "").as_slice())?;
        Handle::parse(std::str::from_utf8(rest).ok()?)
    }

    /// The user whose names a key has.
    pub(super) fn user_of_names<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let rest = key.strip_prefix(self.beginning(Kind::Names, "").as_slice())?;
        std::str::from_utf8(rest).ok()
    }

    fn beginning(&self, kind: Kind, rest: impl fmt::Display) -> Vec<u8> {
        format!("{}:{}:{rest}", self.prefix, kind.letter()).into_bytes()
    }
}

impl Name {
    /// In the order of handles, as the handle's bytes come first.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [self.handle.as_bytes().as_slice(), &self.mark].concat()
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (handle, mark) = bytes.split_first_chunk::<HANDLE_BYTES>()?;
        Some(Self { handle: Handle::from(*handle), mark: mark.try_into().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_length_or_prefix_is_not_ours() {
        let keys = Keys::new("sessman");
        let handle = Handle::from([0xAB; 12]);
        let key = keys.session(handle);
        assert_eq!(key, b"sessman:s:q6urq6urq6urq6ur");
        assert_eq!(keys.session_of(&key), Some(handle));
        for other in
            ["sessman:s:short", "sessman:u:q6urq6urq6urq6ur", "other:s:q6urq6urq6urq6ur", "sessman:s:"]
        {
            assert_eq!(keys.session_of(other.as_bytes()), None, "{other}");
        }
        assert_eq!(keys.pattern(Kind::Places), b"sessman:p:*");
    }

    #[test]
    fn names_are_read_as_they_were_written() {
        let name = Name { handle: Handle::from([1; 12]), mark: *b"\0\xFF345678" };
        let bytes = name.to_bytes();
        assert_eq!(Name::parse(&bytes), Some(name));
        assert_eq!(Name::parse(&bytes[1..]), None);
        assert_eq!(Name::parse(b""), None);
    }
}
