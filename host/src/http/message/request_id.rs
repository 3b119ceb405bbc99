//! The id of a request, in logs and in its answer.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// Header that carries the request id, in both directions.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Limit of characters of an id that a client sent.
const MAX_REQUEST_ID: usize = 64;

/// Identifies a request in logs and in its answer.
#[derive(Debug, Clone)]
pub(crate) struct RequestId {
    text: [u8; MAX_REQUEST_ID],
    length: usize,
}

impl RequestId {
    /// The id that the client or a proxy sent, if it is safe to write into logs and headers; otherwise a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(REQUEST_ID).iter();
        match (given.next(), given.next()) {
            (Some(given), None) if is_harmless(given.as_bytes()) => {
                let mut text = [0; MAX_REQUEST_ID];
                text[..given.len()].copy_from_slice(given.as_bytes());
                Self { text, length: given.len() }
            }
            _ => Self::new(),
        }
    }

    /// A unique id, which does not reveal the number of requests.
    fn new() -> Self {
        thread_local! {
            // Each thread has a hash key of its own, and so its own sequence.
            static NEXT: (RandomState, Cell<u64>) = (RandomState::new(), Cell::new(0));
        }
        let mut number = NEXT.with(|(key, next)| key.hash_one(next.replace(next.get().wrapping_add(1))));
        let (mut text, length) = ([0; MAX_REQUEST_ID], 16);
        for digit in text[..length].iter_mut().rev() {
            *digit = b"0123456789abcdef"[(number & 15) as usize];
            number >>= 4;
        }
        Self { text, length }
    }

    /// The id as text.
    pub(crate) fn text(&self) -> &str {
        // It consists of ASCII characters only.
        std::str::from_utf8(&self.text[..self.length]).unwrap_or("-")
    }

    /// The id as a header value.
    pub(crate) fn value(&self) -> HeaderValue {
        HeaderValue::from_str(self.text()).unwrap_or(HeaderValue::from_static("-"))
    }
}

fn is_harmless(id: &[u8]) -> bool {
    let is_plain = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    (1..=MAX_REQUEST_ID).contains(&id.len()) && id.iter().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_map(headers: &[(&'static str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    #[test]
    fn request_ids_differ_and_those_of_clients_are_taken_if_they_are_harmless() {
        let id = |values: &[&str]| {
            let headers: Vec<(&str, &str)> = values.iter().map(|value| ("x-request-id", *value)).collect();
            RequestId::of(&header_map(&headers)).text().to_owned()
        };
        let (one, two) = (id(&[]), id(&[]));
        assert!(one != two && one.len() == 16 && one.bytes().all(|c| c.is_ascii_hexdigit()), "{one} {two}");
        let long = "x".repeat(65);
        for harmless in ["a", "550e8400-e29b-41d4-a716-446655440000", "A_b.9", &long[1..]] {
            assert_eq!(id(&[harmless]), harmless);
        }
        for harmful in ["", "a b", "a\"b", "a=b", "\u{e9}", "a/b", "<a>", &long] {
            assert_eq!(id(&[harmful]).len(), 16, "{harmful}");
        }
        assert_eq!(id(&["a", "a"]).len(), 16);
    }
}
