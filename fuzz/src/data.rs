//! The JSON that sessions hold.

use proptest::prelude::*;
use serde_json::Value;
use sessman::data::{Data, DataError};

use crate::choice::one_of;
use crate::door::{Door, as_text, door};
use crate::pieces::{self, JSON, text};

/// In strings and keys.
pub(crate) const TEXTS: &[&str] =
    &["a", "b", "$", ".", "%", "2E", "25", "\0", "\"", "\\", "/", "~", "\u{fc}", "\u{1f600}", "\u{7f}", "\n"];

/// Texts of JSON, well-formed or not.
pub(crate) fn any_text() -> impl Strategy<Value = String> {
    let deep = (prop::sample::select(vec![("[", "]"), ("{\"a\":", "}")]), 95..104_usize, text(JSON, 3))
        .prop_map(|((open, close), levels, inside)| {
            format!("{}{inside}{}", open.repeat(levels), close.repeat(levels))
        });
    one_of![
        20 => text(JSON, 24),
        20 => pieces::json(TEXTS).prop_map(|value| value.to_string()),
        10 => (pieces::json(TEXTS), text(JSON, 2), any::<prop::sample::Index>()).prop_map(|(value, put_in, at)| {
            let mut written = format!("{value:#}");
            let mut at = at.index(written.len() + 1);
            while !written.is_char_boundary(at) {
                at -= 1;
            }
            written.insert_str(at, &put_in);
            written
        }),
        1 => deep,
    ]
}

/// What every value that a store may get holds to.
pub(crate) fn is_canonical(data: &Data) {
    let again = Data::parse(data.as_str());
    assert_eq!(again.as_ref().map(Data::as_str), Ok(data.as_str()));
    assert_eq!(data.to_value().to_string(), data.as_str());
}

fn read(text: &str) -> Option<Data> {
    let plain = serde_json::from_str::<Value>(text);
    match Data::parse(text) {
        Ok(data) => {
            is_canonical(&data);
            assert_eq!(plain.map(|value| value.to_string()).ok().as_deref(), Some(data.as_str()));
            Some(data)
        }
        Err(DataError::Malformed(_)) => {
            assert!(plain.is_err(), "JSON that is called malformed");
            None
        }
        Err(DataError::NotStorable { pointer, .. }) => {
            assert!(pointer.is_empty() || pointer.starts_with('/'), "{pointer:?} is no pointer");
            if let Ok(value) = plain
                && !pointer.contains('\0')
            {
                assert!(value.pointer(&pointer).is_some(), "nothing is at {pointer:?}");
            }
            None
        }
    }
}

fn check(text: &str, patch: &str) {
    let (data, patch) = (read(text), read(patch));
    let (Some(data), Some(patch)) = (data, patch) else { return };
    let merged = data.merged_with(&patch);
    is_canonical(&merged);
    assert_eq!(merged.merged_with(&patch), merged, "the same patch again changes something");
    let added = merged.with_texts([("a", "text".to_owned())]);
    is_canonical(&added);
}

/// A text and its patch with a NUL between them, which neither can hold.
fn raw(bytes: &[u8]) -> (String, String) {
    let text = as_text(bytes);
    match text.split_once('\0') {
        Some((text, patch)) => (text.to_owned(), patch.to_owned()),
        None => (text.clone(), text),
    }
}

pub(crate) fn open() -> Box<dyn Door> {
    let seeds: &[&[u8]] =
        &[b"{\"a\":[1,2.5,-0.0,true,null],\"b\":{\"c\":\"x\"}}\0{\"a\":null,\"b\":{\"c\":{\"d\":1}}}"];
    Box::new(
        door((any_text(), any_text()), |(text, patch)| check(&text, &patch))
            .raw(raw, seeds)
            .words(JSON)
            .words(TEXTS),
    )
}
