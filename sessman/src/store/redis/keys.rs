//! The names of the keys: `<prefix>:s:<handle>` is a session, `<prefix>:i:<first byte>` the names of all sessions whose
//! handles begin with that byte, `<prefix>:l:<first byte>:<label>` the same of those with a label,
//! `<prefix>:u:<user>` the names of a user's sessions, `<prefix>:p:<user>` their places,
//! `<prefix>:lead` the lease of the clean-up.
//!
//! In a cluster the places are `<prefix>:p:{<prefix>:u:<user>}`: the hash tag in braces puts a user's two keys into one slot.
//! A hash tag ends at the first closing brace, so a user id that contains one needs another form: `<prefix>:p:}<user>`. If
//! the id has a pair of braces of its own, that is the hash tag of both keys. Otherwise the two keys are in two slots, which
//! costs a command and breaks nothing.

use std::fmt;

use crate::id::Handle;
use crate::labels::Label;
use crate::mark::Mark;
use crate::record::Record;

const HANDLE_BYTES: usize = 12;

/// Builds and recognises our keys.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

/// A session's name in the indexes: its handle and its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) handle: Handle,
    pub(super) mark: Mark,
}

/// The kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Session,
    Names,
    Places,
    Label,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Self::Session => 's',
            Self::Names => 'u',
            Self::Places => 'p',
            Self::Label => 'l',
        }
    }
}

impl Keys {
    /// Keys with this `prefix`, which has no characters with a meaning in a key or in a pattern.
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(super) fn session(&self, handle: Handle) -> Vec<u8> {
        self.beginning(Kind::Session, handle)
    }

    /// The index of the sessions whose handles begin with `first`.
    pub(super) fn index(&self, first: u8) -> Vec<u8> {
        format!("{}:i:{first:02x}", self.prefix).into_bytes()
    }

    /// The same of those with this label.
    pub(super) fn label(&self, first: u8, label: &Label) -> Vec<u8> {
        self.beginning(Kind::Label, format_args!("{first:02x}:{label}"))
    }

    /// First byte and label of such a key; `None` for other keys.
    pub(super) fn label_of(&self, key: &[u8]) -> Option<(u8, Label)> {
        let rest = key.strip_prefix(self.beginning(Kind::Label, "").as_slice())?;
        let (first, label) = std::str::from_utf8(rest).ok()?.split_once(':')?;
        let (first, label) = (u8::from_str_radix(first, 16).ok()?, Label::parse(label).ok()?);
        (self.label(first, &label) == key).then_some((first, label))
    }

    pub(super) fn names(&self, user_id: &str) -> Vec<u8> {
        self.beginning(Kind::Names, user_id)
    }

    /// The places of a user: in a cluster, or on a single server, where older versions use the same key.
    pub(super) fn places(&self, user_id: &str, in_cluster: bool) -> Vec<u8> {
        match (in_cluster, user_id.contains('}')) {
            (false, _) => self.beginning(Kind::Places, user_id),
            (true, false) => {
                let names = format_args!("{}:{}:", self.prefix, Kind::Names.letter());
                self.beginning(Kind::Places, format_args!("{{{names}{user_id}}}"))
            }
            (true, true) => self.beginning(Kind::Places, format_args!("}}{user_id}")),
        }
    }

    /// The user of a places key; `None` for other keys, including those of older versions in a cluster.
    pub(super) fn user_of_places<'a>(&self, key: &'a [u8], in_cluster: bool) -> Option<&'a str> {
        let rest =
            std::str::from_utf8(key.strip_prefix(self.beginning(Kind::Places, "").as_slice())?).ok()?;
        if !in_cluster {
            return Some(rest);
        }
        let names = format!("{{{}:{}:", self.prefix, Kind::Names.letter());
        let in_braces = rest.strip_prefix(&names).and_then(|rest| rest.strip_suffix('}'));
        let user_id = in_braces.or(rest.strip_prefix('}'))?;
        (self.places(user_id, true) == key).then_some(user_id)
    }

    /// Whether it is a places key of any version.
    pub(super) fn is_of_places(&self, key: &[u8]) -> bool {
        key.starts_with(&self.beginning(Kind::Places, ""))
    }

    /// The lease of the clean-up.
    pub(super) fn lead(&self) -> Vec<u8> {
        format!("{}:lead", self.prefix).into_bytes()
    }

    /// The prefix of ping keys, which never exist.
    pub(super) fn ping(&self) -> Vec<u8> {
        format!("{}:ping", self.prefix).into_bytes()
    }

    /// A pattern for `SCAN`; its matches must be checked with [`session_of`](Self::session_of).
    pub(super) fn pattern(&self, kind: Kind) -> Vec<u8> {
        self.beginning(kind, "*")
    }

    /// A pattern for the keys of users, of both kinds, and for the indexes of labels.
    pub(super) fn pattern_of_indexes(&self) -> Vec<u8> {
        let letters = [Kind::Names, Kind::Places, Kind::Label].map(Kind::letter);
        format!("{}:[{}]:*", self.prefix, letters.iter().collect::<String>()).into_bytes()
    }

    /// The handle in a session key; `None` for other keys.
    pub(super) fn session_of(&self, key: &[u8]) -> Option<Handle> {
        let rest = key.strip_prefix(self.beginning(Kind::Session, "").as_slice())?;
        Handle::parse(std::str::from_utf8(rest).ok()?)
    }

    /// The user of an index key.
    pub(super) fn user_of_names<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let rest = key.strip_prefix(self.beginning(Kind::Names, "").as_slice())?;
        std::str::from_utf8(rest).ok()
    }

    fn beginning(&self, kind: Kind, rest: impl fmt::Display) -> Vec<u8> {
        format!("{}:{}:{rest}", self.prefix, kind.letter()).into_bytes()
    }
}

impl Name {
    pub(super) fn of(record: &Record) -> Self {
        Self { handle: record.handle, mark: record.mark }
    }

    /// Ordered by handle, as the handle's bytes come first.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [self.handle.as_bytes().as_slice(), self.mark.as_bytes()].concat()
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (handle, mark) = bytes.split_first_chunk::<HANDLE_BYTES>()?;
        let mark: [u8; Mark::BYTES] = mark.try_into().ok()?;
        Some(Self { handle: Handle::from(*handle), mark: Mark::from(mark) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::slot_of;
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
        let label = Label::new("tenant", "a:{b}").unwrap();
        let key = keys.label(0xAB, &label);
        assert_eq!(key, b"sessman:l:ab:tenant:a:{b}");
        assert_eq!(keys.label_of(&key), Some((0xAB, label)));
        for other in [
            "sessman:l:AB:tenant:a",
            "sessman:l:b:tenant:a",
            "sessman:l:ab:Tenant:a",
            "sessman:l:ab:tenant:",
            "sessman:u:ab:tenant:a",
        ] {
            assert_eq!(keys.label_of(other.as_bytes()), None, "{other}");
        }
    }

    /// Those whose ids are made to be taken for others'.
    const USERS: [&str; 14] = [
        "ada",
        "",
        "\u{fc}",
        "{",
        "}",
        "{}",
        "{}ada",
        "a{b}c",
        "a}b",
        "a}{b}",
        "a{b",
        "{sessman:u:ada}",
        "{sessman:u:ada",
        "}ada",
    ];

    #[test]
    fn no_two_users_have_one_key_and_each_key_says_whose_it_is() {
        let keys = Keys::new("sessman");
        for in_cluster in [false, true] {
            let all: std::collections::HashSet<_> =
                USERS.iter().map(|user| keys.places(user, in_cluster)).collect();
            assert_eq!(all.len(), USERS.len());
            for user in USERS {
                let key = keys.places(user, in_cluster);
                assert_eq!(keys.user_of_places(&key, in_cluster), Some(user));
            }
        }
        assert_eq!(keys.places("ada", false), b"sessman:p:ada");
        assert_eq!(keys.places("ada", true), b"sessman:p:{sessman:u:ada}");
        // Those of the version before.
        for key in ["sessman:p:ada", "sessman:p:{}", "sessman:p:{sessman:u:a}b}", "sessman:p:{sessman:u:ada"]
        {
            assert_eq!(keys.user_of_places(key.as_bytes(), true), None, "{key}");
        }
    }

    #[test]
    fn a_users_keys_are_in_one_slot_of_a_cluster() {
        let keys = Keys::new("sessman");
        for user in USERS {
            // Without a pair of braces that has something in it, a brace that closes ends what would be in ours.
            let is_apart = user.contains('}') && !["a{b}c", "a}{b}", "{sessman:u:ada}"].contains(&user);
            let is_together = slot_of(&keys.names(user)) == slot_of(&keys.places(user, true));
            assert_eq!(is_together, !is_apart, "{user}");
        }
    }

    #[test]
    fn names_are_read_as_they_were_written() {
        let name = Name { handle: Handle::from([1; 12]), mark: Mark::from(*b"\0\xFF345678") };
        let bytes = name.to_bytes();
        assert_eq!(Name::parse(&bytes), Some(name));
        assert_eq!(Name::parse(&bytes[1..]), None);
        assert_eq!(Name::parse(b""), None);
    }
}
