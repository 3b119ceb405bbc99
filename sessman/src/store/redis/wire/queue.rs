//! What waits to be sent, and who waits for an answer.

use std::collections::VecDeque;

use tokio::io::WriteHalf;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::store::redis::reply::Answer;
use crate::store::redis::stream::Stream;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::redis) enum Lost {
    /// None came in time.
    Late,
    /// The connection ended.
    Broken,
    /// What came is no answer.
    Malformed,
}

/// What comes of a command.
pub(super) type Outcome = Result<Answer, Lost>;

/// What calls and the task say to each other.
#[derive(Default)]
pub(super) struct Queue {
    /// Commands that nobody has begun to send.
    pub(super) unsent: Vec<u8>,
    /// For each command that has no answer yet, in their order.
    pub(super) waiting: VecDeque<Waiting>,
    /// Whether somebody will send what is unsent: a call, or the task.
    pub(super) is_led: bool,
    /// Whether it is the task, which goes on where a call could not.
    pub(super) is_left: bool,
    /// When the task looks for calls that are late, or that others wait for; no deadline is before it.
    pub(super) look_at: Option<Instant>,
    /// While calls wait: when the first of them began to, or the last answer came.
    pub(super) went_on: Option<Instant>,
    /// Set when it takes no more commands.
    pub(super) end: Option<Lost>,
}

impl Queue {
    /// Has the task look at `moment` at the latest; says whether it meant to do so later.
    pub(super) fn look_by(&mut self, moment: Instant) -> bool {
        let is_sooner = self.look_at.is_none_or(|look_at| moment < look_at);
        if is_sooner {
            self.look_at = Some(moment);
        }
        is_sooner
    }
}

pub(super) struct Waiting {
    /// `None` once it is late: its answer is nobody's, and still has its place.
    pub(super) sender: Option<oneshot::Sender<Outcome>>,
    pub(super) deadline: Instant,
}

/// What is being sent.
pub(super) struct Sending {
    pub(super) half: WriteHalf<Box<dyn Stream>>,
    pub(super) bytes: Vec<u8>,
    pub(super) sent: usize,
}
