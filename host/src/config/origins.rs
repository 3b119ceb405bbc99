//! `[cors]`: the other origins whose pages may use the routes from a browser.

use std::net::Ipv6Addr;
use std::time::Duration;

use hyper::Uri;

/// The settings of `[cors]`, if it is enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// The allowed origins.
    pub origins: Origins,
    /// How long a browser may cache the answer to a preflight.
    pub max_age: Duration,
}

/// Origins whose pages may read answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Every page, but never with the browser's cookies.
    Any,
    /// The pages of these origins, in the form that browsers send, with the browser's cookies.
    Exact(Vec<String>),
}

impl Origins {
    /// Parses `origin_url`.
    ///
    /// # Errors
    /// What is expected.
    pub(super) fn parse(written: &[String]) -> Result<Self, String> {
        match written {
            [] => Err("expected an origin, several after `list:`, or `*`".to_owned()),
            [any] if any.trim() == "*" => Ok(Self::Any),
            several => several.iter().map(|text| origin(text)).collect::<Result<_, _>>().map(Self::Exact),
        }
    }
}

/// An origin as browsers send it: lower case, without the default port.
fn origin(text: &str) -> Result<String, String> {
    const EXPECTED: &str =
        "expected origins such as `https://app.example.org` or `http://localhost:8080`, without a path";
    let uri: Uri = match text.trim() {
        "*" => return Err("`*` stands alone: it is every origin".to_owned()),
        "null" => {
            return Err("`null` is the origin of any sandboxed page, so it cannot be allowed".to_owned());
        }
        text => text.parse().map_err(|_| EXPECTED.to_owned())?,
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(EXPECTED.to_owned());
    };
    let is_bare = uri.path_and_query().is_none_or(|path| path == "/") && !text.trim().ends_with('/');
    if !is_bare || authority.as_str().contains('@') || !matches!(scheme, "http" | "https") {
        return Err(EXPECTED.to_owned());
    }
    let host = authority.host();
    if !is_host(host) {
        return Err(format!("{EXPECTED}; each host is written out"));
    }
    let default = if scheme == "http" { 80 } else { 443 };
    let port = port(&authority.as_str()[host.len()..]).ok_or_else(|| EXPECTED.to_owned())?;
    let host = host.to_ascii_lowercase();
    Ok(match port.filter(|port| *port != default) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        // No `*`: it would be accepted, but never match an origin.
        None => host.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_')),
    }
}

/// Parses the text behind a host: a port, nothing, or an error. `Uri` ignores a malformed port, which would yield
/// another origin.
fn port(text: &str) -> Option<Option<u16>> {
    if text.is_empty() {
        return Some(None);
    }
    let digits = text.strip_prefix(':').filter(|digits| digits.bytes().all(|c| c.is_ascii_digit()))?;
    digits.parse().ok().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(written: &[&str]) -> Result<Origins, String> {
        Origins::parse(&written.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn origins_are_kept_as_browsers_write_them() {
        let exact = |origins: &[&str]| Ok(Origins::Exact(origins.iter().map(ToString::to_string).collect()));
        assert_eq!(parse(&["*"]), Ok(Origins::Any));
        assert_eq!(parse(&["https://App.example.org:443"]), exact(&["https://app.example.org"]));
        assert_eq!(
            parse(&["http://localhost:8080", "http://[::1]:80", "https://a:80"]),
            exact(&["http://localhost:8080", "http://[::1]", "https://a:80"])
        );
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for written in [
            "null",
            "",
            "app.example.org",
            "https://",
            "https://a/",
            "https://a/path",
            "https://a?q",
            "https://u:p@a",
            "ftp://a",
            "https://*.example.org",
            "https://a.test,b.test",
            "https://app.test:",
            "https://app.test:84430",
            "https://app.test:80x",
            "https://app.test:+80",
            "https://[zz]",
        ] {
            assert!(parse(&[written]).is_err(), "{written}");
        }
        assert!(parse(&[]).is_err());
        assert!(parse(&["https://a", "*"]).unwrap_err().contains("alone"));
    }
}
