//! Passes a request to an instance: access control, the call of the plugin, and its answer.

mod caller;

use std::borrow::Cow;
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hyper::body::Body;
use hyper::{Method, Response, StatusCode};
use plugin_api::abi::response::RawResponse;
use plugin_api::{Caller, Class, routing};

use super::body::BodyError;
use super::call_error::{CallError, crowded, not_serving};
use super::context::RequestContext;
use super::in_flight::{Load, Share};
use super::request::HostRequest;
use super::request_body::RequestBody;
use crate::http::control::snapshot::{Mount, Snapshot, Target};
use crate::http::gate::access::Access;
use crate::http::gate::credentials::{self, KeyCheck};
use crate::http::gate::secrets::{Misses, Secret};
use crate::http::gate::{cors, proxy};
use crate::http::message::in_time::in_time;
use crate::http::message::lines::Lines;
use crate::http::message::problem::{ProblemType, problem, problem_with, retry_later};
use crate::http::message::response::{self, AnswerBody};
use crate::http::message::untaken::Untaken;
use crate::plugin::{CallGuard, Instance, Route, State};

/// What is known about a request before its body is read.
struct CallHead<'a> {
    /// The method that the plugin sees.
    method: &'a str,
    /// Without `apikey`.
    query: Cow<'a, str>,
    /// Result of checking the keys in headers and query.
    presented: KeyCheck,
}

/// A request that is passed to an instance.
pub(crate) struct Call<'a> {
    snapshot: &'a Snapshot,
    mount: &'a Mount,
    route: &'a Route,
    index: u32,
    received: &'a RequestContext<'a>,
}

impl<'a> Call<'a> {
    /// A call of `target`, which belongs to `snapshot`.
    pub(crate) fn new(
        snapshot: &'a Snapshot,
        target: Target,
        received: &'a RequestContext<'a>,
    ) -> Option<Self> {
        let (mount, route) = snapshot.target(target)?;
        Some(Self { snapshot, mount, route, index: target.route(), received })
    }

    /// The plugin's answer.
    pub(crate) async fn answer<B>(
        &self,
        incoming: &mut RequestBody<'_, B>,
    ) -> Result<Response<AnswerBody>, CallError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let RequestContext { parts, deadline, load, .. } = *self.received;
        let CallHead { method, query, mut presented } = self.head()?;
        let mut body = self.body(incoming, presented).await?;
        let _place = self.place(load)?;
        if parts.method != Method::PATCH
            && let Some(taken) = credentials::take_body_key(&body)
        {
            body = taken.rest;
            presented = presented.or(self.key_of_caller(taken.keys.iter().map(String::as_bytes)));
        }
        let caller = self.caller(presented)?;
        let principal = match &self.mount.access {
            // Boxed, because it is as large as a second request to a plugin, which few calls need.
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

    /// Reads the body. Large bodies are read only for authenticated callers.
    async fn body<B>(
        &self,
        incoming: &mut RequestBody<'_, B>,
        presented: KeyCheck,
    ) -> Result<Bytes, CallError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let RequestContext { parts, deadline, .. } = *self.received;
        match self.mount.access {
            Access::Keyed(_) if presented == KeyCheck::Valid => {
                incoming.reading.allow_all(true);
            }
            Access::Open | Access::OpenByDefault => incoming.reading.allow_all(false),
            Access::Keyed(_) | Access::Session(_) => {}
        }
        let refuse = |error: BodyError| CallError::rejected(error.response());
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

    /// The plugin's answer to a request without a body, if it is available synchronously; `None` leaves the request to
    /// [`answer`](Self::answer).
    pub(crate) fn answer_now(&self) -> Option<Result<Response<AnswerBody>, CallError>> {
        let instance = &self.mount.instance;
        if !instance.has_answers_now() || matches!(self.mount.access, Access::Session(_)) {
            return None;
        }
        self.try_now().transpose()
    }

    fn try_now(&self) -> Result<Option<Response<AnswerBody>>, CallError> {
        let CallHead { method, query, presented } = self.head()?;
        if !self.received.load.has_place(self.snapshot.config.limits.max_in_flight) {
            return Err(crowded());
        }
        let request = self.request(method, &query, self.caller(presented)?);
        let instance = &self.mount.instance;
        let Ok(entered) = instance.enter() else { return Ok(None) };
        let answer = instance.handle_now(&entered, request.raw());
        answer.map(|answer| self.answered(Some(answer), presented, request.misses())).transpose()
    }

    /// The checks that come before the body is read.
    fn head(&self) -> Result<CallHead<'a>, CallError> {
        let RequestContext { parts, .. } = *self.received;
        // First of all: a browser sends preflight requests without a key, and needs the answer before it sends one.
        let is_about_another = self.route.class == Class::ForwardAuth;
        if self.snapshot.config.cors.is_some() && cors::is_preflight(parts) && !is_about_another {
            return Err(self.options());
        }
        if parts.extensions.get().is_some_and(Untaken::is_nearly_full) {
            return Err(CallError::rejected(retry_later(
                ProblemType::Overloaded,
                "too many answers wait on this connection: take them first",
            )));
        }
        self.check_local()?;
        let mut method = self.method()?;
        let instance = &self.mount.instance;
        if !matches!(instance.state(), State::Ready | State::HandingOver | State::Retired) {
            return Err(not_serving(instance, instance.state()));
        }
        let mut query = parts.uri.query().unwrap_or_default();
        if is_about_another {
            // The query is that of the other request, and the method that matters is that request's, too.
            (method, query) = (proxy::method_asked_about(parts, &self.received.client), "");
        }
        let mut presented = self.key_in_headers();
        let query = match credentials::take_query_key(query) {
            Some(taken) => {
                if self.snapshot.config.auth.allow_query_key {
                    presented = presented.or(self.key_of_caller(taken.keys.iter().map(Vec::as_slice)));
                }
                Cow::Owned(taken.rest)
            }
            None => Cow::Borrowed(query),
        };
        Ok(CallHead { method, query, presented })
    }

    /// A slot among the requests that may be answered concurrently.
    fn place<'l>(&self, load: &'l Load) -> Result<Share<'l>, CallError> {
        load.answer(self.snapshot.config.limits.max_in_flight).ok_or_else(crowded)
    }

    /// The request as the plugin sees it, without a body and without a principal.
    fn request<'r>(&'r self, method: &'r str, query: &'r str, caller: Caller) -> HostRequest<'r> {
        let RequestContext { parts, client, id, deadline, .. } = *self.received;
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
            mount: Some(self.mount),
            called: None,
        }
    }

    /// The client's answer, made from the plugin's answer, or from its failure or timeout.
    fn answered(
        &self,
        answer: Option<Result<RawResponse, String>>,
        presented: KeyCheck,
        mut misses: Misses,
    ) -> Result<Response<AnswerBody>, CallError> {
        let instance = &self.mount.instance;
        let mut response = match answer {
            Some(Ok(raw)) => response::from_plugin(raw, instance).unwrap_or_else(|reason| {
                tracing::error!(instance = instance.name, reason, "the plugin's answer is not HTTP");
                problem(ProblemType::InvalidAnswer, "the plugin gave an invalid answer")
            }),
            Some(Err(reason)) => return Err(CallError::rejected(self.failed(instance, &reason))),
            None => return Err(CallError::rejected(self.late(instance))),
        };
        response.body_mut().set_known(presented == KeyCheck::Valid);
        // The plugin may have required a session and found none: then the wrong key counts as a guess.
        let is_refused = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if is_refused && presented == KeyCheck::Wrong {
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
        problem(ProblemType::PluginFailed, &detail)
    }

    fn late(&self, instance: &Instance) -> Response<AnswerBody> {
        let (route, request) = (&self.route.path, self.received.id.text());
        tracing::warn!(instance = instance.name, route, request, "no answer within request_timeout");
        let detail = format!("`{}` did not answer in time ([limits] request_timeout)", instance.name);
        problem(ProblemType::PluginTimeout, &detail)
    }

    /// Answers OPTIONS with the methods of the route.
    fn options(&self) -> CallError {
        let mut response = response::empty(StatusCode::NO_CONTENT);
        response::allow(&mut response, &self.route.allow);
        CallError::rejected(response)
    }

    /// The method that the plugin sees.
    fn method(&self) -> Result<&'a str, CallError> {
        let method = self.received.parts.method.as_str();
        match self.route.seen_method(method) {
            Some(seen) => Ok(seen),
            None if method == "OPTIONS" => Err(self.options()),
            None => {
                let detail = format!("{} takes {}", self.route.path, self.route.allow);
                let allow = self.route.allow.clone();
                Err(CallError::rejected(problem_with(ProblemType::MethodNotAllowed, &detail, "allow", allow)))
            }
        }
    }

    fn below_mount(&self) -> &'a str {
        routing::below(self.mount.instance.mount(), self.received.parts.uri.path())
    }
}

fn enter(instance: &Arc<Instance>) -> Result<CallGuard<'_>, CallError> {
    instance.enter().map_err(|state| match state {
        State::HandingOver | State::Retired => CallError::Moved(Arc::clone(instance)),
        state => not_serving(instance, state),
    })
}
