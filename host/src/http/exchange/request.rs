//! A request as a plugin sees it.

use std::sync::{Arc, OnceLock};

use abi_stable::RRef;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{ROption, RSlice, RStr};
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::http::request::Parts;
use plugin_api::abi::call::{CALL, CALL_VERSION, CALLED, CALLED_VERSION, RawCalled};
use plugin_api::abi::guess::{GUESS, GUESS_VERSION};
use plugin_api::abi::request::{
    RawAddress, RawHeaderRef, RawPrincipalRef, RawRequest, RawRequest_TO, RawRequestRef,
};
use plugin_api::extension::RawExtension;
use plugin_api::{Caller, Principal};
use tokio::time::Instant;

use crate::config::Cors;
use crate::http::control::snapshot::Mount;
use crate::http::gate::access::Access;
use crate::http::gate::cross_site::is_cross_site;
use crate::http::gate::proxy::Client;
use crate::http::gate::secrets::{Misses, Secret, Told};
use crate::http::message::lines::Lines;
use crate::http::message::request_id::RequestId;
use crate::plugin::Origin;

/// The headers of a request that the calls made for it carry: the client's sessions, and what tells a page of another
/// origin from one's own.
const CARRIED: &[&str] =
    &["cookie", "x-session-id", "origin", "sec-fetch-site", "user-agent", "traceparent", "tracestate"];

/// A request as a plugin sees it: hyper's parts, and what the host derived from them.
pub(crate) struct HostRequest<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) lines: Lines<'a>,
    /// The method that the plugin sees: `GET` for a HEAD if the route does not list HEAD.
    pub(crate) method: &'a str,
    pub(crate) route: u32,
    pub(crate) below_mount: &'a str,
    /// Without `apikey`.
    pub(crate) query: &'a str,
    /// Without `apikey`.
    pub(crate) body: Bytes,
    pub(crate) client: Client<'a>,
    /// The CORS rules: which other origins are treated as trusted.
    pub(crate) cors: Option<&'a Cors>,
    pub(crate) caller: Caller,
    /// The user whose session was admitted by a session guard.
    pub(crate) principal: Option<&'a Principal>,
    pub(crate) deadline: Instant,
    pub(crate) id: &'a RequestId,
    /// The guesses that the plugin reports; created on the first report.
    pub(crate) told: OnceLock<Arc<Told>>,
    /// The instance that answers, if it may make calls for the request.
    pub(crate) mount: Option<&'a Mount>,
    /// For a request of another instance: who it is, and what it may do.
    pub(crate) called: Option<&'a RawCalled>,
}

impl HostRequest<'_> {
    /// The invalid secrets that the plugin has reported so far. Session ids count only for callers without the
    /// instance's key: a caller with the key looks them up on behalf of others, and where no key is needed, anybody
    /// may.
    pub(crate) fn misses(&self) -> Misses {
        let Some(told) = self.told.get() else { return Misses::default() };
        let misses = told.misses();
        let misses = if self.caller == Caller::Unkeyed { misses } else { misses.without(Secret::SessionId) };
        // The same was decided for each of these by its own caller.
        misses.and(told.misses_of_calls())
    }

    /// What the instance's calls for this request carry of it.
    fn origin(&self, mount: &Mount) -> Origin {
        let mut headers = HeaderMap::new();
        for name in CARRIED {
            for value in self.parts.headers.get_all(*name) {
                headers.append(*name, value.clone());
            }
        }
        let keeper = match &mount.access {
            Access::Session(keeper) => Some(keeper.clone()),
            Access::Open | Access::OpenByDefault | Access::Keyed(_) => None,
        };
        Origin {
            address: self.client.address,
            scheme: self.client.scheme,
            host: self.client.host.to_owned(),
            is_proxied: self.client.is_proxied,
            headers,
            request_id: self.id.text().to_owned(),
            deadline: self.deadline,
            opened_by: self.principal.cloned().zip(keeper),
            told: Arc::clone(self.told.get_or_init(Arc::default)),
        }
    }

    /// The request in the form that crosses the boundary.
    pub(crate) fn raw(&self) -> RawRequestRef<'_> {
        RawRequest_TO::from_ptr(RRef::new(self), TD_Opaque)
    }
}

// None of these can panic: they look up values, and allocate a little for an extension.
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
            (CALLED, CALLED_VERSION) => self.called.cloned().map(RawExtension::new::<RawCalled>).into(),
            (CALL, CALL_VERSION) => {
                let mount = self.mount;
                mount.map(|mount| mount.instance.calls.extension(Some(self.origin(mount)))).into()
            }
            _ => ROption::RNone,
        }
    }
}
