//! What a request leads to.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use plugin_api::{Caller, Class};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::access::{self, Access};
use super::body;
use super::control::Control;
use super::request::{self, HostRequest, RequestId};
use super::response::{self, AnswerBody, problem, problem_with};
use super::router::Router;
use crate::config::{Auth, Config};
use crate::plugin::{Failure, Instance, Registry, Route, State};

/// Everything that answering a request needs.
pub(crate) struct App {
    router: Router<Target>,
    instances: Vec<Arc<Instance>>,
    failures: Vec<Failure>,
    control: Control,
    allow_query_key: bool,
    max_body: usize,
    request_timeout: Duration,
    log_access: bool,
    in_flight: Semaphore,
}

/// Where a path leads to.
#[derive(Debug)]
struct Target {
    instance: Arc<Instance>,
    /// Index into the instance's routes.
    route: usize,
}

/// An answer, and for the access log who gave it.
struct Answer<'a> {
    response: Response<AnswerBody>,
    /// The route as it was registered, never as the client wrote it: that may hold an id or a key.
    route: &'a str,
    instance: &'a str,
}

impl App {
    /// Mounts the instances. One whose routes are taken does not serve.
    pub(crate) fn new(config: &Config, mut registry: Registry) -> Self {
        let mut router = Router::default();
        let mut instances = Vec::new();
        for instance in std::mem::take(&mut registry.instances) {
            let taken = instance.routes.iter().find_map(|route| router.check(&route.path).err());
            if let Some(error) = taken {
                let failure = Failure::of_instance(&instance.name, &instance.mount, error.to_string());
                registry.fail(failure);
                continue;
            }
            let instance = Arc::new(instance);
            for (index, route) in instance.routes.iter().enumerate() {
                router.add(&route.path, Target { instance: Arc::clone(&instance), route: index });
            }
            instances.push(instance);
        }
        let Auth { keys, allow_query_key } = &config.auth;
        Self {
            router,
            control: Control::new(keys.clone(), &registry),
            instances,
            failures: registry.failures,
            allow_query_key: *allow_query_key,
            max_body: config.limits.max_body,
            request_timeout: config.limits.request_timeout,
            log_access: config.log.access,
            in_flight: Semaphore::new(config.limits.max_in_flight),
        }
    }

    /// The instances that are mounted.
    pub(crate) fn instances(&self) -> &[Arc<Instance>] {
        &self.instances
    }

    /// What does not serve.
    pub(crate) fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// Requests that are being answered now.
    pub(crate) fn in_flight(&self, limit: usize) -> usize {
        limit.saturating_sub(self.in_flight.available_permits())
    }

    /// Answers a request.
    pub(crate) async fn answer<B>(&self, request: Request<B>, client: IpAddr) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let start = Instant::now();
        let (parts, incoming) = request.into_parts();
        let id = RequestId::default();
        let Answer { response, route, instance } = self.dispatch(&parts, incoming, client, start, &id).await;
        if self.log_access {
            tracing::info!(
                method = parts.method.as_str(),
                route,
                instance,
                status = response.status().as_u16(),
                microseconds = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
                client = %client,
                request = id.text(),
                "request"
            );
        }
        response
    }

    async fn dispatch<B>(
        &self,
        parts: &Parts,
        incoming: B,
        client: IpAddr,
        start: Instant,
        id: &RequestId,
    ) -> Answer<'_>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let host = match request::host(parts) {
            Ok(host) => host,
            Err(detail) => return problem(StatusCode::BAD_REQUEST, detail).into(),
        };
        let path = parts.uri.path();
        if let Some(route) = Control::route(path) {
            let response = self.control.answer(self, route, parts).await;
            return Answer { response, route, instance: "-" };
        }
        let Some(target) = self.router.find(path) else { return self.no_route(path).into() };
        let instance = &*target.instance;
        let Some(route) = instance.routes.get(target.route) else { return self.no_route(path).into() };
        let response = match self.in_flight.try_acquire() {
            Err(_) => busy("too many requests at once ([limits] max_in_flight)"),
            Ok(_permit) => {
                let call = Call { app: self, target, route, parts, client, host, id };
                call.answer(incoming, start + self.request_timeout).await.unwrap_or_else(|refused| *refused)
            }
        };
        Answer { response, route: &route.path, instance: &instance.name }
    }

    fn no_route(&self, path: &str) -> Response<AnswerBody> {
        let below = |mount: &str| {
            path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let failed = self.failures.iter().find(|failure| failure.mount.as_deref().is_some_and(below));
        let instance = self
            .instances
            .iter()
            .filter(|instance| below(&instance.mount))
            .max_by_key(|instance| instance.mount.len());
        match (instance, failed) {
            // Not a 404: a client would take it for an answer about its request.
            (None, Some(failure)) => {
                busy(&format!("`{}` could not be loaded; the log says why", failure.name))
            }
            (Some(instance), _) => {
                let routes = instance.routes.iter().map(|route| route.path.as_str()).collect::<Vec<_>>();
                let detail = format!("no such route; `{}` has {}", instance.name, routes.join(", "));
                problem(StatusCode::NOT_FOUND, &detail)
            }
            (None, None) => {
                let mounts: Vec<String> =
                    self.instances.iter().map(|instance| format!("{}/", instance.mount)).collect();
                let detail = match mounts.as_slice() {
                    [] => "no such route; no plugin is loaded".to_owned(),
                    mounts => format!("no such route; there are routes below {}", mounts.join(", ")),
                };
                problem(StatusCode::NOT_FOUND, &detail)
            }
        }
    }
}

impl From<Response<AnswerBody>> for Answer<'_> {
    fn from(response: Response<AnswerBody>) -> Self {
        Self { response, route: "-", instance: "-" }
    }
}

fn busy(detail: &str) -> Response<AnswerBody> {
    problem_with(StatusCode::SERVICE_UNAVAILABLE, detail, "retry-after", "1")
}

/// A request on its way to an instance.
struct Call<'a> {
    app: &'a App,
    target: &'a Target,
    route: &'a Route,
    parts: &'a Parts,
    client: IpAddr,
    host: &'a str,
    id: &'a RequestId,
}

/// An answer instead of the plugin's. Boxed, because the way on is the usual one.
type Refused = Box<Response<AnswerBody>>;

impl Call<'_> {
    async fn answer<B>(&self, incoming: B, deadline: Instant) -> Result<Response<AnswerBody>, Refused>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        self.check_local()?;
        let method = self.method()?;
        let instance = &self.target.instance;
        if instance.state() != State::Ready {
            let state = instance.state().name();
            return Err(Box::new(busy(&format!("`{}` is {state}; try again", instance.name))));
        }
        let query = self.parts.uri.query().unwrap_or_default();
        let taken_query = access::take_query_key(query);
        let mut keyed = self.keyed_by_headers()
            || taken_query.as_ref().is_some_and(|taken| self.keyed_by_query(&taken.keys));
        let mut body = body::read(incoming, self.app.max_body, deadline)
            .await
            .map_err(|error| Box::new(error.response()))?;
        if self.parts.method != Method::PATCH
            && let Some(taken) = access::take_body_key(&body)
        {
            body = taken.rest;
            keyed = keyed || taken.keys.iter().any(|key| self.keyed_by_caller(key.as_bytes()));
        }
        let caller = self.caller(keyed)?;
        let request = HostRequest {
            parts: self.parts,
            method,
            route: u32::try_from(self.target.route).unwrap_or(u32::MAX),
            below_mount: self.below_mount(),
            query: taken_query.as_ref().map_or(query, |taken| taken.rest.as_str()),
            body,
            client: self.client,
            host: self.host,
            caller,
            deadline,
            id: self.id,
        };
        self.ask(&request, deadline).await
    }

    async fn ask(
        &self,
        request: &HostRequest<'_>,
        deadline: Instant,
    ) -> Result<Response<AnswerBody>, Refused> {
        let instance = &self.target.instance;
        match tokio::time::timeout_at(deadline, instance.handle(request.raw())).await {
            Ok(Ok(raw)) => Ok(response::from_plugin(raw, instance)),
            Ok(Err(reason)) => {
                let (route, request) = (&self.route.path, self.id.text());
                tracing::error!(instance = instance.name, route, request, reason, "the plugin failed");
                let detail = format!("`{}` failed; the log says why, under request {request}", instance.name);
                Err(Box::new(problem(StatusCode::INTERNAL_SERVER_ERROR, &detail)))
            }
            Err(_) => {
                let (route, request) = (&self.route.path, self.id.text());
                tracing::warn!(instance = instance.name, route, request, "no answer within request_timeout");
                let detail = format!("`{}` did not answer in time ([limits] request_timeout)", instance.name);
                Err(Box::new(problem(StatusCode::GATEWAY_TIMEOUT, &detail)))
            }
        }
    }

    /// The method that the plugin sees.
    fn method(&self) -> Result<&str, Refused> {
        let method = self.parts.method.as_str();
        let has = |wanted: &str| self.route.methods.iter().any(|method| method == wanted);
        if has(method) {
            return Ok(method);
        }
        match method {
            "HEAD" if has("GET") => Ok("GET"),
            "OPTIONS" => {
                let mut response = response::empty(StatusCode::NO_CONTENT);
                response::allow(&mut response, &self.route.allow);
                Err(Box::new(response))
            }
            _ => {
                let detail = format!("{} takes {}", self.route.path, self.route.allow);
                let allow = self.route.allow.clone();
                Err(Box::new(problem_with(StatusCode::METHOD_NOT_ALLOWED, &detail, "allow", allow)))
            }
        }
    }

    /// An instance that is open because nothing was written answers this machine alone.
    fn check_local(&self) -> Result<(), Refused> {
        let instance = &self.target.instance;
        if !matches!(instance.access, Access::OpenByDefault)
            || access::is_local(self.host, &self.parts.headers)
        {
            return Ok(());
        }
        let detail = format!(
            "`{}` has no key, so it answers only requests to localhost that no proxy passed on: write `apikey` in \
             [auth], or `auth_type=none` in the parameters of `{}`",
            instance.name, instance.name
        );
        Err(Box::new(problem(StatusCode::FORBIDDEN, &detail)))
    }

    fn keyed_by_headers(&self) -> bool {
        match &self.target.instance.access {
            Access::Keyed(keys) => {
                access::header_key(keys, &self.parts.headers, self.route.class == Class::ForwardAuth)
            }
            Access::Open | Access::OpenByDefault => false,
        }
    }

    fn keyed_by_query(&self, candidates: &[Vec<u8>]) -> bool {
        self.app.allow_query_key && candidates.iter().any(|candidate| self.keyed_by_caller(candidate))
    }

    /// A key that the client itself put into query or body: on a forward-auth route that is not the caller.
    fn keyed_by_caller(&self, candidate: &[u8]) -> bool {
        match &self.target.instance.access {
            Access::Keyed(keys) => self.route.class != Class::ForwardAuth && keys.accept(candidate),
            Access::Open | Access::OpenByDefault => false,
        }
    }

    fn caller(&self, keyed: bool) -> Result<Caller, Refused> {
        let caller = match &self.target.instance.access {
            Access::Open | Access::OpenByDefault => Caller::Open,
            Access::Keyed(_) if keyed => Caller::Keyed,
            Access::Keyed(_) => Caller::Unkeyed,
        };
        if caller == Caller::Unkeyed && self.route.class == Class::Service {
            return Err(Box::new(unauthorized(self.app.allow_query_key)));
        }
        Ok(caller)
    }

    fn below_mount(&self) -> &str {
        let path = self.parts.uri.path();
        path.strip_prefix(self.target.instance.mount.as_str()).unwrap_or(path).trim_start_matches('/')
    }
}

fn unauthorized(allow_query_key: bool) -> Response<AnswerBody> {
    let query = if allow_query_key { ", `?apikey=`" } else { "" };
    let detail = format!(
        "a valid API key is needed: as `Authorization: Bearer`, `X-Custom-Auth`{query} or `apikey` in a JSON body"
    );
    problem_with(StatusCode::UNAUTHORIZED, &detail, "www-authenticate", "Bearer realm=\"pserve\"")
}

#[cfg(test)]
mod tests;
