//! The trace that a request belongs to (W3C Trace Context, level 1).

use hyper::HeaderMap;
use hyper::header::HeaderName;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The id of a trace: 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceId([u8; 32]);

impl TraceId {
    /// The trace that the headers name. An invalid `traceparent` is removed, together with the headers that depend on
    /// it: nothing downstream may log or pass on what the specification requires to be dropped.
    pub(crate) fn take(headers: &mut HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let id = match (values.next(), values.next()) {
            (Some(value), None) => parse(value.as_bytes()),
            (None, _) => return None,
            _ => None,
        };
        if id.is_none() {
            headers.remove(TRACEPARENT);
            headers.remove(TRACESTATE);
        }
        id
    }

    /// The id as text.
    pub(crate) fn text(&self) -> &str {
        // It consists of ASCII digits only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Parses `version-trace-parent-flags`; later versions may append more after another dash.
fn parse(value: &[u8]) -> Option<TraceId> {
    let (known, more) = value.split_at_checked(55)?;
    let [version, trace, parent, flags] = [&known[..2], &known[3..35], &known[36..52], &known[53..]];
    let dashes = [known[2], known[35], known[52]] == [b'-'; 3];
    let is_hexadecimal = |field: &[u8]| field.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let is_set = |field: &[u8]| field.iter().any(|c| *c != b'0');
    let end = match version {
        b"00" => more.is_empty(),
        _ => more.first().is_none_or(|next| *next == b'-'),
    };
    let valid = dashes
        && [version, trace, parent, flags].into_iter().all(is_hexadecimal)
        && version != b"ff"
        && is_set(trace)
        && is_set(parent)
        && end;
    if valid { Some(TraceId(trace.try_into().ok()?)) } else { None }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn taken(values: &[&str]) -> (Option<String>, usize) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        }
        headers.append(TRACESTATE, HeaderValue::from_static("a=1"));
        let id = TraceId::take(&mut headers);
        (id.map(|id| id.text().to_owned()), headers.len())
    }

    #[test]
    fn a_valid_one_stays_and_names_the_trace() {
        let id = "0af7651916cd43dd8448eb211c80319c".to_owned();
        assert_eq!(taken(&[GOOD]), (Some(id.clone()), 2));
        let later = GOOD.replacen("00", "cc", 1);
        assert_eq!(taken(&[&later]), (Some(id.clone()), 2));
        assert_eq!(taken(&[&format!("{later}-more")]), (Some(id), 2));
        assert_eq!(taken(&[]), (None, 1));
    }

    #[test]
    fn an_invalid_one_is_taken_out_with_its_state() {
        for value in [
            "",
            "x",
            &GOOD[..54],
            &format!("{GOOD}-more"),
            &format!("{GOOD} "),
            &format!("cc{}x", &GOOD[2..]),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.to_uppercase(),
            &GOOD.replace('-', "_"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
        ] {
            assert_eq!(taken(&[value]), (None, 0), "{value}");
        }
        assert_eq!(taken(&[GOOD, GOOD]), (None, 0));
    }
}
