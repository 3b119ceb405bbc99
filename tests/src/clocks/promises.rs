//! Sessions that end when it was promised, by the clock of the node that began them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::Log;
use super::nodes::{Nodes, is_there, read};
use crate::clock::millis;
use crate::http::Client;

/// Where nobody cleans up, and where all nodes do so all the time.
pub(super) const INSTANCES: [&str; 2] = ["plain", CLEANED];
pub(super) const CLEANED: &str = "cleaned";

/// Seconds that a short session lives.
const SHORT: u64 = 3;

/// Follows a short session on its node to its end: it must come neither before `expires_at` nor after.
pub(super) fn keep(nodes: &Nodes, node: usize, instance: &'static str, log: &Log) {
    let client = nodes.client(node);
    // Another session of the node shows what time it is there.
    let Some(witness) = begin(client, instance, 3_600, log) else { return };
    let Some(short) = begin_short(client, instance, log) else { return };
    loop {
        let Some(before) = time(client, instance, &witness.id, log) else { return };
        let status = read(client, instance, &short.id).status;
        let Some(after) = time(client, instance, &witness.id, log) else { return };
        let left =
            |now: i64| format!("node {node}, {instance}: {} ms before expires_at", short.expires_at - now);
        match status {
            200 if before >= short.expires_at => return log.fault("alive late", || left(before)),
            200 => {}
            404 if after < short.expires_at => {
                let kind = if instance == CLEANED { "ended early by a clean-up" } else { "ended early" };
                return log.fault(kind, || left(after));
            }
            404 => return,
            other => return log.unexpected(other, "a short session"),
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Begins a short session: every other time a long one becomes short, by its ttl or by an idle timeout, while it lives.
fn begin_short(client: &Client, instance: &str, log: &Log) -> Option<Begun> {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let terms = match TURN.fetch_add(1, Ordering::Relaxed) % 4 {
        0 | 2 => return begin(client, instance, SHORT, log),
        // Reading it is activity: with an idle timeout it would live as long as this looks.
        1 => json!({ "ttl_seconds": SHORT }),
        _ => json!({ "ttl_seconds": SHORT, "idle_seconds": 600, "labels": { "short": "yes" } }),
    };
    let Begun { id, .. } = begin(client, instance, 3_600, log)?;
    let changed = client.with("X-Session-Id", &id).post(&format!("/{instance}/touch"), terms);
    if changed.status != 200 {
        log.unexpected(changed.status, "touch with other terms");
        return None;
    }
    Some(Begun { id, expires_at: millis(&changed.member("expires_at")) })
}

/// A session that was answered.
struct Begun {
    id: String,
    expires_at: i64,
}

/// Begins a session, which must be there right afterwards.
fn begin(client: &Client, instance: &str, ttl: u64, log: &Log) -> Option<Begun> {
    let answer = client.post(&format!("/{instance}/new"), json!({ "ttl_seconds": ttl, "user": "ann" }));
    if answer.status != 201 {
        log.unexpected(answer.status, "new");
        return None;
    }
    let begun = Begun { id: answer.member("session_id"), expires_at: millis(&answer.member("expires_at")) };
    if !is_there(client, instance, &begun.id) {
        log.fault("answered, not there", || format!("{instance}: a session of {ttl} s"));
        return None;
    }
    Some(begun)
}

/// What time it is on the node.
fn time(client: &Client, instance: &str, witness: &str, log: &Log) -> Option<i64> {
    let touched = client.post(&format!("/{instance}/touch"), json!({ "token": witness }));
    match touched.status {
        200 => Some(millis(&touched.member("last_activity"))),
        404 => {
            log.fault("ended early", || format!("{instance}: a session of an hour"));
            None
        }
        other => {
            log.unexpected(other, "touch");
            None
        }
    }
}

/// Sessions of an hour, one of each node and instance.
pub(super) fn begin_hour(nodes: &Nodes, log: &Log) -> Vec<(&'static str, String)> {
    let places = (0..nodes.count()).flat_map(|node| INSTANCES.map(|instance| (node, instance)));
    places
        .filter_map(|(node, instance)| {
            let begun = begin(nodes.client(node), instance, 3_600, log)?;
            (!nodes.find(instance, &begun.id).contains(&false)).then_some((instance, begun.id)).or_else(
                || {
                    log.fault("ended early", || format!("{instance}: a session of an hour of node {node}"));
                    None
                },
            )
        })
        .collect()
}

/// They live on all nodes until they are ended on one of them.
pub(super) fn end_hour(nodes: &Nodes, sessions: &[(&'static str, String)], log: &Log) {
    for (number, (instance, id)) in sessions.iter().enumerate() {
        if nodes.find(instance, id).contains(&false) {
            log.fault("ended early", || format!("{instance}: a session of an hour, on a node"));
        }
        let ended = nodes.client(number + 1).post(&format!("/{instance}/end"), json!({ "token": id }));
        if ended.status != 200 {
            log.unexpected(ended.status, "end of a session of an hour");
        } else if nodes.find(instance, id).contains(&true) {
            log.fault("alive after its end", || format!("{instance}: a session of an hour"));
        }
    }
}
