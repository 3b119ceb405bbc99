//! Streamed bodies: that of a plugin's own answer, guarded against panics, and that of another plugin's.

use std::pin::Pin;
use std::task::{Context, Poll};

use abi_stable::std_types::{ROption, RResult};
use async_ffi::{ContextExt, FfiContext, FfiPoll};
use futures_core::Stream;

use crate::abi::response::{RawStream, RawStreamBox, RawStreamItem};
use crate::guard::{GuardedStream, guard};

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

/// Reads another plugin's stream. Boxed, so that the reader can be moved.
pub(crate) struct RawStreamReader(Option<Box<RawStreamBox>>);

impl RawStreamReader {
    pub(crate) fn new(stream: RawStreamBox) -> Self {
        Self(Some(Box::new(stream)))
    }
}

impl Stream for RawStreamReader {
    type Item = Result<Vec<u8>, String>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(stream) = &mut self.0 else { return Poll::Ready(None) };
        let item = match guard(|| context.with_ffi_context(|context| stream.poll_next(context))) {
            Ok(FfiPoll::Pending) => return Poll::Pending,
            Ok(FfiPoll::Ready(ROption::RSome(RResult::ROk(piece)))) => {
                return Poll::Ready(Some(Ok(piece.into())));
            }
            Ok(FfiPoll::Ready(ROption::RNone)) => None,
            Ok(FfiPoll::Ready(ROption::RSome(RResult::RErr(error)))) => Some(Err(error.into())),
            Ok(FfiPoll::Panicked) => Some(Err("panicked".to_owned())),
            Err(panic) => Some(Err(panic.to_string())),
        };
        discard(self.0.take());
        Poll::Ready(item)
    }
}

impl Drop for RawStreamReader {
    fn drop(&mut self) {
        discard(self.0.take());
    }
}

/// Drops the other plugin's stream; a panic in it goes no further.
fn discard(stream: Option<Box<RawStreamBox>>) {
    let _ = guard(move || drop(stream));
}
