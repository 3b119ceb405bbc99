//! The host's own routes: `/healthz`, `/readyz`, `/plugins`, `/metrics`, and those that change what is loaded.

use std::time::Duration;

use futures_util::future::join_all;
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;

use super::access::{self, Access, Presented};
use super::app::{App, busy};
use super::metrics;
use super::response::{self, AnswerBody, problem, problem_with};
use super::snapshot::{Mount, Snapshot};
use crate::lifecycle::{Order, Refusal, Task};

/// How long an answer to `/readyz` stands: it is open to everybody and asks the plugins, which ask their servers.
const READINESS_AGE: Duration = Duration::from_millis(250);
const READ: &str = "GET, HEAD, OPTIONS";
const CHANGE: &str = "POST, OPTIONS";

/// The host's own routes.
pub(crate) struct Control {
    orders: UnboundedSender<Order>,
    readiness: Mutex<Option<(Instant, Readiness)>>,
}

/// What `/readyz` says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Readiness {
    Ready,
    /// These instances serve a part of their requests. What is served by others need not wait for them.
    InPart(Vec<String>),
    Not,
}

impl Control {
    /// All of them; `*` stands for the name of an instance.
    pub(crate) const ROUTES: &[&'static str] =
        &["/healthz", "/readyz", "/plugins", "/metrics", "/reload/*", "/load/*", "/unload/*"];

    /// What is to be changed goes to `orders`.
    pub(crate) fn new(orders: UnboundedSender<Order>) -> Self {
        Self { orders, readiness: Mutex::new(None) }
    }

    /// The route that a path is, if it is one of the host's own.
    pub(crate) fn route(path: &str) -> Option<&'static str> {
        Self::ROUTES.iter().copied().find(|route| match route.strip_suffix('*') {
            // A name that could be none is no route of the host's, and so nobody's.
            Some(prefix) => {
                path.strip_prefix(prefix).is_some_and(|name| !name.is_empty() && !name.contains('/'))
            }
            None => *route == path,
        })
    }

    /// Answers a request for one of the host's own routes.
    pub(crate) async fn answer(
        &self,
        app: &App,
        snapshot: &Snapshot,
        route: &str,
        parts: &Parts,
    ) -> Response<AnswerBody> {
        let allow = if route.ends_with('*') { CHANGE } else { READ };
        let method = match &parts.method {
            &Method::HEAD => Method::GET,
            method => method.clone(),
        };
        if method == Method::OPTIONS {
            let mut response = response::empty(StatusCode::NO_CONTENT);
            response::allow(&mut response, allow);
            return response;
        }
        if !allow.split(", ").any(|allowed| allowed == method.as_str()) {
            let detail = format!("{route} takes {allow}");
            return problem_with(StatusCode::METHOD_NOT_ALLOWED, &detail, "allow", allow);
        }
        match route {
            "/healthz" => return response::json(StatusCode::OK, &json!({ "status": "ok" })),
            "/readyz" => return self.readyz(snapshot).await,
            _ => {}
        }
        if let Err(refused) = check_key(snapshot, route, parts) {
            return *refused;
        }
        let name = parts.uri.path().rsplit('/').next().unwrap_or_default().to_lowercase();
        let mut response = match route {
            "/reload/*" if name == "all" => self.change(Task::ReloadAll).await,
            "/reload/*" => self.change(Task::Reload(name)).await,
            "/load/*" => self.change(Task::Load(name)).await,
            "/unload/*" => self.change(Task::Unload(name)).await,
            "/metrics" => metrics::page(app, snapshot).await,
            _ => response::json(StatusCode::OK, &plugins(snapshot)),
        };
        response.body_mut().set_known(true);
        response
    }

    /// It is carried out whether or not the client waits for the answer.
    async fn change(&self, task: Task) -> Response<AnswerBody> {
        let (reply, done) = oneshot::channel();
        if self.orders.send(Order { task, reply: Some(reply) }).is_err() {
            return busy("the host is stopping");
        }
        match done.await {
            Ok(Ok(report)) => response::json(StatusCode::OK, &report.to_json()),
            Ok(Err(refusal)) => {
                let status = match refusal {
                    Refusal::Unknown(_) => StatusCode::NOT_FOUND,
                    Refusal::State(_) => StatusCode::CONFLICT,
                    Refusal::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
                };
                problem(status, &refusal.to_string())
            }
            Err(_) => busy("the host is stopping"),
        }
    }

    async fn readyz(&self, snapshot: &Snapshot) -> Response<AnswerBody> {
        match self.readiness(snapshot).await {
            Readiness::Ready => response::json(StatusCode::OK, &json!({ "status": "ready" })),
            // A balancer that took this host away for it would take away what works, and of every host.
            Readiness::InPart(instances) => {
                let status = "ready in part; the log says which part is not available";
                response::json(StatusCode::OK, &json!({ "status": status, "instances": instances }))
            }
            Readiness::Not => problem_with(
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready; the log says why",
                "retry-after",
                "1",
            ),
        }
    }

    async fn readiness(&self, snapshot: &Snapshot) -> Readiness {
        // Held while the plugins are asked, so that those who come meanwhile wait for that answer.
        let mut known = self.readiness.lock().await;
        if let Some((when, readiness)) = &*known
            && when.elapsed() < READINESS_AGE
        {
            return readiness.clone();
        }
        let health = join_all(snapshot.instances().map(|instance| instance.health())).await;
        let (mut is_ready, mut in_part, mut reasons) = (snapshot.failures.is_empty(), Vec::new(), Vec::new());
        for (instance, health) in snapshot.instances().zip(health) {
            match health {
                Ok(None) => {}
                Ok(Some(reason)) => {
                    in_part.push(instance.name.clone());
                    reasons.push((&instance.name, "ready in part", reason));
                }
                Err(reason) => {
                    is_ready = false;
                    reasons.push((&instance.name, "not ready", reason));
                }
            }
        }
        let readiness = match (is_ready, in_part.is_empty()) {
            (false, _) => Readiness::Not,
            (true, true) => Readiness::Ready,
            (true, false) => Readiness::InPart(in_part),
        };
        let before = known.take().map(|(_, before)| before);
        // Once per change: probes come every few seconds.
        if before.as_ref() != Some(&readiness) {
            for (instance, state, reason) in reasons {
                tracing::warn!(instance, reason, "{state}");
            }
            if readiness == Readiness::Ready && before.is_some() {
                tracing::info!("ready again");
            }
        }
        *known = Some((Instant::now(), readiness.clone()));
        readiness
    }
}

fn check_key(snapshot: &Snapshot, route: &str, parts: &Parts) -> Result<(), Box<Response<AnswerBody>>> {
    let keys = &snapshot.config.auth.keys;
    if keys.is_empty() {
        let detail = format!("{route} needs the key of [auth], and none is configured");
        return Err(Box::new(problem(StatusCode::FORBIDDEN, &detail)));
    }
    let presented = access::header_key(keys, &parts.headers, false);
    if presented != Presented::Valid {
        let mut refused = problem_with(
            StatusCode::UNAUTHORIZED,
            "the key of [auth] is needed: as `Authorization: Bearer` or `X-Custom-Auth`",
            "www-authenticate",
            "Bearer realm=\"pserve\"",
        );
        refused.extensions_mut().insert(presented.misses());
        return Err(Box::new(refused));
    }
    Ok(())
}

/// What is loaded, as `/plugins` says it.
pub(crate) fn plugins(snapshot: &Snapshot) -> Value {
    let plugins: Vec<Value> = snapshot
        .files
        .iter()
        .map(|(file, library)| {
            json!({
                "name": library.name,
                "version": library.version,
                "plugin_api": library.api_version,
                "file": file,
                "sha256": library.sha256,
            })
        })
        .collect();
    let unloaded = snapshot
        .unloaded
        .iter()
        .map(|unloaded| json!({ "name": unloaded.name, "state": "unloaded", "mount": unloaded.mount }));
    let instances: Vec<Value> = snapshot.mounts.iter().map(describe).chain(unloaded).collect();
    let failures: Vec<Value> = snapshot
        .failures
        .iter()
        .map(|failure| json!({ "name": failure.name, "state": "failed", "reason": failure.reason }))
        .collect();
    json!({ "plugins": plugins, "instances": instances, "failures": failures })
}

fn describe(mount: &Mount) -> Value {
    let Mount { instance, access, .. } = mount;
    let routes: Vec<Value> = instance
        .routes
        .iter()
        .map(|route| {
            let class = format!("{:?}", route.class).to_lowercase();
            json!({ "path": route.path, "methods": route.methods, "class": class })
        })
        .collect();
    let access = match access {
        Access::Open | Access::OpenByDefault => "none",
        Access::Keyed(_) => "key",
        Access::Session(_) => "session",
    };
    let mut description = json!({
        "name": instance.name,
        "plugin": instance.library.name,
        "version": instance.library.version,
        "plugin_api": instance.library.api_version,
        "sha256": instance.library.sha256,
        "state": instance.state().name(),
        "mount": instance.mount(),
        "access": access,
        "requests": instance.requests.get(),
        "routes": routes,
    });
    if let Some(reason) = instance.failure() {
        description["reason"] = reason.into();
    }
    description
}
