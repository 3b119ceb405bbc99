//! The phase of a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;

/// What a connection is doing with its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// No byte of a first request has arrived.
    New,
    /// It waits for another request.
    Idle,
    /// A part of a request's headers has arrived.
    Headers,
    /// A request is being answered.
    Busy,
}

/// The phase of a connection, shared between the stream below hyper, the service above it, and admission control.
#[derive(Debug, Clone, Default)]
pub(crate) struct Phase(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// A [`Stage`].
    stage: AtomicU8,
    /// Number of requests that are being answered: with HTTP/2 there may be several.
    under_way: AtomicUsize,
    /// An answer, or its end, waits for the client to read it.
    is_writing: AtomicBool,
    /// A request was answered before all of it was read.
    is_unread: AtomicBool,
    /// The task that waits for bytes while no deadline runs. hyper polls for bytes once and then waits to be woken, so
    /// the end of a request must wake it: only its next poll starts the keep-alive timer.
    reader: AtomicWaker,
}

impl Phase {
    /// The current stage.
    pub(crate) fn stage(&self) -> Stage {
        match self.0.stage.load(Ordering::Acquire) {
            0 => Stage::New,
            1 => Stage::Idle,
            2 => Stage::Headers,
            _ => Stage::Busy,
        }
    }

    fn set_stage(&self, stage: Stage) {
        self.0.stage.store(stage as u8, Ordering::Release);
    }

    /// Reports that the first bytes of a request have arrived.
    pub(crate) fn begin_headers(&self) {
        self.set_stage(Stage::Headers);
    }

    /// Reports whether the client still has to read some of an answer.
    pub(crate) fn set_writing(&self, is_writing: bool) {
        self.0.is_writing.store(is_writing, Ordering::Release);
    }

    /// Registers a task to wake when the current request is answered.
    pub(crate) fn wake_when_answered(&self, waker: &Waker) {
        self.0.reader.register(waker);
    }

    /// Reports that a request's headers are complete. The connection is idle again when the guard is dropped, which
    /// happens when its answer was handed over for writing.
    pub(crate) fn request(&self) -> RequestGuard {
        self.0.under_way.fetch_add(1, Ordering::AcqRel);
        self.set_stage(Stage::Busy);
        RequestGuard(self.clone())
    }

    /// Whether a part of a request's headers has arrived.
    pub(crate) fn is_reading_headers(&self) -> bool {
        self.stage() == Stage::Headers
    }

    /// Whether no byte of a first request has arrived.
    pub(crate) fn is_new(&self) -> bool {
        self.stage() == Stage::New
    }

    /// Whether it waits for another request, after at least one.
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_answering() && !self.is_unfinished()
    }

    /// Whether it waits for its first request, or for the rest of one.
    pub(crate) fn is_unfinished(&self) -> bool {
        matches!(self.stage(), Stage::New | Stage::Headers)
    }

    /// Whether a request is being answered, or the client has not read all of an answer.
    pub(crate) fn is_answering(&self) -> bool {
        self.0.under_way.load(Ordering::Acquire) > 0 || self.0.is_writing.load(Ordering::Acquire)
    }

    /// Whether all requests are answered, and the client has not read the answers.
    pub(crate) fn is_untaken(&self) -> bool {
        self.0.under_way.load(Ordering::Acquire) == 0 && self.0.is_writing.load(Ordering::Acquire)
    }

    /// Reports that a request was answered before all of it was read, so that more of it may arrive.
    pub(crate) fn leave_unread(&self) {
        self.0.is_unread.store(true, Ordering::Release);
    }

    /// Whether more of an answered request may arrive.
    pub(crate) fn is_unread(&self) -> bool {
        self.0.is_unread.load(Ordering::Acquire)
    }
}

/// Lives as long as a request is being answered.
#[derive(Debug)]
pub(crate) struct RequestGuard(Phase);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let Self(phase) = self;
        phase.0.under_way.fetch_sub(1, Ordering::AcqRel);
        phase.set_stage(Stage::Idle);
        phase.0.reader.wake();
    }
}
