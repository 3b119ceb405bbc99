//! Guards the stream of a plugin's answer against panics.

use std::pin::Pin;
use std::task::Poll;

use abi_stable::std_types::{ROption, RResult};
use async_ffi::{FfiContext, FfiPoll};
use futures_core::Stream;

use crate::abi::response::{RawStream, RawStreamItem};
use crate::guard::GuardedStream;

/// A plugin's stream whose calls are guarded.
pub(crate) struct StreamAdapter<S> {
    stream: Pin<Box<GuardedStream<S>>>,
}

impl<S> StreamAdapter<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream: Box::pin(GuardedStream::new(stream)) }
    }
}

impl<S: Stream<Item = Result<Vec<u8>, String>> + Send> RawStream for StreamAdapter<S> {
    fn poll_next(&mut self, context: &mut FfiContext<'_>) -> FfiPoll<RawStreamItem> {
        let polled = context.with_context(|context| self.stream.as_mut().poll_next(context));
        match polled {
            Poll::Pending => FfiPoll::Pending,
            Poll::Ready(None) => FfiPoll::Ready(ROption::RNone),
            Poll::Ready(Some(item)) => FfiPoll::Ready(ROption::RSome(match item {
                Ok(Ok(piece)) => RResult::ROk(piece.into()),
                Ok(Err(error)) => RResult::RErr(error.into()),
                Err(panic) => RResult::RErr(panic.text()),
            })),
        }
    }
}
