//! The host's own routes: `/healthz`, `/readyz`, `/plugins`, `/metrics`, and those that change the loaded instances.

use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::inventory;
use super::metrics::{self, Gauges};
use super::orders::{Order, OrderError, Task};
use super::readiness::Readiness;
use super::snapshot::Snapshot;
use crate::http::gate::credentials::{self, KeyCheck};
use crate::http::message::problem::{ProblemType, problem, problem_with, retry_later};
use crate::http::message::response::{self, AnswerBody};

const READ: &str = "GET, HEAD, OPTIONS";
const CHANGE: &str = "POST, OPTIONS";

/// The host's own routes.
pub(crate) struct Control {
    orders: UnboundedSender<Order>,
    readiness: Readiness,
}

impl Control {
    /// All of them; `*` stands for the name of an instance.
    pub(crate) const ROUTES: &[&'static str] =
        &["/healthz", "/readyz", "/plugins", "/metrics", "/reload/*", "/load/*", "/unload/*"];

    /// Sends requested changes to `orders`.
    pub(crate) fn new(orders: UnboundedSender<Order>) -> Self {
        Self { orders, readiness: Readiness::default() }
    }

    /// The route of a path, if it is one of the host's own.
    pub(crate) fn route(path: &str) -> Option<&'static str> {
        Self::ROUTES.iter().copied().find(|route| match route.strip_suffix('*') {
            // A segment that cannot be an instance's name matches no route.
            Some(prefix) => {
                path.strip_prefix(prefix).is_some_and(|name| !name.is_empty() && !name.contains('/'))
            }
            None => *route == path,
        })
    }

    /// Answers a request for one of the host's own routes.
    pub(crate) async fn answer(
        &self,
        gauges: Gauges<'_>,
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
            return problem_with(ProblemType::MethodNotAllowed, &detail, "allow", allow);
        }
        match route {
            "/healthz" => return response::json(StatusCode::OK, &json!({ "status": "ok" })),
            "/readyz" => return self.readiness.answer(snapshot).await,
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
            METRICS => metrics::page(gauges, snapshot).await,
            _ => response::json(StatusCode::OK, &inventory::plugins(snapshot)),
        };
        response.body_mut().set_known(true);
        response
    }

    /// Requests a change. It is carried out even if the client disconnects before the answer.
    async fn change(&self, task: Task) -> Response<AnswerBody> {
        let (reply, done) = oneshot::channel();
        if self.orders.send(Order { task, reply: Some(reply) }).is_err() {
            return retry_later(ProblemType::Stopping, "the host is stopping");
        }
        match done.await {
            Ok(Ok(report)) => response::json(StatusCode::OK, &report.to_json()),
            Ok(Err(refusal)) => {
                let kind = match refusal {
                    OrderError::Unknown(_) => ProblemType::UnknownInstance,
                    OrderError::State(_) => ProblemType::WrongState,
                    OrderError::Invalid(_) => ProblemType::InvalidConfiguration,
                };
                problem(kind, &refusal.to_string())
            }
            Err(_) => retry_later(ProblemType::Stopping, "the host is stopping"),
        }
    }
}

/// The route that has a key of its own beside those of `[auth]` that open all.
const METRICS: &str = "/metrics";

fn check_key(snapshot: &Snapshot, route: &str, parts: &Parts) -> Result<(), Box<Response<AnswerBody>>> {
    let auth = &snapshot.config.auth;
    let (keys, whose) = match route {
        METRICS => (vec![&auth.keys, &auth.metrics_keys], "[auth] (apikey or metrics_apikey)"),
        _ => (vec![&auth.keys], "[auth]"),
    };
    if keys.iter().all(|keys| keys.is_empty()) {
        let detail = format!("{route} needs a key of {whose}, and none is configured");
        return Err(Box::new(problem(ProblemType::NoKeyConfigured, &detail)));
    }
    let checks = keys.iter().map(|keys| credentials::header_key(keys, &parts.headers, false));
    let presented = checks.reduce(KeyCheck::or).unwrap_or(KeyCheck::Absent);
    if presented != KeyCheck::Valid {
        let detail = format!("a key of {whose} is needed: as `Authorization: Bearer` or `X-Custom-Auth`");
        let challenge = "Bearer realm=\"pserve\"";
        let mut refused = problem_with(ProblemType::KeyRequired, &detail, "www-authenticate", challenge);
        refused.extensions_mut().insert(presented.misses());
        return Err(Box::new(refused));
    }
    Ok(())
}
