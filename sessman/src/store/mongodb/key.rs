//! Keys of JSON objects as names of BSON fields.
//!
//! A name with a `.`, one that begins with `$` and the empty name are each rejected somewhere: MongoDB 4.4 rejects a
//! `$` below `$set`, compatible servers reject more, and tools of all of them fail. So keys are percent-encoded, only as far
//! as needed: `a.b` is stored as `a%2Eb`, `$set` as `%24set`, `100%` as `100%25`, and the empty name as a single `%`. Every
//! other key is stored unchanged.

use std::borrow::Cow;

/// The name under which `key` is stored.
pub(super) fn stored(key: &str) -> Cow<'_, str> {
    if key.is_empty() {
        return Cow::Borrowed("%");
    }
    if !key.starts_with('$') && !key.contains(['.', '%']) {
        return Cow::Borrowed(key);
    }
    let mut name = String::with_capacity(key.len() + 2);
    for (at, character) in key.char_indices() {
        match character {
            '%' => name.push_str("%25"),
            '.' => name.push_str("%2E"),
            '$' if at == 0 => name.push_str("%24"),
            other => name.push(other),
        }
    }
    Cow::Owned(name)
}

/// The key that is [`stored`] as `name`; `None` if there is none.
pub(super) fn original(name: &str) -> Option<Cow<'_, str>> {
    if name == "%" {
        return Some(Cow::Borrowed(""));
    }
    // Accepted unencoded, they would be a second name of one key.
    if name.is_empty() || name.starts_with('$') || name.contains('.') {
        return None;
    }
    if !name.contains('%') {
        return Some(Cow::Borrowed(name));
    }
    let mut parts = name.split('%');
    let mut key = String::with_capacity(name.len());
    key.push_str(parts.next()?);
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        key.push(match code {
            "25" => '%',
            "2E" => '.',
            "24" if key.is_empty() => '$',
            _ => return None,
        });
        key.push_str(rest);
    }
    Some(Cow::Owned(key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_a_server_may_refuse_is_written_differently() {
        let cases = [
            ("a", "a"),
            ("ключ", "ключ"),
            ("a$b", "a$b"),
            ("", "%"),
            ("%", "%25"),
            ("$", "%24"),
            ("$set", "%24set"),
            ("$$ROOT", "%24$ROOT"),
            ("a.b", "a%2Eb"),
            ("..", "%2E%2E"),
            ("%2E", "%252E"),
        ];
        for (key, name) in cases {
            assert_eq!(stored(key), name);
            assert_eq!(original(name).as_deref(), Some(key));
        }
    }

    #[test]
    fn names_of_other_writers_are_told_from_ours() {
        for name in ["100%", "%2", "%2e", "%41", "%ü", "%%", "", "$set", "a.b", "a%24", "%25%24"] {
            assert_eq!(original(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_key_comes_back(key in "[$.%a2E45ü]{0,8}|\\PC*") {
            let name = stored(&key);
            prop_assert!(!name.is_empty() && !name.starts_with('$') && !name.contains('.'));
            prop_assert_eq!(original(&name), Some(Cow::Borrowed(key.as_str())));
        }
    }
}
