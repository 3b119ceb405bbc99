//! `events`: what happens to sessions, as server-sent events.

use std::time::Duration;

use plugin_api::{Class, Response};
use serde_json::json;
use sessman::events::{Event, Watch};
use tokio::time::{Interval, MissedTickBehavior};

use super::exchange::Exchange;
use super::spec::{Returns, Spec};
use crate::problem::Problem;
use crate::problem_type::ProblemType;

/// Limit of concurrent watchers.
const MAX_WATCHERS: usize = 64;
/// Interval of comments that keep the connection from looking idle, and detect whether the client is still connected.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// `events`
pub(super) const ROUTE: Spec =
    Spec::new("events", &["GET"], Class::Admin, Returns::Events, |exchange| Box::pin(answer(exchange)))
        .described("What happens to sessions, as server-sent events", &["watchEvents"]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    exchange.parameters()?;
    let events = exchange.service.sessions.events();
    if events.watchers() >= MAX_WATCHERS {
        return Err(Problem::unavailable(
            ProblemType::TooManyWatchers,
            "too many watch the events; try again",
        ));
    }
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stream = futures_util::stream::unfold((events.watch(), heartbeat), next);
    exchange.audit("watches the events");
    Ok(Response::stream(200, stream)
        .with_header("content-type", "text/event-stream")
        .with_header("cache-control", "no-store")
        // nginx would buffer the events otherwise.
        .with_header("x-accel-buffering", "no"))
}

type Watching = (Watch, Interval);

async fn next((mut watch, mut heartbeat): Watching) -> Option<(Result<Vec<u8>, String>, Watching)> {
    let piece = tokio::select! {
        // First, because after the end the timer's runtime may be gone.
        biased;
        event = watch.next() => text(&*event?),
        // The first tick completes immediately, and starts the answer.
        _ = heartbeat.tick() => ":\n\n".to_owned(),
    };
    Some((Ok(piece.into_bytes()), (watch, heartbeat)))
}

fn text(event: &Event) -> String {
    let data = json!({
        "handle": event.handle.map(|handle| handle.to_string()),
        "user_id": event.user_id,
        "at": event.at.to_string(),
    });
    format!("event: {}\ndata: {data}\n\n", event.kind.name())
}
