//! The host that a request addresses, and whether that is this machine.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HOST};
use hyper::http::request::Parts;

/// The host that a request addresses.
///
/// # Errors
/// Why it is missing or invalid, in one line for the client.
pub(crate) fn host(parts: &Parts) -> Result<&str, &'static str> {
    let mut lines = parts.headers.get_all(HOST).iter();
    let first = lines.next();
    // With two of them, a request could be smuggled past a proxy that evaluates the other one.
    if lines.next().is_some() {
        return Err("more than one Host header");
    }
    let named = match first {
        Some(value) => Some(value.to_str().map_err(|_| "a Host header that is not ASCII")?),
        None if parts.version == hyper::Version::HTTP_10 => None,
        // HTTP/2 sends it as a part of the target.
        None if parts.version == hyper::Version::HTTP_2 && parts.uri.authority().is_some() => None,
        None => return Err("no Host header"),
    };
    match parts.uri.authority() {
        Some(authority)
            if parts.version == hyper::Version::HTTP_2
                && named.is_some_and(|named| named != authority.as_str()) =>
        {
            Err("a Host header that differs from :authority")
        }
        Some(authority) => Ok(authority.as_str()),
        None => Ok(named.unwrap_or_default().trim()),
    }
}

/// Whether a request comes from a user of this machine: its Host is a loopback name, and no proxy has forwarded it.
///
/// A web page whose own name resolves to 127.0.0.1 (DNS rebinding) sends that name as Host, and a local reverse proxy
/// would forward requests from anywhere. A proxy that sends a loopback Host and no header of its own cannot be told
/// from a user.
pub(crate) fn is_local(host: &str, headers: &HeaderMap) -> bool {
    let forwarded = headers.contains_key(FORWARDED)
        || headers.keys().any(|name| name.as_str().starts_with("x-forwarded-"));
    !forwarded && is_loopback_host(host)
}

fn is_loopback_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (address, port),
            None => return false,
        },
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port_is_well_formed = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => digits.parse::<u16>().is_ok(),
    };
    let address = name.parse::<IpAddr>();
    let is_bracketed = host.starts_with('[');
    port_is_well_formed
        && match address {
            Ok(address) => address.is_ipv6() == is_bracketed && address.is_loopback(),
            Err(_) => !is_bracketed && name.eq_ignore_ascii_case("localhost"),
        }
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
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
    fn exactly_one_host() {
        assert_eq!(host(&parts(&[("host", "a:1")])), Ok("a:1"));
        assert!(host(&parts(&[])).is_err());
        assert!(host(&parts(&[("host", "a"), ("host", "a")])).is_err());
    }

    #[test]
    fn hosts_of_this_machine() {
        for host in ["localhost", "LocalHost:6123", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:80"] {
            assert!(is_local(host, &HeaderMap::new()), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.nip.io",
            "::1",
            "[::1",
            "[::1]x",
            "localhost:x",
            "[127.0.0.1]",
            "[localhost]",
            "192.168.0.1",
            "0.0.0.0",
            "localhost:80:80",
            "127.1",
            "localhost.",
        ] {
            assert!(!is_local(host, &HeaderMap::new()), "{host}");
        }
    }

    #[test]
    fn what_a_proxy_had_is_not_local() {
        for name in ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-anything"] {
            assert!(!is_local("localhost", &headers(&[(name, "")])), "{name}");
        }
    }
}
