//! A request that a test makes.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use abi_stable::RRef;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, ROption, RSlice, RStr};
use plugin_api::abi::call::{CALL, CALL_VERSION, CALLED, CALLED_VERSION, RawCalled};
use plugin_api::abi::guess::{
    ADMIN_KEY, GUESS, GUESS_VERSION, RawGuess, RawGuess_TO, RawGuessBox, SESSION_ID,
};
use plugin_api::abi::request::{
    RawAddress, RawHeaderRef, RawPrincipalRef, RawRequest, RawRequest_TO, RawRequestRef,
};
use plugin_api::extension::RawExtension;
use plugin_api::{Called, Caller, Grant, Principal, Secret};
use serde_json::Value;

use crate::calls::Calls;

/// A request, and what the host would have found out about it. Without more, it comes from `127.0.0.1` to
/// `http://localhost`, to an instance that has no key.
#[derive(Debug, Clone)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) caller: Caller,
    pub(crate) principal: Option<Principal>,
    pub(crate) called: Option<Called>,
    pub(crate) time_left: Duration,
    client_address: Option<IpAddr>,
    scheme: String,
    host: String,
    id: String,
    is_cross_site: bool,
}

impl Request {
    /// A request for the whole raw path, percent-encoded, such as `/greeter/count?since=1`.
    ///
    /// # Panics
    /// The path does not begin with `/`.
    pub fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        assert!(path.starts_with('/'), "a path begins with `/`, the mount's: {target}");
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            caller: Caller::Open,
            principal: None,
            called: None,
            time_left: Duration::from_secs(30),
            client_address: Some(Ipv4Addr::LOCALHOST.into()),
            scheme: "http".to_owned(),
            host: "localhost".to_owned(),
            id: "test".to_owned(),
            is_cross_site: false,
        }
    }

    /// A GET.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A POST.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    /// Adds a header line; the name in any case.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_lowercase(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Sets the body to JSON, and adds `content-type: application/json`.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// Whether the caller brought the instance's key. Keys themselves never reach a plugin, so none is sent.
    #[must_use]
    pub fn caller(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }

    /// The user whose live session a guard has admitted (`auth_type=session`), and the session's public name.
    #[must_use]
    pub fn principal(self, user_id: &str, handle: &str) -> Self {
        let principal = Principal { user_id: user_id.to_owned(), handle: handle.to_owned() };
        Self { principal: Some(principal), ..self }
    }

    /// Makes it a call of another instance. That counts as one with the key from [`Grant::Service`] on, and as one without
    /// below. The host lets no call through to a route whose class needs a higher grant; that is not checked here.
    #[must_use]
    pub fn called_by(self, called: Called) -> Self {
        let caller = if called.grant >= Grant::Service { Caller::Keyed } else { Caller::Unkeyed };
        Self { called: Some(called), caller, ..self }
    }

    /// The client's address; `None` on a Unix socket.
    #[must_use]
    pub fn client_address(self, address: Option<IpAddr>) -> Self {
        Self { client_address: address, ..self }
    }

    /// `http` or `https`, as used by the client.
    #[must_use]
    pub fn scheme(self, scheme: &str) -> Self {
        Self { scheme: scheme.to_owned(), ..self }
    }

    /// Host and port as sent by the client.
    #[must_use]
    pub fn host(self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self }
    }

    /// The request's id in logs.
    #[must_use]
    pub fn request_id(self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self }
    }

    /// How long the plugin has for its answer, a streamed body included; 30 s without it.
    #[must_use]
    pub fn time_left(self, time_left: Duration) -> Self {
        Self { time_left, ..self }
    }

    /// Makes it a cross-site request: sent by a browser for a page of another origin.
    #[must_use]
    pub fn cross_site(self) -> Self {
        Self { is_cross_site: true, ..self }
    }
}

/// A request on its way to a plugin.
pub(crate) struct TestRequest<'a> {
    pub(crate) request: &'a Request,
    /// Index into the plugin's routes.
    pub(crate) route: u32,
    /// As the plugin sees it.
    pub(crate) method: &'a str,
    pub(crate) below_mount: &'a str,
    pub(crate) query: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) deadline: Instant,
    pub(crate) wrong: Arc<Mutex<Vec<Secret>>>,
    pub(crate) calls: Arc<Calls>,
}

/// The extensions of a request, by name and version.
fn extension(request: &TestRequest<'_>, id: &str, version: u32) -> Option<RawExtension> {
    match (id, version) {
        (GUESS, GUESS_VERSION) => Some(guess(request)),
        (CALL, CALL_VERSION) => {
            let has_session = request.request.principal.is_some();
            Some(Arc::clone(&request.calls).extension(has_session))
        }
        (CALLED, CALLED_VERSION) => request.request.called.as_ref().map(called),
        _ => None,
    }
}

fn called(Called { instance, grant, session }: &Called) -> RawExtension {
    let session = session.as_deref().unwrap_or_default();
    RawExtension::new(RawCalled {
        instance: instance.as_str().into(),
        grant: *grant as u8,
        session: session.into(),
    })
}

fn guess(request: &TestRequest<'_>) -> RawExtension {
    let guess = Guess(Arc::clone(&request.wrong));
    RawExtension::new::<RawGuessBox>(RawGuess_TO::from_ptr(RBox::new(guess), TD_Opaque))
}

/// Keeps the wrong secrets that a plugin reports.
struct Guess(Arc<Mutex<Vec<Secret>>>);

impl RawGuess for Guess {
    fn wrong(&self, kind: u8) {
        let secret = match kind {
            ADMIN_KEY => Secret::AdminKey,
            SESSION_ID => Secret::SessionId,
            _ => return,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(secret);
    }
}

impl<'a> TestRequest<'a> {
    /// Without a route: the request is shown to `authenticate`.
    pub(crate) fn new(request: &'a Request, calls: &Arc<Calls>) -> Self {
        Self {
            request,
            route: u32::MAX,
            method: &request.method,
            below_mount: "",
            query: "",
            body: &[],
            deadline: Instant::now() + request.time_left,
            wrong: Arc::default(),
            calls: Arc::clone(calls),
        }
    }

    /// The wrong secrets that were reported so far.
    pub(crate) fn wrong_secrets(&self) -> Vec<Secret> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The request in the form that crosses the boundary.
    pub(crate) fn raw(&self) -> RawRequestRef<'_> {
        RawRequest_TO::from_ptr(RRef::new(self), TD_Opaque)
    }
}

// None of these can panic: a panic would unwind through the plugin's frames.
impl RawRequest for TestRequest<'_> {
    fn route(&self) -> u32 {
        self.route
    }

    fn method(&self) -> RStr<'_> {
        self.method.into()
    }

    fn path(&self) -> RStr<'_> {
        self.request.path.as_str().into()
    }

    fn path_below_mount(&self) -> RStr<'_> {
        self.below_mount.into()
    }

    fn query(&self) -> RStr<'_> {
        self.query.into()
    }

    fn header(&self, name: RStr<'_>, nth: usize) -> ROption<RSlice<'_, u8>> {
        let mut values = self.request.headers.iter().filter(|(other, _)| other == name.as_str());
        values.nth(nth).map(|(_, value)| RSlice::from_slice(value)).into()
    }

    fn header_at(&self, index: usize) -> ROption<RawHeaderRef<'_>> {
        let header = self.request.headers.get(index);
        header
            .map(|(name, value)| RawHeaderRef {
                name: name.as_str().into(),
                value: RSlice::from_slice(value),
            })
            .into()
    }

    fn body(&self) -> RSlice<'_, u8> {
        RSlice::from_slice(self.body)
    }

    fn client_address(&self) -> RawAddress {
        self.request.client_address.into()
    }

    fn scheme(&self) -> RStr<'_> {
        self.request.scheme.as_str().into()
    }

    fn host(&self) -> RStr<'_> {
        self.request.host.as_str().into()
    }

    fn request_id(&self) -> RStr<'_> {
        self.request.id.as_str().into()
    }

    fn time_left(&self) -> u64 {
        let left = self.deadline.saturating_duration_since(Instant::now());
        u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)
    }

    fn caller(&self) -> u8 {
        match self.request.caller {
            Caller::Open => 0,
            Caller::Keyed => 1,
            Caller::Unkeyed => 2,
        }
    }

    fn principal(&self) -> ROption<RawPrincipalRef<'_>> {
        let Some(Principal { user_id, handle }) = &self.request.principal else { return ROption::RNone };
        ROption::RSome(RawPrincipalRef { user_id: user_id.as_str().into(), handle: handle.as_str().into() })
    }

    fn cross_site(&self) -> bool {
        self.request.is_cross_site
    }

    fn extension(&self, id: RStr<'_>, version: u32) -> ROption<RawExtension> {
        extension(self, id.as_str(), version).into()
    }
}
