//! Writes that are answered once replicas have them: where ended sessions and replaced ids must not come back with a
//! failover.
//!
//! `WAIT` counts the replicas that have what its own connection has written, and everything behind it on that connection
//! stands still meanwhile. So these writes have a connection of their own; and while one `WAIT` is out, those that come gather
//! behind it, and leave together with a single `WAIT` for all of them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::failure::Trouble;
use super::reply::Answer;

/// How long replicas are waited for. A write waits at most for the `WAIT` before its own, and for its own: both fit into the
/// time that a call has.
pub(super) const REPLICA_LIMIT: Duration = Duration::from_millis(700);

/// What waits to be sent.
#[derive(Default)]
pub(super) struct Durable {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Write>,
    /// Whether somebody sends what waits.
    is_sent: bool,
}

/// A write, and who waits for its answer.
pub(super) struct Write {
    /// The last of them is the one with the answer; what is before it belongs to it.
    pub(super) commands: Vec<Cmd>,
    pub(super) deadline: Instant,
    pub(super) sender: oneshot::Sender<Result<Answer, Trouble>>,
}

impl Durable {
    /// Adds a write; whether the caller has to see to it that [what waits](Self::next) is sent.
    pub(super) fn add(&self, write: Write) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.push(write);
        !std::mem::replace(&mut state.is_sent, true)
    }

    /// What is to be sent next; nothing once all is sent, and then the next one who adds something has to see to it.
    pub(super) fn next(&self) -> Vec<Write> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writes = std::mem::take(&mut state.waiting);
        // What nobody waits for any more is not begun.
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
