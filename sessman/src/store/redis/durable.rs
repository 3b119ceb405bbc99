//! Writes that are acknowledged once replicas have them: so a failover does not bring back ended sessions and revoked ids.
//!
//! `WAIT` counts the replicas that have what its own connection has written, and blocks everything after it on that
//! connection. So these writes have a connection of their own. While one `WAIT` is in progress, new writes are queued, and
//! then sent as a group with a single `WAIT`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::failure::Trouble;
use super::reply::Answer;

/// Timeout of `WAIT`. A write waits at most for the `WAIT` before its own, and for its own: both fit into the deadline of a
/// call.
pub(super) const REPLICA_LIMIT: Duration = Duration::from_millis(700);

/// The queue of writes.
#[derive(Default)]
pub(super) struct Durable {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Write>,
    /// Whether a task is sending them.
    is_sent: bool,
}

/// A write, and the channel of its reply.
pub(super) struct Write {
    /// The reply is that of the last command; those before belong to the same write.
    pub(super) commands: Vec<Cmd>,
    pub(super) deadline: Instant,
    pub(super) sender: oneshot::Sender<Result<Answer, Trouble>>,
}

impl Durable {
    /// Adds a write; returns whether the caller has to send [the queued writes](Self::next).
    pub(super) fn add(&self, write: Write) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.push(write);
        !std::mem::replace(&mut state.is_sent, true)
    }

    /// The writes to send next. If there are none, sending ends, and the caller of the next [`add`](Self::add) sends again.
    pub(super) fn next(&self) -> Vec<Write> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writes = std::mem::take(&mut state.waiting);
        // Writes whose callers are gone are skipped.
        writes.retain(|write| !write.sender.is_closed());
        state.is_sent = !writes.is_empty();
        writes
    }
}

/// The command that waits for replicas.
pub(super) fn wait(replicas: u8) -> Cmd {
    let mut wait = redis::cmd("WAIT");
    wait.arg(replicas).arg(u64::try_from(REPLICA_LIMIT.as_millis()).unwrap_or(u64::MAX));
    wait
}

/// How many replicas have what was written.
pub(super) fn count(answer: &Answer) -> Result<i64, Trouble> {
    match answer {
        Ok(Value::Int(count)) => Ok(*count),
        Ok(_) => Ok(0),
        Err(refusal) if refusal.code == "NOPERM" => Err(Trouble::Permanent(format!(
            "{} does not let this user wait for replicas (wait_replicas): allow the user WAIT",
            refusal.server
        ))),
        Err(refusal) => Err(refusal.clone().into()),
    }
}
