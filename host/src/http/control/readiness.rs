//! `/readyz`: whether every instance can serve.

use std::time::Duration;

use futures_util::future::join_all;
use hyper::{Response, StatusCode};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::snapshot::Snapshot;
use crate::http::message::problem::{ProblemType, retry_later};
use crate::http::message::response::{self, AnswerBody};

/// How long an answer of `/readyz` is cached: the route is public and queries the plugins, which query their servers.
const MAX_AGE: Duration = Duration::from_millis(250);

/// The cached health of the instances.
#[derive(Default)]
pub(super) struct Readiness {
    known: Mutex<Option<(Instant, State)>>,
}

/// The result of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Ready,
    /// These instances serve only a part of their requests. The host is still ready, because the other requests are
    /// served.
    InPart(Vec<String>),
    Not,
}

impl Readiness {
    /// Queries every instance, or answers from the cache.
    pub(super) async fn answer(&self, snapshot: &Snapshot) -> Response<AnswerBody> {
        match self.ask(snapshot).await {
            State::Ready => response::json(StatusCode::OK, &json!({ "status": "ready" })),
            // If a load balancer removed this host, it would also remove what works, and on every host alike.
            State::InPart(instances) => {
                let status = "ready in part; the log says which part is not available";
                response::json(StatusCode::OK, &json!({ "status": status, "instances": instances }))
            }
            State::Not => retry_later(ProblemType::NotReady, "not ready; the log says why"),
        }
    }

    async fn ask(&self, snapshot: &Snapshot) -> State {
        // Held while the plugins are queried, so that concurrent requests wait for that answer.
        let mut known = self.known.lock().await;
        if let Some((when, readiness)) = &*known
            && when.elapsed() < MAX_AGE
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
            (false, _) => State::Not,
            (true, true) => State::Ready,
            (true, false) => State::InPart(in_part),
        };
        let before = known.take().map(|(_, before)| before);
        // Logged once per change: probes come every few seconds.
        if before.as_ref() != Some(&readiness) {
            for (instance, state, reason) in reasons {
                tracing::warn!(instance, reason, "{state}");
            }
            if readiness == State::Ready && before.is_some() {
                tracing::info!("ready again");
            }
        }
        *known = Some((Instant::now(), readiness.clone()));
        readiness
    }
}
