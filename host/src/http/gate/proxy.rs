//! The client's address, scheme and host: from the connection, and from headers of trusted proxies.
//!
//! Only `Forwarded` (RFC 7239) or the `X-Forwarded-For`, `-Proto` and `-Host` of a trusted peer count. They are read
//! from the right, where the nearest proxy appends, to the first address that is not trusted: everything further left
//! was sent by that client, and may be forged.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::FORWARDED;
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

use super::host::host;
use crate::config::Proxies;

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";
const HOST: &str = "x-forwarded-host";
/// Headers in which proxies send the method of the request that they ask about.
const METHODS: [&str; 2] = ["x-forwarded-method", "x-original-method"];

/// The peer of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// `None` is a Unix socket.
    pub(crate) address: Option<IpAddr>,
    pub(crate) tls: bool,
}

/// The client that sent a request, directly or through proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client<'a> {
    /// `None` is a Unix socket.
    pub(crate) address: Option<IpAddr>,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// As sent by the client.
    pub(crate) host: &'a str,
    /// Whether the peer is a trusted proxy.
    pub(crate) is_proxied: bool,
}

/// An address as logs show it.
pub(crate) struct ClientAddress(pub(crate) Option<IpAddr>);

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("unix"),
        }
    }
}

/// Determines the client.
///
/// # Errors
/// One line for the client.
pub(crate) fn client<'a>(
    proxies: &Proxies,
    peer: Peer,
    parts: &'a Parts,
) -> Result<Client<'a>, &'static str> {
    let host = host(parts)?;
    let is_proxied = proxies.trusts(peer.address);
    let mut client =
        Client { address: peer.address, scheme: if peer.tls { "https" } else { "http" }, host, is_proxied };
    if !is_proxied {
        return Ok(client);
    }
    let headers = &parts.headers;
    let said =
        match (headers.contains_key(FORWARDED), [FOR, PROTO, HOST].map(|name| headers.contains_key(name))) {
            (false, [false, false, false]) => return Ok(client),
            (true, [false, false, false]) => forwarded(proxies, headers)?,
            (false, _) => x_forwarded(proxies, headers)?,
            // A proxy that sets only one of them passes on what a client wrote into the other.
            (true, _) => {
                return Err("both Forwarded and X-Forwarded-..., of which the proxy must take one away");
            }
        };
    client.address = said.address.or(client.address);
    client.scheme = said.scheme.unwrap_or(client.scheme);
    client.host = said.host.unwrap_or(client.host);
    Ok(client)
}

/// The method of the request that a proxy asks about, for forward-auth routes.
///
/// An unsafe method is believed from anybody, because it only leads to stricter checks. A safe one is believed only
/// from a trusted proxy, and only if the request's own method is safe, too.
pub(crate) fn method_asked_about<'a>(parts: &'a Parts, client: &Client<'_>) -> &'a str {
    let own = parts.method.as_str();
    let lines = METHODS.into_iter().flat_map(|name| parts.headers.get_all(name));
    // A value that is not text is not a safe method.
    let mut named = lines.map(|line| line.to_str().unwrap_or("?"));
    let first = named.next();
    if let Some(changing) = [own].into_iter().chain(first).chain(named).find(|method| !is_safe(method)) {
        return changing;
    }
    first.filter(|_| client.is_proxied).unwrap_or(own)
}

/// Whether the method is safe, so that it changes nothing (RFC 9110, section 9.2.1).
fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// Values reported by trusted proxies.
#[derive(Debug, Default)]
struct Said<'a> {
    address: Option<IpAddr>,
    scheme: Option<&'static str>,
    host: Option<&'a str>,
}

/// The client among the addresses in the proxies' headers, and the number of entries to its right, which trusted
/// proxies wrote. An entry that is not an address ends the search at the proxy that wrote it.
fn search(
    proxies: &Proxies,
    addresses: impl DoubleEndedIterator<Item = Option<IpAddr>>,
) -> (Option<IpAddr>, usize) {
    let mut found = None;
    let mut behind = 0;
    for (passed, address) in addresses.rev().enumerate() {
        behind = passed;
        if address.is_none() {
            break;
        }
        found = address;
        if !proxies.trusts(address) {
            break;
        }
    }
    (found, behind)
}

fn x_forwarded<'a>(proxies: &Proxies, headers: &'a HeaderMap) -> Result<Said<'a>, &'static str> {
    let addresses = list(headers, FOR)?;
    let (address, behind) = search(proxies, addresses.into_iter().map(address));
    // A proxy may append an entry each time, or replace the existing ones: with fewer entries, the leftmost one is
    // from the proxy nearest to the client.
    let nth = |name| -> Result<Option<&'a str>, &'static str> {
        let entries = list(headers, name)?;
        Ok(entries.iter().rev().nth(behind.min(entries.len().saturating_sub(1))).copied())
    };
    Ok(Said { address, scheme: nth(PROTO)?.and_then(scheme), host: nth(HOST)?.and_then(authority) })
}

fn list<'a>(headers: &'a HeaderMap, name: &str) -> Result<Vec<&'a str>, &'static str> {
    let mut entries = Vec::new();
    for line in headers.get_all(name) {
        let line = line.to_str().map_err(|_| "an X-Forwarded header that is not ASCII")?;
        entries.extend(line.split(',').map(str::trim));
    }
    Ok(entries)
}

fn forwarded<'a>(proxies: &Proxies, headers: &'a HeaderMap) -> Result<Said<'a>, &'static str> {
    const MALFORMED: &str = "a Forwarded header that is not well-formed";
    let mut elements = Vec::new();
    for line in headers.get_all(FORWARDED) {
        for element in split(line.to_str().map_err(|_| MALFORMED)?, b',').ok_or(MALFORMED)? {
            elements.push(Element::parse(element).ok_or(MALFORMED)?);
        }
    }
    let (address, behind) = search(proxies, elements.iter().map(|element| element.address.and_then(address)));
    let nearest = elements.iter().rev().nth(behind);
    Ok(Said {
        address,
        scheme: nearest.and_then(|element| element.scheme).and_then(scheme),
        host: nearest.and_then(|element| element.host).and_then(authority),
    })
}

/// The element of one proxy in Forwarded.
#[derive(Default)]
struct Element<'a> {
    address: Option<&'a str>,
    scheme: Option<&'a str>,
    host: Option<&'a str>,
}

impl<'a> Element<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut element = Self::default();
        for pair in split(text, b';')? {
            if pair.is_empty() {
                continue;
            }
            let (name, value) = pair.split_once('=')?;
            let value = match value.strip_prefix('"') {
                Some(quoted) => quoted.strip_suffix('"').filter(|value| !value.contains(['"', '\\']))?,
                None => value,
            };
            let place = match name.to_ascii_lowercase().as_str() {
                "for" => &mut element.address,
                "proto" => &mut element.scheme,
                "host" => &mut element.host,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        Some(element)
    }
}

/// Splits at separators outside quotes; `None` if a quote is not closed.
fn split(text: &str, separator: u8) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let (mut start, mut is_quoted) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        if byte == b'"' {
            is_quoted = !is_quoted;
        } else if byte == separator && !is_quoted {
            parts.push(text[start..at].trim());
            start = at + 1;
        }
    }
    parts.push(text[start..].trim());
    (!is_quoted).then_some(parts)
}

/// Parses an address with or without a port; an IPv6 address with a port is in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    let address = text
        .parse()
        .ok()
        .or_else(bracketed)
        .or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|known| text.eq_ignore_ascii_case(known))
}

fn authority(text: &str) -> Option<&str> {
    let authority = text.parse::<Authority>().ok()?;
    (!authority.as_str().contains('@')).then_some(text)
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    /// Trusted are 10.0.0.0/8, 2001:db8::/32 and, with `unix`, the socket.
    fn proxies() -> Proxies {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.ini");
        std::fs::write(&path, "[proxy]\ntrusted=list:10.0.0.0/8 2001:db8::/32 unix\n").unwrap();
        crate::config::Config::load_with(&path, Vec::new()).unwrap().proxies
    }

    fn told(
        peer: &str,
        headers: &[(&str, &str)],
    ) -> Result<(Option<IpAddr>, &'static str, String), &'static str> {
        let mut request = Request::builder().uri("/x").header("host", "inner:1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let peer = Peer { address: peer.parse().ok(), tls: false };
        let client = client(&proxies(), peer, &parts)?;
        Ok((client.address, client.scheme, client.host.to_owned()))
    }

    #[track_caller]
    fn check(peer: &str, headers: &[(&str, &str)], address: &str, scheme: &str, host: &str) {
        let (found, found_scheme, found_host) = told(peer, headers).unwrap();
        assert_eq!(
            (found, found_scheme, found_host.as_str()),
            (address.parse().ok(), scheme, host),
            "{headers:?}"
        );
    }

    #[test]
    fn nobody_else_is_believed() {
        let forged = [(FOR, "1.2.3.4"), (PROTO, "https"), (HOST, "a.test")];
        check("192.0.2.1", &forged, "192.0.2.1", "http", "inner:1");
        check(
            "192.0.2.1",
            &[("forwarded", "for=1.2.3.4;proto=https;host=a.test")],
            "192.0.2.1",
            "http",
            "inner:1",
        );
        check("192.0.2.1", &[("forwarded", "\""), (FOR, "1.2.3.4")], "192.0.2.1", "http", "inner:1");
    }

    #[test]
    fn from_the_right_to_the_first_that_is_not_trusted() {
        for (line, found) in [
            ("1.2.3.4", "1.2.3.4"),
            ("6.6.6.6, 1.2.3.4", "1.2.3.4"),
            ("10.9.9.9, 1.2.3.4", "1.2.3.4"),
            ("6.6.6.6, 1.2.3.4, 10.0.0.2, 10.0.0.3", "1.2.3.4"),
            ("10.0.0.2", "10.0.0.2"),
            ("::ffff:10.0.0.2", "10.0.0.2"),
            ("1.2.3.4:5678", "1.2.3.4"),
            ("[2001:db9::1]:5678", "2001:db9::1"),
            ("2001:db9::1", "2001:db9::1"),
            // An entry that is no address ends at the proxy that wrote it.
            ("1.2.3.4, what, 10.0.0.2", "10.0.0.2"),
            ("what", "10.0.0.1"),
            ("1.2.3.4,", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            check("10.0.0.1", &[(FOR, line)], found, "http", "inner:1");
        }
        check("10.0.0.1", &[(FOR, "6.6.6.6"), (FOR, "1.2.3.4, 10.0.0.2")], "1.2.3.4", "http", "inner:1");
        check("a unix socket", &[(FOR, "1.2.3.4")], "1.2.3.4", "http", "inner:1");
    }

    #[test]
    fn scheme_and_host_are_those_of_the_same_proxy() {
        let two = [(FOR, "1.2.3.4, 10.0.0.2"), (PROTO, "https, http"), (HOST, "a.test, b.test")];
        check("10.0.0.1", &two, "1.2.3.4", "https", "a.test");
        let forged = [(FOR, "6.6.6.6, 1.2.3.4"), (PROTO, "https, http"), (HOST, "a.test, b.test:8443")];
        check("10.0.0.1", &forged, "1.2.3.4", "http", "b.test:8443");
        let replaced = [(FOR, "1.2.3.4, 10.0.0.2"), (PROTO, "HTTPS"), (HOST, "a.test")];
        check("10.0.0.1", &replaced, "1.2.3.4", "https", "a.test");
        let alone = [(PROTO, "https")];
        check("10.0.0.1", &alone, "10.0.0.1", "https", "inner:1");
        let unusable = [(FOR, "1.2.3.4"), (PROTO, "gopher"), (HOST, "a b@c")];
        check("10.0.0.1", &unusable, "1.2.3.4", "http", "inner:1");
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_has_it() {
        for (line, address, scheme, host) in [
            ("for=1.2.3.4", "1.2.3.4", "http", "inner:1"),
            (
                "For=\"[2001:db9::1]:4711\";Proto=https;by=_x;host=\"a.test:8443\"",
                "2001:db9::1",
                "https",
                "a.test:8443",
            ),
            ("for=6.6.6.6;proto=https, for=1.2.3.4", "1.2.3.4", "http", "inner:1"),
            ("for=1.2.3.4;proto=https;host=a.test, for=10.0.0.2;proto=http", "1.2.3.4", "https", "a.test"),
            ("for=unknown;proto=https", "10.0.0.1", "https", "inner:1"),
            ("for=1.2.3.4, for=_hidden, for=10.0.0.2", "10.0.0.2", "http", "inner:1"),
            ("for=\"1.2.3.4, 5.6.7.8\"", "10.0.0.1", "http", "inner:1"),
        ] {
            check("10.0.0.1", &[("forwarded", line)], address, scheme, host);
        }
    }

    #[test]
    fn the_method_asked_about_is_the_one_that_may_change_most() {
        let asked = |own: &str, is_proxied: bool, named: &[(&str, &str)]| {
            let mut request = Request::builder().method(own).uri("/x");
            for (name, value) in named {
                request = request.header(*name, *value);
            }
            let parts = request.body(()).unwrap().into_parts().0;
            let client = Client { address: None, scheme: "http", host: "", is_proxied };
            method_asked_about(&parts, &client).to_owned()
        };
        let [forwarded, original] = METHODS;
        for is_proxied in [true, false] {
            assert_eq!(asked("GET", is_proxied, &[]), "GET");
            assert_eq!(asked("PUT", is_proxied, &[(forwarded, "GET")]), "PUT");
            for named in ["POST", "get", "GET, POST", "", "PROPFIND"] {
                assert_eq!(asked("GET", is_proxied, &[(forwarded, named)]), named);
                assert_eq!(asked("GET", is_proxied, &[(forwarded, "GET"), (original, named)]), named);
                assert_eq!(asked("GET", is_proxied, &[(forwarded, "GET"), (forwarded, named)]), named);
            }
        }
        // Only who is trusted says that somebody else's request is a preflight.
        assert_eq!(asked("GET", true, &[(forwarded, "OPTIONS")]), "OPTIONS");
        assert_eq!(asked("GET", false, &[(forwarded, "OPTIONS")]), "GET");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for headers in [
            &[("forwarded", "for=1.2.3.4"), (FOR, "1.2.3.4")][..],
            &[("forwarded", "for=1.2.3.4"), (PROTO, "https")],
            &[("forwarded", "for=\"6.6.6.6, for=1.2.3.4")],
            &[("forwarded", "for=1.2.3.4;for=5.6.7.8")],
            &[("forwarded", "1.2.3.4")],
            &[("forwarded", "for=\"a\\\"b\"")],
        ] {
            assert!(told("10.0.0.1", headers).is_err(), "{headers:?}");
        }
    }
}
