//! Parses the query of a URL into pairs (`application/x-www-form-urlencoded`).

use percent_encoding::percent_decode;

use crate::problem::Problem;

/// The decoded pairs. An empty query has none.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (Result<String, Problem>, Result<String, Problem>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

fn decode(text: &str) -> Result<String, Problem> {
    let bytes = text.as_bytes();
    let is_escape =
        |at: usize| bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if (0..bytes.len()).any(|at| bytes[at] == b'%' && !is_escape(at)) {
        return Err(Problem::malformed("the query has a % that is not followed by two hexadecimal digits"));
    }
    let spaced: Vec<u8> = bytes.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    String::from_utf8(percent_decode(&spaced).collect())
        .map_err(|_| Problem::malformed("the query is not UTF-8 once its escapes are replaced"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Vec<(String, String)> {
        pairs(query).map(|(name, value)| (name.unwrap(), value.unwrap())).collect()
    }

    #[test]
    fn pairs_are_decoded() {
        assert_eq!(read(""), []);
        assert_eq!(read("user=a%20b+c&x"), [("user".into(), "a b c".into()), ("x".into(), String::new())]);
        assert_eq!(read("user=%C3%BC&&"), [("user".into(), "ü".into())]);
    }

    #[test]
    fn bad_escapes_are_refused() {
        for bad in ["a=%", "a=%2", "a=%zz", "a=%+1", "a=%ff"] {
            assert!(pairs(bad).any(|(_, value)| value.is_err()), "{bad}");
        }
    }
}
