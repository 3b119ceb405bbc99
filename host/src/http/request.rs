//! A request as a plugin sees it.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use abi_stable::RRef;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{ROption, RSlice, RStr};
use bytes::Bytes;
use hyper::header::{HOST, HeaderName, ORIGIN};
use hyper::http::request::Parts;
use plugin_api::abi::request::{
    RawAddress, RawHeaderRef, RawPrincipalRef, RawRequest, RawRequest_TO, RawRequestRef,
};
use plugin_api::extension::RawExtension;
use plugin_api::{Caller, Principal};
use tokio::time::Instant;

/// A request as a plugin sees it: hyper's parts and what the host found out about them.
pub(crate) struct HostRequest<'a> {
    pub(crate) parts: &'a Parts,
    /// The method that the plugin sees: `GET` for a HEAD that it does not list.
    pub(crate) method: &'a str,
    pub(crate) route: u32,
    pub(crate) below_mount: &'a str,
    /// Without `apikey`.
    pub(crate) query: &'a str,
    /// Without `apikey`.
    pub(crate) body: Bytes,
    pub(crate) client: IpAddr,
    pub(crate) host: &'a str,
    pub(crate) caller: Caller,
    /// The user that a session guard let in.
    pub(crate) principal: Option<&'a Principal>,
    pub(crate) deadline: Instant,
    /// Made when somebody asks for it.
    pub(crate) id: &'a RequestId,
}

impl HostRequest<'_> {
    /// As it crosses the boundary.
    pub(crate) fn raw(&self) -> RawRequestRef<'_> {
        RawRequest_TO::from_ptr(RRef::new(self), TD_Opaque)
    }
}

/// The scheme that clients use: there is no TLS here, and nothing that says so is believed.
const SCHEME: &str = "http";

// None of these can panic: they look things up and nothing else.
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
        let Ok(name) = HeaderName::from_bytes(name.as_str().as_bytes()) else { return ROption::RNone };
        let value = self.parts.headers.get_all(name).iter().nth(nth);
        value.map(|value| RSlice::from_slice(value.as_bytes())).into()
    }

    fn header_at(&self, index: usize) -> ROption<RawHeaderRef<'_>> {
        let header = self.parts.headers.iter().nth(index);
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
        Some(self.client).into()
    }

    fn scheme(&self) -> RStr<'_> {
        SCHEME.into()
    }

    fn host(&self) -> RStr<'_> {
        self.host.into()
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
        is_cross_site(self.parts, self.host)
    }

    fn extension(&self, _id: RStr<'_>, _version: u32) -> ROption<RawExtension> {
        ROption::RNone
    }
}

/// Whether a page of another origin made the browser send this.
pub(crate) fn is_cross_site(parts: &Parts, host: &str) -> bool {
    let site = parts.headers.get("sec-fetch-site").map(|value| value.as_bytes());
    if matches!(site, Some(b"cross-site" | b"same-site")) {
        return true;
    }
    let own = |origin: &[u8]| {
        let authority = origin.strip_prefix(SCHEME.as_bytes()).and_then(|rest| rest.strip_prefix(b"://"));
        authority.is_some_and(|authority| same_authority(authority, host.as_bytes()))
    };
    parts.headers.get_all(ORIGIN).iter().any(|origin| !own(origin.as_bytes()))
}

/// Browsers leave the default port away in Origin; some clients write it in Host.
fn same_authority(one: &[u8], other: &[u8]) -> bool {
    let plain = |authority: &[u8]| authority.strip_suffix(b":80").unwrap_or(authority).to_ascii_lowercase();
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
        None => return Err("no Host header"),
    };
    match parts.uri.authority() {
        Some(authority) => Ok(authority.as_str()),
        None => Ok(named.unwrap_or_default().trim()),
    }
}

/// Names a request in logs; made when it is first asked for.
#[derive(Debug, Default)]
pub(crate) struct RequestId(OnceLock<String>);

impl RequestId {
    /// The name: the process's own part and a number.
    pub(crate) fn text(&self) -> &str {
        static PROCESS: OnceLock<u32> = OnceLock::new();
        static NEXT: AtomicU64 = AtomicU64::new(1);
        self.0.get_or_init(|| {
            let process = PROCESS.get_or_init(|| {
                use std::hash::{BuildHasher, Hasher, RandomState};
                // Enough to tell two processes apart; nothing depends on it being secret.
                RandomState::new().build_hasher().finish() as u32
            });
            format!("{process:08x}-{:x}", NEXT.fetch_add(1, Ordering::Relaxed))
        })
    }
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
        let cross = |headers: &[(&str, &str)]| is_cross_site(&parts(headers), "me.test:6123");
        assert!(!cross(&[]));
        assert!(!cross(&[("sec-fetch-site", "same-origin")]));
        assert!(!cross(&[("sec-fetch-site", "none")]));
        assert!(cross(&[("sec-fetch-site", "cross-site")]));
        assert!(cross(&[("sec-fetch-site", "same-site")]));
        assert!(!cross(&[("origin", "http://me.test:6123")]));
        assert!(!cross(&[("origin", "http://ME.test:6123")]));
        for origin in ["https://me.test:6123", "http://me.test", "http://other.test:6123", "null", ""] {
            assert!(cross(&[("origin", origin)]), "{origin}");
        }
        assert!(!is_cross_site(&parts(&[("origin", "http://me.test")]), "me.test:80"));
    }

    #[test]
    fn exactly_one_host() {
        assert_eq!(host(&parts(&[("host", "a:1")])), Ok("a:1"));
        assert!(host(&parts(&[])).is_err());
        assert!(host(&parts(&[("host", "a"), ("host", "a")])).is_err());
    }

    #[test]
    fn request_ids_differ_and_stay() {
        let (one, two) = (RequestId::default(), RequestId::default());
        assert_eq!(one.text(), one.text());
        assert_ne!(one.text(), two.text());
    }
}
