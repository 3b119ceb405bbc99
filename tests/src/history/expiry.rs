//! Sessions that run out of time, each of which is changed just before that: it has ended or it goes on, for good.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::clients::{Random, Recorded, locked, send};
use super::model::own;
use super::{Action, Answered, History, Operation, State, check};
use crate::http::Client;
use crate::races::StopOnDrop;

/// Sessions at a time.
const SESSIONS: usize = 8;
/// Their time to live, in seconds.
const TTL: u64 = 1;
/// A clock that follows another one is so much faster at most while a session lives.
const MARGIN: Duration = Duration::from_millis(20);
/// The change comes so long before the end at most.
const LATE_MILLIS: u64 = 500;
/// Between two reads.
const PAUSE: Duration = Duration::from_millis(15);

/// What becomes of a change that is decided before the end and comes to the store after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// The store does not make it.
    Refused,
    /// It is undone before it is answered: who reads meanwhile may see it.
    Undone,
}

/// So many rounds of sessions at the hosts, while `meanwhile` runs again and again; then checks what was seen.
pub(super) fn run(bases: &[String], rounds: usize, late: Late, meanwhile: impl Fn() + Sync) -> Recorded {
    let histories: Mutex<Vec<Vec<Operation>>> = Mutex::default();
    let (stop, started) = (AtomicBool::new(false), Instant::now());
    thread::scope(|scope| {
        let (stop, meanwhile) = (&stop, &meanwhile);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                meanwhile();
                thread::sleep(Duration::from_millis(1));
            }
        });
        let stop = StopOnDrop(stop);
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|number| {
                let histories = &histories;
                scope.spawn(move || {
                    let mut random = Random::new(number as u64);
                    // What is held up at the node that writes holds up no read of the other one, if there is one.
                    let clients = [&bases[0], &bases[bases.len() - 1]].map(|base| Client::new(base));
                    for _ in 0..rounds {
                        let history = life(&clients, started, random.below(LATE_MILLIS));
                        locked(histories).extend(history.map(|history| told(history, late)));
                    }
                })
            })
            .collect();
        for session in sessions {
            session.join().expect("no client panicked");
        }
        drop(stop);
    });
    let histories = histories.into_inner().expect("no client panicked");
    let mut recorded = Recorded {
        sessions: histories.len(),
        operations: histories.iter().map(Vec::len).sum(),
        unsure: 0,
        answers: BTreeMap::new(),
        violations: Vec::new(),
    };
    for operations in histories {
        for operation in &operations {
            let kind = match &operation.answered {
                Some(Answered::Session { .. }) => "200",
                Some(_) => "404",
                None => "none",
            };
            *recorded.answers.entry(kind.to_owned()).or_default() += 1;
        }
        // One is the end of its time, which nobody asks for.
        recorded.unsure += operations.iter().filter(|operation| operation.answered.is_none()).count() - 1;
        recorded.violations.extend(check(&History { start: State::new(), operations }).err());
    }
    recorded
}

/// What must be explained.
///
/// A change that is undone may have been made before the end, where others see it, and is answered after it: then it was made or
/// not, and the session has ended by the time of the answer.
pub(super) fn told(mut operations: Vec<Operation>, late: Late) -> Vec<Operation> {
    let is_end = |operation: &Operation| operation.action == Action::GiveWay(None);
    let is_change = |operation: &&mut Operation| matches!(operation.action, Action::Replace(..));
    let end = operations.iter().find(|operation| is_end(operation)).map(|end| end.begun);
    let Some(change) = operations.iter_mut().find(is_change).filter(|_| late == Late::Undone) else {
        return operations;
    };
    let mut gone = None;
    let answered = change.ended;
    if change.answered == Some(Answered::Missing) {
        gone = Some(Operation { action: Action::Get, ..change.clone() });
        (change.ended, change.answered) = (None, None);
    }
    if let (Some(end), Some(answered)) = (end, answered) {
        let is_meanwhile = |operation: &Operation| operation.begun >= end && operation.begun <= answered;
        let is_seen = |operation: &Operation| matches!(operation.answered, Some(Answered::Session { .. }));
        operations.retain(|operation| {
            operation.action != Action::Get || !is_seen(operation) || !is_meanwhile(operation)
        });
    }
    operations.extend(gone);
    operations
}

/// A session from its beginning to when it has ended in any case; `None` where it did not begin.
fn life(clients: &[Client; 2], started: Instant, late: u64) -> Option<Vec<Operation>> {
    let nanos = |at: Instant| u64::try_from(at.duration_since(started).as_nanos()).unwrap_or(u64::MAX);
    let asked = Instant::now();
    let begun = clients[0].try_send("POST", "/sessman/new", &json!({ "ttl_seconds": TTL }).to_string());
    let id = begun.ok().filter(|answer| answer.status == 201)?.member("session_id");
    let end = asked + Duration::from_secs(TTL);
    let operations: Mutex<Vec<Operation>> = Mutex::default();
    let ask = |client: &Client, action: Action| {
        let begun = nanos(Instant::now());
        let sent = send(client, &id, &action, "");
        let ended = nanos(Instant::now());
        let answered = sent.ok().and_then(|answer| match answer.status {
            200 => {
                let mut shown = answer.json();
                let version = shown["version"].as_u64().unwrap_or(0);
                Some(Answered::Session {
                    incarnation: 0,
                    version,
                    data: shown["data"].take(),
                    own: own(&mut shown),
                })
            }
            404 => Some(Answered::Missing),
            _ => None,
        });
        if answered.is_some() || action != Action::Get {
            let ended = answered.is_some().then_some(ended);
            locked(&operations).push(Operation { action, id: 0, begun, ended, answered });
        }
    };
    // Not before its time is up, counted from before it began.
    let begun = nanos(end.checked_sub(MARGIN).unwrap_or(end));
    let expiry = Operation { action: Action::GiveWay(None), id: 0, begun, ended: None, answered: None };
    locked(&operations).push(expiry);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(end.saturating_duration_since(Instant::now() + Duration::from_millis(late)));
            ask(&clients[0], Action::Replace(json!({ "n": 1 }), None));
        });
        // The other node reads, if there is one.
        thread::sleep(end.saturating_duration_since(Instant::now() + Duration::from_millis(LATE_MILLIS)));
        while end.elapsed() < Duration::from_millis(1_000 * TTL + 300) {
            ask(&clients[1], Action::Get);
            thread::sleep(PAUSE);
        }
    });
    Some(operations.into_inner().expect("no client panicked"))
}
