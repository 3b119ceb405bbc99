//! A request as a plugin sees it.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};

use abi_stable::RRef;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{ROption, RSlice, RStr};
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::http::request::Parts;
use plugin_api::abi::guess::{GUESS, GUESS_VERSION};
use plugin_api::abi::request::{
    RawAddress, RawHeaderRef, RawPrincipalRef, RawRequest, RawRequest_TO, RawRequestRef,
};
use plugin_api::extension::RawExtension;
use plugin_api::{Caller, Principal};
use tokio::time::Instant;

use super::cors;
use super::lines::Lines;
use super::proxy::Client;
use super::secrets::{Misses, Secret, Told};
use crate::config::Cors;

/// A request as a plugin sees it: hyper's parts and what the host found out about them.
pub(crate) struct HostRequest<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) lines: Lines<'a>,
    /// The method that the plugin sees: `GET` for a HEAD that it does not list.
    pub(crate) method: &'a str,
    pub(crate) route: u32,
    pub(crate) below_mount: &'a str,
    /// Without `apikey`.
    pub(crate) query: &'a str,
    /// Without `apikey`.
    pub(crate) body: Bytes,
    pub(crate) client: Client<'a>,
    /// The pages of other origins that count as own ones.
    pub(crate) cors: Option<&'a Cors>,
    pub(crate) caller: Caller,
    /// The user that a session guard let in.
    pub(crate) principal: Option<&'a Principal>,
    pub(crate) deadline: Instant,
    pub(crate) id: &'a RequestId,
    /// What the plugin says of its secrets; made when it does.
    pub(crate) told: OnceLock<Arc<Told>>,
}

impl HostRequest<'_> {
    /// The secrets of the plugin's that were wrong, as it has said so far. Those of sessions are looked for by a caller with
    /// the key in behalf of others, and by one who needs none at will.
    pub(crate) fn misses(&self) -> Misses {
        let misses = self.told.get().map(|told| told.misses()).unwrap_or_default();
        if self.caller == Caller::Unkeyed { misses } else { misses.without(Secret::SessionId) }
    }

    /// As it crosses the boundary.
    pub(crate) fn raw(&self) -> RawRequestRef<'_> {
        RawRequest_TO::from_ptr(RRef::new(self), TD_Opaque)
    }
}

// None of these can panic: they look things up, and allocate a little for an extension.
impl RawRequest for HostRequest<'_> {
    fn route(&self) -> u32 {
        self.route
    }

    fn method(&self) -> RStr<'_> {
        self.method.into()
    }

    fn path(&self) -> RStr<'_> {
        self.parts.uri.path().into()
    }

    fn path_below_mount(&self) -> RStr<'_> {
        self.below_mount.into()
    }

    fn query(&self) -> RStr<'_> {
        self.query.into()
    }

    fn header(&self, name: RStr<'_>, nth: usize) -> ROption<RSlice<'_, u8>> {
        let value = self.lines.value(&self.parts.headers, name.as_str(), nth);
        value.map(|value| RSlice::from_slice(value.as_bytes())).into()
    }

    fn header_at(&self, index: usize) -> ROption<RawHeaderRef<'_>> {
        let header = self.lines.at(&self.parts.headers, index);
        header
            .map(|(name, value)| RawHeaderRef {
                name: name.as_str().into(),
                value: RSlice::from_slice(value.as_bytes()),
            })
            .into()
    }

    fn body(&self) -> RSlice<'_, u8> {
        RSlice::from_slice(&self.body)
    }

    fn client_address(&self) -> RawAddress {
        self.client.address.into()
    }

    fn scheme(&self) -> RStr<'_> {
        self.client.scheme.into()
    }

    fn host(&self) -> RStr<'_> {
        self.client.host.into()
    }

    fn request_id(&self) -> RStr<'_> {
        self.id.text().into()
    }

    fn time_left(&self) -> u64 {
        let left = self.deadline.saturating_duration_since(Instant::now());
        u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)
    }

    fn caller(&self) -> u8 {
        match self.caller {
            Caller::Open => 0,
            Caller::Keyed => 1,
            Caller::Unkeyed => 2,
        }
    }

    fn principal(&self) -> ROption<RawPrincipalRef<'_>> {
        let Some(Principal { user_id, handle }) = self.principal else { return ROption::RNone };
        ROption::RSome(RawPrincipalRef { user_id: user_id.as_str().into(), handle: handle.as_str().into() })
    }

    fn cross_site(&self) -> bool {
        is_cross_site(self.parts, &self.client, self.cors)
    }

    fn extension(&self, id: RStr<'_>, version: u32) -> ROption<RawExtension> {
        match (id.as_str(), version) {
            (GUESS, GUESS_VERSION) => {
                ROption::RSome(Arc::clone(self.told.get_or_init(Arc::default)).extension())
            }
            _ => ROption::RNone,
        }
    }
}

/// Whether a page of another origin, one that CORS does not allow, made the browser send this.
pub(crate) fn is_cross_site(parts: &Parts, client: &Client<'_>, cors: Option<&Cors>) -> bool {
    is_of_other_origin(parts, client.scheme, client.host) && !cors::trusts_page(cors, &parts.headers)
}

fn is_of_other_origin(parts: &Parts, scheme: &str, host: &str) -> bool {
    let mut sites = parts.headers.get_all("sec-fetch-site").iter().map(|value| value.as_bytes());
    match (sites.next(), sites.next()) {
        // The browser's word for what is compared below, where a proxy may have written another host. No page can write it.
        (Some(b"same-origin"), None) => return false,
        (None | Some(b"none"), None) => {}
        _ => return true,
    }
    let own = |origin: &[u8]| {
        let authority = origin.strip_prefix(scheme.as_bytes()).and_then(|rest| rest.strip_prefix(b"://"));
        authority.is_some_and(|authority| same_authority(scheme, authority, host.as_bytes()))
    };
    parts.headers.get_all(ORIGIN).iter().any(|origin| !own(origin.as_bytes()))
}

/// Browsers leave the default port away in Origin; some clients write it in Host.
fn same_authority(scheme: &str, one: &[u8], other: &[u8]) -> bool {
    let default: &[u8] = if scheme == "https" { b":443" } else { b":80" };
    let plain = |authority: &[u8]| authority.strip_suffix(default).unwrap_or(authority).to_ascii_lowercase();
    plain(one) == plain(other)
}

/// The host that a request names, or why it is none.
///
/// # Errors
/// One line for the client.
pub(crate) fn host(parts: &Parts) -> Result<&str, &'static str> {
    let mut lines = parts.headers.get_all(HOST).iter();
    let first = lines.next();
    // Two of them are how one request is smuggled past a proxy that looks at the other.
    if lines.next().is_some() {
        return Err("more than one Host header");
    }
    let named = match first {
        Some(value) => Some(value.to_str().map_err(|_| "a Host header that is not ASCII")?),
        None if parts.version == hyper::Version::HTTP_10 => None,
        // HTTP/2 names it as a part of the target.
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

/// Header that carries the name of a request, in both directions.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of a name that a client gave.
const MAX_REQUEST_ID: usize = 64;

/// Names a request in logs and in its answer.
#[derive(Debug, Clone)]
pub(crate) struct RequestId {
    text: [u8; MAX_REQUEST_ID],
    length: usize,
}

impl RequestId {
    /// The name that the client or a proxy gave, if there is one and it can do no harm where it is written; else a new
    /// one.
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

    /// Unlike any other, and says nothing about how many there were.
    fn new() -> Self {
        thread_local! {
            // A key of its own for each thread, and so other numbers.
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

    /// As it is written.
    pub(crate) fn text(&self) -> &str {
        // Harmless characters and digits are text.
        std::str::from_utf8(&self.text[..self.length]).unwrap_or("-")
    }

    /// As a header.
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
    use hyper::Request;

    use super::*;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn cross_site_by_what_the_browser_says() {
        let cross = |headers: &[(&str, &str)]| is_of_other_origin(&parts(headers), "http", "me.test:6123");
        assert!(!cross(&[]));
        assert!(!cross(&[("sec-fetch-site", "same-origin")]));
        assert!(!cross(&[("sec-fetch-site", "none")]));
        assert!(cross(&[("sec-fetch-site", "cross-site")]));
        assert!(cross(&[("sec-fetch-site", "same-site")]));
        assert!(cross(&[("sec-fetch-site", "anything-else")]));
        assert!(cross(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")]));
        assert!(cross(&[("sec-fetch-site", "none"), ("origin", "http://other.test")]));
        assert!(!cross(&[("sec-fetch-site", "same-origin"), ("origin", "http://as-the-browser-saw.it")]));
        assert!(!cross(&[("origin", "http://me.test:6123")]));
        assert!(!cross(&[("origin", "http://ME.test:6123")]));
        for origin in ["https://me.test:6123", "http://me.test", "http://other.test:6123", "null", ""] {
            assert!(cross(&[("origin", origin)]), "{origin}");
        }
        assert!(!is_of_other_origin(&parts(&[("origin", "http://me.test")]), "http", "me.test:80"));
        let secure = |origin| is_of_other_origin(&parts(&[("origin", origin)]), "https", "me.test:443");
        assert!(!secure("https://me.test") && secure("http://me.test") && secure("https://me.test:80"));
    }

    #[test]
    fn exactly_one_host() {
        assert_eq!(host(&parts(&[("host", "a:1")])), Ok("a:1"));
        assert!(host(&parts(&[])).is_err());
        assert!(host(&parts(&[("host", "a"), ("host", "a")])).is_err());
    }

    #[test]
    fn request_ids_differ_and_those_of_clients_are_taken_if_they_are_harmless() {
        let id = |values: &[&str]| {
            let headers: Vec<(&str, &str)> = values.iter().map(|value| ("x-request-id", *value)).collect();
            RequestId::of(&parts(&headers).headers).text().to_owned()
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
