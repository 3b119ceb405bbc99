//! Authorizes the caller: by API key, by session, or because the request comes from this machine.

use std::pin::pin;
use std::sync::OnceLock;

use bytes::Bytes;
use hyper::{Method, Response, StatusCode};
use plugin_api::abi::plugin::CAPABILITY_AUTHENTICATE;
use plugin_api::{Caller, Class, Principal};

use super::{Call, enter};
use crate::http::control::snapshot::Mount;
use crate::http::exchange::body::BodyError;
use crate::http::exchange::call_error::CallError;
use crate::http::exchange::context::RequestContext;
use crate::http::exchange::request::HostRequest;
use crate::http::gate::access::Access;
use crate::http::gate::credentials::{self, KeyCheck};
use crate::http::gate::cross_site::is_cross_site;
use crate::http::gate::host::is_local;
use crate::http::gate::secrets::Misses;
use crate::http::message::in_time::in_time;
use crate::http::message::lines::Lines;
use crate::http::message::problem::{ProblemType, problem, problem_with, retry_later};
use crate::http::message::response::AnswerBody;
use crate::plugin::Authentication;

impl Call<'_> {
    /// Callers without a key need a live session to send a larger body.
    pub(super) async fn show_session(&self, presented: KeyCheck) -> Result<(), CallError> {
        let _place = self.place(self.received.load)?;
        let keeper = match &self.mount.access {
            Access::Session(keeper) => keeper,
            _ if self.mount.instance.capabilities() & CAPABILITY_AUTHENTICATE != 0 => {
                &self.mount.instance.name
            }
            _ => return Err(of_stranger(presented, None)),
        };
        match self.principal(keeper).await {
            Err(CallError::Rejected(refused))
                if refused.status() == StatusCode::UNAUTHORIZED
                    && matches!(self.mount.access, Access::Keyed(_)) =>
            {
                Err(of_stranger(presented, refused.extensions().get()))
            }
            shown => shown.map(drop),
        }
    }

    /// Authenticates the user by a live session of the instance named `keeper`.
    pub(super) async fn principal(&self, keeper: &str) -> Result<Principal, CallError> {
        let RequestContext { parts, client, id, deadline, .. } = *self.received;
        self.check_cross_site()?;
        // A snapshot contains a guarded instance only together with its guard; if it is missing, deny access.
        let Some(Mount { instance: keeper, access, .. }) = self.snapshot.mount(keeper) else {
            return Err(CallError::rejected(retry_later(
                ProblemType::InstanceUnavailable,
                "the session plugin is not there",
            )));
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
            mount: None,
            called: None,
        };
        let entered = enter(keeper)?;
        match in_time(deadline, pin!(keeper.authenticate(&entered, request.raw()))).await {
            Some(Ok(Authentication::Live(principal))) => Ok(principal),
            Some(Ok(Authentication::None)) => {
                let mut refused = problem_with(
                    ProblemType::SessionRequired,
                    "a live session is needed: log in, and send its id as X-Session-Id or in the cookie",
                    "www-authenticate",
                    "Session realm=\"pserve\"",
                );
                refused.extensions_mut().insert(request.misses());
                Err(CallError::rejected(refused))
            }
            Some(Ok(Authentication::Unavailable)) => Err(CallError::rejected(retry_later(
                ProblemType::InstanceUnavailable,
                &format!("`{}` cannot say now whether the session lives", keeper.name),
            ))),
            Some(Err(reason)) => Err(CallError::rejected(self.failed(keeper, &reason))),
            None => Err(CallError::rejected(self.late(keeper))),
        }
    }

    /// Rejects cross-site requests (CSRF): a page of another origin must not act with a visitor's cookie. Such a page
    /// cannot send `X-Session-Id` unless CORS allows it, so a request with that header is accepted.
    pub(super) fn check_cross_site(&self) -> Result<(), CallError> {
        let RequestContext { parts, client, .. } = self.received;
        let is_safe = matches!(parts.method, Method::GET | Method::HEAD);
        if is_safe
            || parts.headers.contains_key("x-session-id")
            || !is_cross_site(parts, client, self.snapshot.config.cors.as_ref())
        {
            return Ok(());
        }
        Err(CallError::rejected(problem(
            ProblemType::CrossSite,
            "a page of another origin may not use the session cookie; send the id as X-Session-Id",
        )))
    }

    /// An instance that is open only because no access rule is configured answers only this machine.
    pub(super) fn check_local(&self) -> Result<(), CallError> {
        let RequestContext { parts, client, .. } = self.received;
        let is_local = !client.is_proxied && is_local(client.host, &parts.headers);
        if is_local || !matches!(self.mount.access, Access::OpenByDefault) {
            return Ok(());
        }
        let name = &self.mount.instance.name;
        let detail = format!(
            "`{name}` has no key, so it answers only requests to localhost without Forwarded or X-Forwarded-...: write \
             `apikey` in [auth], or `auth_type=none` in the parameters of `{name}`"
        );
        Err(CallError::rejected(problem(ProblemType::NotLocal, &detail)))
    }

    pub(super) fn key_in_headers(&self) -> KeyCheck {
        match &self.mount.access {
            Access::Keyed(keys) => credentials::header_key(
                keys,
                &self.received.parts.headers,
                self.route.class == Class::ForwardAuth,
            ),
            Access::Open | Access::OpenByDefault | Access::Session(_) => KeyCheck::Absent,
        }
    }

    /// Checks a key that the client itself put into query or body. On a forward-auth route these belong to the other
    /// request.
    pub(super) fn key_of_caller<'k>(&self, candidates: impl IntoIterator<Item = &'k [u8]>) -> KeyCheck {
        match &self.mount.access {
            Access::Keyed(keys) if self.route.class != Class::ForwardAuth => {
                credentials::presented(keys, candidates)
            }
            _ => KeyCheck::Absent,
        }
    }

    pub(super) fn caller(&self, presented: KeyCheck) -> Result<Caller, CallError> {
        let caller = match &self.mount.access {
            Access::Open | Access::OpenByDefault | Access::Session(_) => Caller::Open,
            Access::Keyed(_) if presented == KeyCheck::Valid => Caller::Keyed,
            Access::Keyed(_) => Caller::Unkeyed,
        };
        if caller == Caller::Unkeyed && self.route.class == Class::Service {
            let mut response = unauthorized(self.snapshot.config.auth.allow_query_key);
            response.extensions_mut().insert(presented.misses());
            return Err(CallError::rejected(response));
        }
        Ok(caller)
    }
}

/// The body is too large without a key. A wrong key still counts as a guess, and so does an unknown session id.
fn of_stranger(presented: KeyCheck, missed: Option<&Misses>) -> CallError {
    let mut response = BodyError::OfStranger.response();
    let wrong = (presented == KeyCheck::Wrong).then(|| presented.misses());
    let misses = [wrong, missed.copied()].into_iter().flatten().reduce(Misses::and);
    if let Some(misses) = misses {
        response.extensions_mut().insert(misses);
    }
    CallError::rejected(response)
}

fn unauthorized(allow_query_key: bool) -> Response<AnswerBody> {
    let query = if allow_query_key { ", `?apikey=`" } else { "" };
    let detail = format!(
        "a valid API key is needed: as `Authorization: Bearer`, `X-Custom-Auth`{query} or `apikey` in a JSON body"
    );
    problem_with(ProblemType::KeyRequired, &detail, "www-authenticate", "Bearer realm=\"pserve\"")
}
