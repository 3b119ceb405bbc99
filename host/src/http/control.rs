//! The host's own routes: `/healthz`, `/readyz`, `/plugins`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::access::{self, Access};
use super::app::App;
use super::response::{self, AnswerBody, problem, problem_with};
use crate::config::ApiKeys;
use crate::plugin::{Instance, Registry};

/// How long an answer to `/readyz` stands: it is open to everybody and asks the plugins, which ask their servers.
const READINESS_AGE: Duration = Duration::from_millis(250);
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// The host's own routes.
pub(crate) struct Control {
    keys: ApiKeys,
    /// What `/plugins` says about the loaded files; it does not change.
    plugins: Value,
    readiness: Mutex<Option<(Instant, bool)>>,
}

impl Control {
    pub(crate) fn new(keys: ApiKeys, registry: &Registry) -> Self {
        let plugins = registry
            .libraries
            .iter()
            .map(|(path, library)| {
                json!({
                    "name": library.name,
                    "version": library.version,
                    "plugin_api": library.api_version,
                    "file": path.file_name().unwrap_or(path.as_os_str()).to_string_lossy(),
                    "sha256": library.sha256,
                })
            })
            .collect();
        Self { keys, plugins, readiness: Mutex::new(None) }
    }

    /// The route that a path is, if it is one of the host's own.
    pub(crate) fn route(path: &str) -> Option<&'static str> {
        ["/healthz", "/readyz", "/plugins"].into_iter().find(|route| *route == path)
    }

    /// Answers a request for one of the host's own routes.
    pub(crate) async fn answer(&self, app: &App, route: &str, parts: &Parts) -> Response<AnswerBody> {
        match parts.method {
            Method::GET | Method::HEAD => match route {
                "/healthz" => response::json(StatusCode::OK, &json!({ "status": "ok" })),
                "/readyz" => self.readyz(app).await,
                _ => self.plugins(app, parts),
            },
            Method::OPTIONS => {
                let mut response = response::empty(StatusCode::NO_CONTENT);
                response::allow(&mut response, ALLOW);
                response
            }
            _ => {
                let detail = format!("{route} takes {ALLOW}");
                problem_with(StatusCode::METHOD_NOT_ALLOWED, &detail, "allow", ALLOW)
            }
        }
    }

    async fn readyz(&self, app: &App) -> Response<AnswerBody> {
        if self.is_ready(app).await {
            response::json(StatusCode::OK, &json!({ "status": "ready" }))
        } else {
            problem_with(StatusCode::SERVICE_UNAVAILABLE, "not ready; the log says why", "retry-after", "1")
        }
    }

    async fn is_ready(&self, app: &App) -> bool {
        // Held while the plugins are asked, so that those who come meanwhile wait for that answer.
        let mut known = self.readiness.lock().await;
        if let Some((when, ready)) = *known
            && when.elapsed() < READINESS_AGE
        {
            return ready;
        }
        let before = known.map(|(_, ready)| ready);
        let health = join_all(app.instances().iter().map(|instance| instance.health())).await;
        let mut ready = app.failures().is_empty();
        for (instance, health) in app.instances().iter().zip(health) {
            if let Err(reason) = health {
                ready = false;
                // Once per change: probes come every few seconds.
                if before != Some(false) {
                    tracing::warn!(instance = instance.name, reason, "not ready");
                }
            }
        }
        if ready && before == Some(false) {
            tracing::info!("ready again");
        }
        *known = Some((Instant::now(), ready));
        ready
    }

    fn plugins(&self, app: &App, parts: &Parts) -> Response<AnswerBody> {
        if self.keys.is_empty() {
            return problem(
                StatusCode::FORBIDDEN,
                "/plugins needs the key of [auth], and none is configured",
            );
        }
        if !access::header_key(&self.keys, &parts.headers, false) {
            return problem_with(
                StatusCode::UNAUTHORIZED,
                "the key of [auth] is needed: as `Authorization: Bearer` or `X-Custom-Auth`",
                "www-authenticate",
                "Bearer realm=\"pserve\"",
            );
        }
        let instances: Vec<Value> = app.instances().iter().map(|instance| describe(instance)).collect();
        let failures: Vec<Value> = app
            .failures()
            .iter()
            .map(|failure| json!({ "name": failure.name, "state": "failed", "reason": failure.reason }))
            .collect();
        let body = json!({ "plugins": self.plugins, "instances": instances, "failures": failures });
        response::json(StatusCode::OK, &body)
    }
}

fn describe(instance: &Instance) -> Value {
    let routes: Vec<Value> = instance
        .routes
        .iter()
        .map(|route| {
            let class = format!("{:?}", route.class).to_lowercase();
            json!({ "path": route.path, "methods": route.methods, "class": class })
        })
        .collect();
    let access = match instance.access {
        Access::Open | Access::OpenByDefault => "none",
        Access::Keyed(_) => "key",
    };
    json!({
        "name": instance.name,
        "plugin": instance.plugin,
        "version": instance.version,
        "state": instance.state().name(),
        "mount": instance.mount,
        "access": access,
        "requests": instance.requests.load(Ordering::Relaxed),
        "routes": routes,
    })
}
