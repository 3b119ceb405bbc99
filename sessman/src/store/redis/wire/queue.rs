//! The queue of a connection: unsent commands, and calls that wait for a reply.

use std::collections::VecDeque;

use tokio::io::WriteHalf;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::store::redis::reply::Answer;
use crate::store::redis::stream::Stream;

/// Why there is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::redis) enum Lost {
    /// It missed the deadline.
    Late,
    /// The connection ended.
    Broken,
    /// The bytes are not the Redis protocol.
    Malformed,
}

/// The result of a command.
pub(super) type Outcome = Result<Answer, Lost>;

/// State shared by the calls and the task.
#[derive(Default)]
pub(super) struct Queue {
    /// Commands that are not being sent yet.
    pub(super) unsent: Vec<u8>,
    /// For each command without a reply, in order.
    pub(super) waiting: VecDeque<Waiting>,
    /// Whether a leader, a call or the task, will send what is queued.
    pub(super) is_led: bool,
    /// Whether that is the task, which took over from a call.
    pub(super) is_left: bool,
    /// When the task checks for late or stalled calls; no deadline is earlier.
    pub(super) look_at: Option<Instant>,
    /// While calls wait: when the first of them began, or the last reply came.
    pub(super) went_on: Option<Instant>,
    /// Set when it accepts no more commands.
    pub(super) end: Option<Lost>,
}

impl Queue {
    /// Schedules the task's check at `moment` at the latest; returns whether it was later before.
    pub(super) fn look_by(&mut self, moment: Instant) -> bool {
        let is_sooner = self.look_at.is_none_or(|look_at| moment < look_at);
        if is_sooner {
            self.look_at = Some(moment);
        }
        is_sooner
    }
}

pub(super) struct Waiting {
    /// `None` once it is late: its reply is discarded, but still keeps its place in the order.
    pub(super) sender: Option<oneshot::Sender<Outcome>>,
    pub(super) deadline: Instant,
}

/// What is being sent.
pub(super) struct Sending {
    pub(super) half: WriteHalf<Box<dyn Stream>>,
    pub(super) bytes: Vec<u8>,
    pub(super) sent: usize,
}
