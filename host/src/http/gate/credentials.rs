//! API keys in all the forms in which a request may carry them.

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::secrets::{Misses, Secret};
use crate::config::ApiKeys;

/// The result of checking a request's API keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyCheck {
    /// No key.
    Absent,
    /// Keys, but no valid one.
    Wrong,
    /// A valid key, whatever else was presented.
    Valid,
}

impl KeyCheck {
    /// What to count for a request that needed a key.
    pub(crate) fn misses(self) -> Misses {
        match self {
            Self::Absent => Misses::without_key(),
            Self::Wrong => Misses::one(Secret::ApiKey),
            Self::Valid => Misses::default(),
        }
    }

    /// Combines the results of two places of a request.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Valid, _) | (_, Self::Valid) => Self::Valid,
            (Self::Absent, Self::Absent) => Self::Absent,
            _ => Self::Wrong,
        }
    }
}

/// Checks the keys of one place. More than one key is invalid: a request can guess once in each of a few places, not
/// as often as keys fit into it.
pub(crate) fn presented<'a>(keys: &ApiKeys, candidates: impl IntoIterator<Item = &'a [u8]>) -> KeyCheck {
    let mut candidates = candidates.into_iter().filter(|candidate| !candidate.is_empty());
    match (candidates.next(), candidates.next()) {
        (None, _) => KeyCheck::Absent,
        (Some(candidate), None) if keys.accept(candidate) => KeyCheck::Valid,
        _ => KeyCheck::Wrong,
    }
}

/// Checks the key in the headers.
///
/// With `custom_only` nothing but X-Custom-Auth counts: on a forward-auth route, Authorization belongs to the request
/// that is asked about.
pub(crate) fn header_key(keys: &ApiKeys, headers: &HeaderMap, custom_only: bool) -> KeyCheck {
    let values = headers.get_all("x-custom-auth").iter();
    let custom = presented(keys, values.map(|value| value.as_bytes().trim_ascii()));
    if custom_only || custom == KeyCheck::Valid {
        return custom;
    }
    let values = headers.get_all(AUTHORIZATION).iter();
    custom.or(presented(keys, values.filter_map(|value| bearer_token(value.as_bytes()))))
}

fn bearer_token(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(6)?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer") && token.first()?.is_ascii_whitespace();
    is_bearer.then(|| token.trim_ascii())
}

/// A query without its `apikey` parameters, and their values.
pub(crate) struct Query {
    /// What the plugin sees.
    pub(crate) rest: String,
    /// The removed values, decoded.
    pub(crate) keys: Vec<Vec<u8>>,
}

/// Removes `apikey` from a query; `None` if it is not there.
pub(crate) fn take_query_key(query: &str) -> Option<Query> {
    // `%` could encode the name.
    if memchr::memmem::find(query.as_bytes(), b"apikey").is_none() && !query.contains('%') {
        return None;
    }
    let mut keys = Vec::new();
    let mut rest = String::with_capacity(query.len());
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if percent_decode_str(name).eq(b"apikey".iter().copied()) {
            keys.push(percent_decode_str(&value.replace('+', " ")).collect());
        } else {
            if !rest.is_empty() {
                rest.push('&');
            }
            rest.push_str(pair);
        }
    }
    (!keys.is_empty()).then_some(Query { rest, keys })
}

/// A body without its `apikey` members, and their values.
pub(crate) struct Body {
    /// What the plugin sees.
    pub(crate) rest: Bytes,
    /// The removed strings; a value of another type is removed too, but is not a key.
    pub(crate) keys: Vec<String>,
}

/// Removes `apikey` from a JSON object; `None` if it is not there or if this is not a JSON object.
///
/// The other members are copied as text, so that they stay exactly as they are, numbers included.
pub(crate) fn take_body_key(body: &[u8]) -> Option<Body> {
    let has = |needle: &[u8]| memchr::memmem::find(body, needle).is_some();
    // A name may contain escapes, `\u0061pikey`.
    if !has(b"apikey") && !has(b"\\u00") {
        return None;
    }
    // A byte order mark, as some editors and libraries write it, is not JSON (RFC 8259), but may be ignored.
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let members = serde_json::from_slice::<Members<'_>>(text).ok()?.0;
    let mut keys = Vec::new();
    let mut rest = Vec::with_capacity(body.len());
    let mut found = false;
    for (name, value) in members {
        if name == "apikey" {
            found = true;
            keys.extend(serde_json::from_str::<String>(value.get()));
            continue;
        }
        rest.push(if rest.is_empty() { b'{' } else { b',' });
        serde_json::to_writer(&mut rest, &name).ok()?;
        rest.push(b':');
        rest.extend_from_slice(value.get().as_bytes());
    }
    if rest.is_empty() {
        rest.push(b'{');
    }
    rest.push(b'}');
    found.then(|| Body { rest: rest.into(), keys })
}

/// The members of an object in order, including duplicates.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = entries.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::config::ApiKey;

    fn keys(keys: &[&str]) -> ApiKeys {
        ApiKeys(keys.iter().map(|key| ApiKey::new(key)).collect())
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn keys_in_headers() {
        use KeyCheck::{Absent, Valid, Wrong};
        let keys = keys(&["k1", "k2"]);
        let check = |pairs: &[(&'static str, &'static str)], expected| {
            assert_eq!(header_key(&keys, &headers(pairs), false), expected, "{pairs:?}");
        };
        check(&[], Absent);
        for value in ["Bearer k1", "bearer  k2 "] {
            check(&[("authorization", value)], Valid);
        }
        for value in ["Bearer k", "Bearer k1,k2", "Bearer k1 k2"] {
            check(&[("authorization", value)], Wrong);
        }
        for value in ["k1", "Bearerk1", "Basic k1", "Bearer", "Bearer "] {
            check(&[("authorization", value)], Absent);
        }
        check(&[("x-custom-auth", "k1")], Valid);
        check(&[("x-custom-auth", " k2")], Valid);
        check(&[("x-custom-auth", "k1 k2")], Wrong);
        check(&[("x-custom-auth", "")], Absent);
        check(&[("x-api-key", "k1")], Absent);
        check(&[("authorization", "Bearer no"), ("x-custom-auth", "k1")], Valid);
        check(&[("authorization", "Bearer k1"), ("x-custom-auth", "no")], Valid);
        check(&[("authorization", "Bearer no"), ("x-custom-auth", "no")], Wrong);
    }

    #[test]
    fn one_request_is_one_guess_in_each_place() {
        let keys = keys(&["k1"]);
        let two = [("x-custom-auth", "no"), ("x-custom-auth", "k1")];
        assert_eq!(header_key(&keys, &headers(&two), false), KeyCheck::Wrong);
        let two = [("authorization", "Bearer k1"), ("authorization", "Bearer no")];
        assert_eq!(header_key(&keys, &headers(&two), false), KeyCheck::Wrong);
        let body = take_body_key(br#"{"apikey":"no","apikey":"k1"}"#).unwrap();
        assert_eq!(presented(&keys, body.keys.iter().map(String::as_bytes)), KeyCheck::Wrong);
        let query = take_query_key("apikey=no&apikey=k1").unwrap();
        assert_eq!(presented(&keys, query.keys.iter().map(Vec::as_slice)), KeyCheck::Wrong);
    }

    #[test]
    fn only_the_custom_header_counts_on_a_forward_auth_route() {
        let keys = keys(&["k"]);
        let check = |pair| header_key(&keys, &headers(&[pair]), true);
        assert_eq!(check(("authorization", "Bearer k")), KeyCheck::Absent);
        assert_eq!(check(("x-custom-auth", "k")), KeyCheck::Valid);
    }

    #[test]
    fn the_key_is_taken_out_of_the_query() {
        let found = take_query_key("a=1&apikey=x%2By+z&b=%26&apikey=2&c").unwrap();
        assert_eq!(found.rest, "a=1&b=%26&c");
        assert_eq!(found.keys, [b"x+y z".to_vec(), b"2".to_vec()]);
        assert_eq!(take_query_key("%61pikey=k").unwrap().keys, [b"k".to_vec()]);
        assert_eq!(take_query_key("apikey").unwrap().rest, "");
        assert!(take_query_key("a=apikey&b=%61&apikeys=1").is_none());
        assert!(take_query_key("").is_none());
    }

    #[test]
    fn the_key_is_taken_out_of_the_body_and_the_rest_stays() {
        let body =
            br#" {"n": 1.50e400, "apikey" : "k\u0031", "d": {"apikey": 1}, "d": [ 18446744073709551616 ]} "#;
        let found = take_body_key(body).unwrap();
        assert_eq!(found.rest, r#"{"n":1.50e400,"d":{"apikey": 1},"d":[ 18446744073709551616 ]}"#);
        assert_eq!(found.keys, ["k1"]);
    }

    #[test]
    fn an_escaped_name_is_the_same_name() {
        let found = take_body_key(br#"{"\u0061pikey": "k"}"#).unwrap();
        assert_eq!((found.rest.as_ref(), found.keys), (b"{}".as_ref(), vec!["k".to_owned()]));
    }

    #[test]
    fn a_key_that_is_no_text_is_taken_out_and_is_no_key() {
        let found = take_body_key(br#"{"apikey": 5, "a": 1}"#).unwrap();
        assert_eq!(found.rest, r#"{"a":1}"#);
        assert!(found.keys.is_empty());
    }

    #[test]
    fn other_bodies_are_left_alone() {
        for body in
            ["", "[\"apikey\"]", "{\"apikey\": \"k\"", "apikey=k", "{\"a\": \"apikey\"}", "{} {\"apikey\":1}"]
        {
            assert!(take_body_key(body.as_bytes()).is_none(), "{body}");
        }
        let deep = format!("{{\"a\":{}, \"apikey\":1}}", "[".repeat(100_000));
        assert!(take_body_key(deep.as_bytes()).is_none());
    }
}
