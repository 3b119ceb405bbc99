//! What a connection is doing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;

/// What a connection is doing with its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// Nothing of a first request is there.
    New,
    /// It waits for another request.
    Idle,
    /// Some bytes of a request are there, and not yet all of its headers.
    Headers,
    /// A request is being answered.
    Busy,
}

/// What a connection is doing, shared between the stream below hyper, the service above it, and the admission that it
/// came by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Phase(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// A [`Stage`].
    stage: AtomicU8,
    /// Requests that are being answered: with HTTP/2 there may be several.
    under_way: AtomicUsize,
    /// An answer, or the end of one, waits for the client to take it.
    is_writing: AtomicBool,
    /// A request was answered before all of it was read.
    is_unread: AtomicBool,
    /// Who waits for bytes while nothing is counted. hyper asks for bytes once and then waits to be woken, so the
    /// end of a request must wake it: only its next question starts the keep-alive timer.
    reader: AtomicWaker,
}

impl Phase {
    /// What it is doing now.
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

    /// The first bytes of a request are there.
    pub(crate) fn begin_headers(&self) {
        self.set_stage(Stage::Headers);
    }

    /// Whether the client still has to take some of an answer.
    pub(crate) fn set_writing(&self, is_writing: bool) {
        self.0.is_writing.store(is_writing, Ordering::Release);
    }

    /// Has this task woken when the request that is being answered is done.
    pub(crate) fn wake_when_answered(&self, waker: &Waker) {
        self.0.reader.register(waker);
    }

    /// A request's headers are complete. Idle again when the guard is dropped, which is when its answer has been taken to
    /// be written.
    pub(crate) fn request(&self) -> RequestGuard {
        self.0.under_way.fetch_add(1, Ordering::AcqRel);
        self.set_stage(Stage::Busy);
        RequestGuard(self.clone())
    }

    /// Whether some bytes of a request are there, and not yet all of its headers.
    pub(crate) fn is_reading_headers(&self) -> bool {
        self.stage() == Stage::Headers
    }

    /// Whether nothing of a first request is there.
    pub(crate) fn is_new(&self) -> bool {
        self.stage() == Stage::New
    }

    /// Whether it waits for another request, after one at the least.
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_answering() && !self.is_unfinished()
    }

    /// Whether it waits for its first request, or for the rest of one.
    pub(crate) fn is_unfinished(&self) -> bool {
        matches!(self.stage(), Stage::New | Stage::Headers)
    }

    /// Whether a request is being answered, or the client has not taken all of an answer.
    pub(crate) fn is_answering(&self) -> bool {
        self.0.under_way.load(Ordering::Acquire) > 0 || self.0.is_writing.load(Ordering::Acquire)
    }

    /// Whether all that it asked for is answered, and the client has not taken it.
    pub(crate) fn is_untaken(&self) -> bool {
        self.0.under_way.load(Ordering::Acquire) == 0 && self.0.is_writing.load(Ordering::Acquire)
    }

    /// A request is answered, and not all of it was read: there may be more to come.
    pub(crate) fn leave_unread(&self) {
        self.0.is_unread.store(true, Ordering::Release);
    }

    /// Whether there may be more to come of a request that was answered.
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
