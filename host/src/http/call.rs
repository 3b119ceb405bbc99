//! A request on its way to an instance: who may come in, and what the plugin makes of it.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hyper::body::Body;
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Version};
use plugin_api::abi::plugin::CAPABILITY_AUTHENTICATE;
use plugin_api::abi::response::RawResponse;
use plugin_api::{Caller, Class, Principal};
use tokio::time::Instant;

use super::access::{self, Access, Presented};
use super::app::busy;
use super::body::{BodyError, Reading};
use super::cors;
use super::http2;
use super::in_time::in_time;
use super::lines::Lines;
use super::load::{Load, Share};
use super::proxy::{self, Client};
use super::request::{self, HostRequest, RequestId};
use super::response::{self, AnswerBody, problem, problem_with};
use super::secrets::{Misses, Secret};
use super::snapshot::{Mount, Snapshot, Target};
use super::untaken::{STREAM_BYTES, Untaken};
use crate::budget::Budget;
use crate::config::Limits;
use crate::plugin::{Authentication, Entered, Instance, Route, State};

/// What is known about a request before anybody is asked.
pub(crate) struct Received<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) client: Client<'a>,
    pub(crate) id: &'a RequestId,
    pub(crate) deadline: Instant,
    pub(crate) load: &'a Load,
    pub(crate) budget: &'a Arc<Budget>,
}

/// A request's body: read once, however often the request is tried.
pub(crate) struct Incoming<'b, B> {
    body: &'b mut B,
    read: Option<Bytes>,
    reading: Reading<'b>,
    is_headers_drawn: bool,
}

impl<'b, B: Body<Data = Bytes> + Unpin> Incoming<'b, B> {
    /// Nothing of `body` has been read.
    pub(crate) fn new(body: &'b mut B, limits: &Limits, received: &Received<'b>) -> Self {
        let reading = Reading::new(limits.max_body, received.budget, received.client.address);
        Self { body, read: None, reading, is_headers_drawn: false }
    }

    /// Draws memory for headers that wait for their body. Those of HTTP/1.1 are its connection's.
    fn draw_headers(&mut self, parts: &Parts) -> Result<(), BodyError> {
        if parts.version != Version::HTTP_2 || self.is_headers_drawn {
            return Ok(());
        }
        self.is_headers_drawn = true;
        self.reading.draw(STREAM_BYTES + 2 * http2::header_bytes(&parts.headers, &parts.uri))
    }

    async fn read(&mut self, deadline: Instant) -> Result<Bytes, BodyError> {
        if let Some(bytes) = &self.read {
            return Ok(bytes.clone());
        }
        let bytes = self.reading.read(self.body, deadline).await?;
        self.reading.draw_for_work(bytes.len())?;
        self.read = Some(bytes.clone());
        Ok(bytes)
    }
}

/// Something else than the plugin's answer.
pub(crate) enum Step {
    /// The host's answer. Boxed, because the way on is the usual one.
    Refused(Box<Response<AnswerBody>>),
    /// This instance is being replaced, and the request has not reached it.
    Moved(Arc<Instance>),
}

impl Step {
    fn refuse(response: Response<AnswerBody>) -> Self {
        Self::Refused(Box::new(response))
    }
}

/// What is known of a request before its body is there.
struct Head<'a> {
    /// The method that the plugin sees.
    method: &'a str,
    /// Without `apikey`.
    query: Cow<'a, str>,
    /// The keys of headers and query.
    presented: Presented,
}

/// A request on its way to an instance.
pub(crate) struct Call<'a> {
    snapshot: &'a Snapshot,
    mount: &'a Mount,
    route: &'a Route,
    index: u32,
    received: &'a Received<'a>,
}

impl<'a> Call<'a> {
    /// The way to `target`, which is one of `snapshot`.
    pub(crate) fn new(snapshot: &'a Snapshot, target: Target, received: &'a Received<'a>) -> Option<Self> {
        let (mount, route) = snapshot.target(target)?;
        Some(Self { snapshot, mount, route, index: target.route(), received })
    }

    /// The plugin's answer.
    pub(crate) async fn answer<B>(&self, incoming: &mut Incoming<'_, B>) -> Result<Response<AnswerBody>, Step>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let Received { parts, deadline, load, .. } = *self.received;
        let Head { method, query, mut presented } = self.head()?;
        let mut body = self.body(incoming, presented).await?;
        let _place = self.place(load)?;
        if parts.method != Method::PATCH
            && let Some(taken) = access::take_body_key(&body)
        {
            body = taken.rest;
            presented = presented.or(self.key_of_caller(taken.keys.iter().map(String::as_bytes)));
        }
        let caller = self.caller(presented)?;
        let principal = match &self.mount.access {
            // Boxed, because it has room for a second request to a plugin, which few need.
            Access::Session(keeper) => Some(Box::pin(self.principal(keeper)).await?),
            Access::Open | Access::OpenByDefault | Access::Keyed(_) => None,
        };
        let principal = principal.as_ref();
        let request = HostRequest { principal, body, ..self.request(method, &query, caller) };
        let instance = &self.mount.instance;
        let entered = enter(instance)?;
        let answer = in_time(deadline, pin!(instance.handle(&entered, request.raw()))).await;
        self.answered(answer, presented, request.misses())
    }

    /// The body, for whom it may be as large as it is.
    async fn body<B>(&self, incoming: &mut Incoming<'_, B>, presented: Presented) -> Result<Bytes, Step>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let Received { parts, deadline, .. } = *self.received;
        match self.mount.access {
            Access::Keyed(_) if presented == Presented::Valid => {
                incoming.reading.allow_all(true);
            }
            Access::Open | Access::OpenByDefault => incoming.reading.allow_all(false),
            Access::Keyed(_) | Access::Session(_) => {}
        }
        let refuse = |error: BodyError| Step::refuse(error.response());
        incoming.draw_headers(parts).map_err(refuse)?;
        if self.route.ignores_bodies() {
            return Ok(Bytes::new());
        }
        match incoming.read(deadline).await {
            Err(BodyError::OfStranger) => Box::pin(self.show_session(presented)).await?,
            read => return read.map_err(refuse),
        }
        incoming.reading.allow_all(false);
        incoming.read(deadline).await.map_err(refuse)
    }

    /// Of whoever has no key, a live session lets a larger body in.
    async fn show_session(&self, presented: Presented) -> Result<(), Step> {
        let _place = self.place(self.received.load)?;
        let keeper = match &self.mount.access {
            Access::Session(keeper) => keeper,
            _ if self.mount.instance.capabilities() & CAPABILITY_AUTHENTICATE != 0 => {
                &self.mount.instance.name
            }
            _ => return Err(of_stranger(presented, None)),
        };
        match self.principal(keeper).await {
            Err(Step::Refused(refused))
                if refused.status() == StatusCode::UNAUTHORIZED
                    && matches!(self.mount.access, Access::Keyed(_)) =>
            {
                Err(of_stranger(presented, refused.extensions().get()))
            }
            shown => shown.map(drop),
        }
    }

    /// The plugin's answer to a request without a body, where that needs no waiting; `None` leaves it to
    /// [`answer`](Self::answer).
    pub(crate) fn answer_now(&self) -> Option<Result<Response<AnswerBody>, Step>> {
        let instance = &self.mount.instance;
        if !instance.has_answers_now() || matches!(self.mount.access, Access::Session(_)) {
            return None;
        }
        self.try_now().transpose()
    }

    fn try_now(&self) -> Result<Option<Response<AnswerBody>>, Step> {
        let Head { method, query, presented } = self.head()?;
        if !self.received.load.has_place(self.snapshot.config.limits.max_in_flight) {
            return Err(crowded());
        }
        let request = self.request(method, &query, self.caller(presented)?);
        let instance = &self.mount.instance;
        let Ok(entered) = instance.enter() else { return Ok(None) };
        let answer = instance.handle_now(&entered, request.raw());
        answer.map(|answer| self.answered(Some(answer), presented, request.misses())).transpose()
    }

    /// What is looked at before the body is there.
    fn head(&self) -> Result<Head<'a>, Step> {
        let Received { parts, .. } = *self.received;
        // Before everything: a browser asks without a key, and must be told before it sends one.
        let is_about_another = self.route.class == Class::ForwardAuth;
        if self.snapshot.config.cors.is_some() && cors::is_preflight(parts) && !is_about_another {
            return Err(self.options());
        }
        if parts.extensions.get().is_some_and(Untaken::is_nearly_full) {
            return Err(Step::refuse(busy("too many answers wait on this connection: take them first")));
        }
        self.check_local()?;
        let mut method = self.method()?;
        let instance = &self.mount.instance;
        if !matches!(instance.state(), State::Ready | State::HandingOver | State::Retired) {
            return Err(not_serving(instance, instance.state()));
        }
        let mut query = parts.uri.query().unwrap_or_default();
        if is_about_another {
            // The query is that of the other request, and so is the method that counts.
            (method, query) = (proxy::method_asked_about(parts, &self.received.client), "");
        }
        let mut presented = self.key_in_headers();
        let query = match access::take_query_key(query) {
            Some(taken) => {
                if self.snapshot.config.auth.allow_query_key {
                    presented = presented.or(self.key_of_caller(taken.keys.iter().map(Vec::as_slice)));
                }
                Cow::Owned(taken.rest)
            }
            None => Cow::Borrowed(query),
        };
        Ok(Head { method, query, presented })
    }

    /// A place among the requests that are answered at a time.
    fn place<'l>(&self, load: &'l Load) -> Result<Share<'l>, Step> {
        load.answer(self.snapshot.config.limits.max_in_flight).ok_or_else(crowded)
    }

    /// What the plugin sees of a request without a body, and of nobody.
    fn request<'r>(&'r self, method: &'r str, query: &'r str, caller: Caller) -> HostRequest<'r> {
        let Received { parts, client, id, deadline, .. } = *self.received;
        HostRequest {
            parts,
            lines: Lines::default(),
            method,
            route: self.index,
            below_mount: self.below_mount(),
            query,
            body: Bytes::new(),
            client,
            cors: self.snapshot.config.cors.as_ref(),
            caller,
            principal: None,
            deadline,
            id,
            told: OnceLock::new(),
        }
    }

    /// What the client gets for the plugin's answer, or for none in time.
    fn answered(
        &self,
        answer: Option<Result<RawResponse, String>>,
        presented: Presented,
        mut misses: Misses,
    ) -> Result<Response<AnswerBody>, Step> {
        let instance = &self.mount.instance;
        let mut response = match answer {
            Some(Ok(raw)) => response::from_plugin(raw, instance),
            Some(Err(reason)) => return Err(Step::refuse(self.failed(instance, &reason))),
            None => return Err(Step::refuse(self.late(instance))),
        };
        response.body_mut().set_known(presented == Presented::Valid);
        // It may have let in no session either: then the wrong key is one that was tried.
        let is_refused = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if is_refused && presented == Presented::Wrong {
            misses = misses.and(Misses::one(Secret::ApiKey));
        }
        if !misses.is_empty() {
            response.extensions_mut().insert(misses);
        }
        Ok(response)
    }

    fn failed(&self, instance: &Instance, reason: &str) -> Response<AnswerBody> {
        let (route, request) = (&self.route.path, self.received.id.text());
        tracing::error!(instance = instance.name, route, request, reason, "the plugin failed");
        let detail = format!("`{}` failed; the log says why, under request {request}", instance.name);
        problem(StatusCode::INTERNAL_SERVER_ERROR, &detail)
    }

    fn late(&self, instance: &Instance) -> Response<AnswerBody> {
        let (route, request) = (&self.route.path, self.received.id.text());
        tracing::warn!(instance = instance.name, route, request, "no answer within request_timeout");
        let detail = format!("`{}` did not answer in time ([limits] request_timeout)", instance.name);
        problem(StatusCode::GATEWAY_TIMEOUT, &detail)
    }

    /// The user whose live session lets the request in: one of the instance named `keeper`.
    async fn principal(&self, keeper: &str) -> Result<Principal, Step> {
        let Received { parts, client, id, deadline, .. } = *self.received;
        self.check_cross_site()?;
        // A snapshot holds a guarded instance only together with its guard; without it nobody comes in.
        let Some(Mount { instance: keeper, access, .. }) = self.snapshot.mount(keeper) else {
            return Err(Step::refuse(busy("the session plugin is not there")));
        };
        let request = HostRequest {
            parts,
            lines: Lines::default(),
            method: parts.method.as_str(),
            route: u32::MAX,
            below_mount: "",
            query: "",
            body: Bytes::new(),
            client,
            cors: self.snapshot.config.cors.as_ref(),
            caller: match access {
                Access::Keyed(_) => Caller::Unkeyed,
                Access::Open | Access::OpenByDefault | Access::Session(_) => Caller::Open,
            },
            principal: None,
            deadline,
            id,
            told: OnceLock::new(),
        };
        let entered = enter(keeper)?;
        match in_time(deadline, pin!(keeper.authenticate(&entered, request.raw()))).await {
            Some(Ok(Authentication::Live(principal))) => Ok(principal),
            Some(Ok(Authentication::None)) => {
                let mut refused = problem_with(
                    StatusCode::UNAUTHORIZED,
                    "a live session is needed: log in, and send its id as X-Session-Id or in the cookie",
                    "www-authenticate",
                    "Session realm=\"pserve\"",
                );
                refused.extensions_mut().insert(request.misses());
                Err(Step::refuse(refused))
            }
            Some(Ok(Authentication::Unavailable)) => Err(Step::refuse(busy(&format!(
                "`{}` cannot say now whether the session lives",
                keeper.name
            )))),
            Some(Err(reason)) => Err(Step::refuse(self.failed(keeper, &reason))),
            None => Err(Step::refuse(self.late(keeper))),
        }
    }

    /// A page of another origin must not act with a visitor's cookie. It cannot send `X-Session-Id` unless CORS lets
    /// it, so a request with that header is its sender's own.
    fn check_cross_site(&self) -> Result<(), Step> {
        let Received { parts, client, .. } = self.received;
        let is_safe = matches!(parts.method, Method::GET | Method::HEAD);
        if is_safe
            || parts.headers.contains_key("x-session-id")
            || !request::is_cross_site(parts, client, self.snapshot.config.cors.as_ref())
        {
            return Ok(());
        }
        Err(Step::refuse(problem(
            StatusCode::FORBIDDEN,
            "a page of another origin may not use the session cookie; send the id as X-Session-Id",
        )))
    }

    /// What the route takes.
    fn options(&self) -> Step {
        let mut response = response::empty(StatusCode::NO_CONTENT);
        response::allow(&mut response, &self.route.allow);
        Step::refuse(response)
    }

    /// The method that the plugin sees.
    fn method(&self) -> Result<&'a str, Step> {
        let method = self.received.parts.method.as_str();
        if self.route.takes(method) {
            return Ok(method);
        }
        match method {
            "HEAD" if self.route.takes("GET") => Ok("GET"),
            "OPTIONS" => Err(self.options()),
            _ => {
                let detail = format!("{} takes {}", self.route.path, self.route.allow);
                let allow = self.route.allow.clone();
                Err(Step::refuse(problem_with(StatusCode::METHOD_NOT_ALLOWED, &detail, "allow", allow)))
            }
        }
    }

    /// An instance that is open because nothing was written answers this machine alone.
    fn check_local(&self) -> Result<(), Step> {
        let Received { parts, client, .. } = self.received;
        let is_local = !client.is_proxied && access::is_local(client.host, &parts.headers);
        if is_local || !matches!(self.mount.access, Access::OpenByDefault) {
            return Ok(());
        }
        let name = &self.mount.instance.name;
        let detail = format!(
            "`{name}` has no key, so it answers only requests to localhost without Forwarded or X-Forwarded-...: write \
             `apikey` in [auth], or `auth_type=none` in the parameters of `{name}`"
        );
        Err(Step::refuse(problem(StatusCode::FORBIDDEN, &detail)))
    }

    fn key_in_headers(&self) -> Presented {
        match &self.mount.access {
            Access::Keyed(keys) => {
                access::header_key(keys, &self.received.parts.headers, self.route.class == Class::ForwardAuth)
            }
            Access::Open | Access::OpenByDefault | Access::Session(_) => Presented::Nothing,
        }
    }

    /// A key that the client itself put into query or body: on a forward-auth route that is not the caller.
    fn key_of_caller<'k>(&self, candidates: impl IntoIterator<Item = &'k [u8]>) -> Presented {
        match &self.mount.access {
            Access::Keyed(keys) if self.route.class != Class::ForwardAuth => {
                access::presented(keys, candidates)
            }
            _ => Presented::Nothing,
        }
    }

    fn caller(&self, presented: Presented) -> Result<Caller, Step> {
        let caller = match &self.mount.access {
            Access::Open | Access::OpenByDefault | Access::Session(_) => Caller::Open,
            Access::Keyed(_) if presented == Presented::Valid => Caller::Keyed,
            Access::Keyed(_) => Caller::Unkeyed,
        };
        if caller == Caller::Unkeyed && self.route.class == Class::Service {
            let mut response = unauthorized(self.snapshot.config.auth.allow_query_key);
            response.extensions_mut().insert(presented.misses());
            return Err(Step::refuse(response));
        }
        Ok(caller)
    }

    fn below_mount(&self) -> &'a str {
        let path = self.received.parts.uri.path();
        path.strip_prefix(self.mount.instance.mount()).unwrap_or(path).trim_start_matches('/')
    }
}

/// Too large without a key. A wrong one was tried all the same, and so was an id that no session has.
fn of_stranger(presented: Presented, missed: Option<&Misses>) -> Step {
    let mut response = BodyError::OfStranger.response();
    let wrong = (presented == Presented::Wrong).then(|| presented.misses());
    let misses = [wrong, missed.copied()].into_iter().flatten().reduce(Misses::and);
    if let Some(misses) = misses {
        response.extensions_mut().insert(misses);
    }
    Step::refuse(response)
}

fn enter(instance: &Arc<Instance>) -> Result<Entered<'_>, Step> {
    instance.enter().map_err(|state| match state {
        State::HandingOver | State::Retired => Step::Moved(Arc::clone(instance)),
        state => not_serving(instance, state),
    })
}

fn crowded() -> Step {
    Step::refuse(busy("too many requests at once ([limits] max_in_flight)"))
}

fn not_serving(instance: &Instance, state: State) -> Step {
    Step::refuse(busy(&format!("`{}` is {}; try again", instance.name, state.name())))
}

fn unauthorized(allow_query_key: bool) -> Response<AnswerBody> {
    let query = if allow_query_key { ", `?apikey=`" } else { "" };
    let detail = format!(
        "a valid API key is needed: as `Authorization: Bearer`, `X-Custom-Auth`{query} or `apikey` in a JSON body"
    );
    problem_with(StatusCode::UNAUTHORIZED, &detail, "www-authenticate", "Bearer realm=\"pserve\"")
}
