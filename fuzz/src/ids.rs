//! Session ids and handles.

use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::prelude::*;
use sessman::id::{Handle, SessionId};

use crate::choice::one_of;
use crate::door::{Door, as_text, door};
use crate::pieces::text;

const PIECES: &[&str] = &[
    "A",
    "z",
    "0",
    "-",
    "_",
    "+",
    "/",
    "=",
    " ",
    "\0",
    "\u{fc}",
    "AAAA",
    "AbCdEf0123456-_9",
    "AbCdEf0123456789abcdefgh",
];

fn is_base64url(text: &str, length: usize) -> bool {
    text.len() == length
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn check(text: &str) {
    let id = SessionId::parse(text);
    assert_eq!(id.is_some(), is_base64url(text, SessionId::TEXT_LENGTH), "{text:?}");
    if let Some(id) = id {
        assert_eq!(id.expose(&mut [0; SessionId::TEXT_LENGTH]), text);
        let (handle, secret) = text.split_at(Handle::TEXT_LENGTH);
        assert_eq!(id.handle().to_string(), handle);
        let shown = format!("{id:?} {:?}", id.secret_hash());
        // Two characters in a row may be chance: those of the words around them.
        assert!(!shown.contains(&secret[16..]) || handle.contains(&secret[16..]), "{shown}");
    }
    let handle = Handle::parse(text);
    assert_eq!(handle.is_some(), is_base64url(text, Handle::TEXT_LENGTH), "{text:?}");
    if let Some(handle) = handle {
        assert_eq!(handle.to_string(), text);
        assert_eq!(Handle::from(*handle.as_bytes()), handle);
    }
}

/// Text of characters that ids have.
fn of_length(length: RangeInclusive<usize>) -> impl Strategy<Value = String> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let character = any::<u8>().prop_map(|number| char::from(ALPHABET[usize::from(number) % ALPHABET.len()]));
    vec(character, length).prop_map(String::from_iter)
}

pub(crate) fn open() -> Box<dyn Door> {
    let near = (of_length(48..=48), text(PIECES, 2), 0..=48_usize, 0..=2_usize).prop_map(
        |(mut id, put_in, at, cut)| {
            id.replace_range(at..(at + put_in.len().min(48 - at)).min(48), &put_in);
            let mut end = id.len().saturating_sub(cut);
            while !id.is_char_boundary(end) {
                end -= 1;
            }
            id.truncate(end);
            id
        },
    );
    let input = one_of![near, of_length(15..=17), of_length(47..=49), text(PIECES, 12)];
    let seeds: &[&[u8]] = &[b"AbCdEf0123456-_9", b"AbCdEf0123456789abcdefghAbCdEf0123456789abcdefgh"];
    Box::new(door(input, |text: String| check(&text)).raw(as_text, seeds).words(PIECES))
}
