//! Keeps a panic from crossing the boundary: unwinding out of a function that the other side called would abort the
//! process.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use abi_stable::std_types::RString;
use futures_core::Stream;

/// A panic that was caught. Its text is for the log, not for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic(pub String);

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.0)
    }
}

impl std::error::Error for Panic {}

impl Panic {
    /// The text that crosses the boundary.
    pub(crate) fn text(self) -> RString {
        self.to_string().into()
    }
}

/// Runs `call` and catches a panic in it, and also a panic while the first panic's payload is dropped.
///
/// # Errors
/// The panic's message.
pub fn guard<R>(call: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| Panic(describe(payload)))
}

fn describe(payload: Box<dyn Any + Send>) -> String {
    let message = match payload.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => payload.downcast_ref::<String>().cloned().unwrap_or_else(|| "(no message)".to_owned()),
    };
    if let Err(second) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        // A payload whose drop panics may hold another such payload: leaking it is the only safe way to stop.
        std::mem::forget(second);
    }
    message
}

pin_project_lite::pin_project! {
    /// A future whose panics, in `poll` and in drop, are caught.
    pub struct GuardedFuture<F> {
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for GuardedFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            discard(this.project().future);
        }
    }
}

impl<F> GuardedFuture<F> {
    /// Guards `future`.
    pub fn new(future: F) -> Self {
        Self { future: Some(future) }
    }
}

impl<F: Future> Future for GuardedFuture<F> {
    type Output = Result<F::Output, Panic>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut future = self.project().future;
        let polled = guard(|| future.as_mut().as_pin_mut().map(|future| future.poll(context)));
        let output = match polled {
            Ok(Some(Poll::Pending)) => return Poll::Pending,
            Ok(Some(Poll::Ready(output))) => Ok(output),
            Ok(None) => Err(Panic("polled after it was done".to_owned())),
            Err(panic) => Err(panic),
        };
        discard(future);
        Poll::Ready(output)
    }
}

pin_project_lite::pin_project! {
    /// A stream whose panics, in `poll_next` and in drop, are caught. A panic ends the stream.
    pub struct GuardedStream<S> {
        #[pin]
        stream: Option<S>,
    }

    impl<S> PinnedDrop for GuardedStream<S> {
        fn drop(this: Pin<&mut Self>) {
            discard(this.project().stream);
        }
    }
}

impl<S> GuardedStream<S> {
    /// Guards `stream`.
    pub fn new(stream: S) -> Self {
        Self { stream: Some(stream) }
    }
}

impl<S: Stream> Stream for GuardedStream<S> {
    type Item = Result<S::Item, Panic>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut stream = self.project().stream;
        let polled = guard(|| stream.as_mut().as_pin_mut().map(|stream| stream.poll_next(context)));
        let end = match polled {
            Ok(Some(Poll::Pending)) => return Poll::Pending,
            Ok(Some(Poll::Ready(Some(item)))) => return Poll::Ready(Some(Ok(item))),
            Ok(None | Some(Poll::Ready(None))) => None,
            Err(panic) => Some(Err(panic)),
        };
        discard(stream);
        Poll::Ready(end)
    }
}

/// Drops the pinned value in place. A panic is reported by the panic hook and is not propagated.
fn discard<T>(mut pinned: Pin<&mut Option<T>>) {
    let _ = guard(|| pinned.set(None));
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, StreamExt, stream};

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }

    #[test]
    fn a_panic_is_told_by_its_message() {
        assert_eq!(guard(|| 1), Ok(1));
        assert_eq!(guard(|| panic!("plain")), Err::<(), _>(Panic("plain".into())));
        assert_eq!(guard(|| panic!("with {}", 1)), Err::<(), _>(Panic("with 1".into())));
    }

    #[test]
    fn a_payload_whose_drop_panics_goes_no_further() {
        let caught = guard(|| std::panic::panic_any(Bomb));
        assert_eq!(caught, Err::<(), _>(Panic("(no message)".into())));
    }

    #[test]
    fn a_future_that_panics_in_poll_or_drop_goes_no_further() {
        let in_poll = GuardedFuture::new(async { panic!("in poll") });
        assert_eq!(in_poll.now_or_never(), Some(Err::<(), _>(Panic("in poll".into()))));
        let bomb = Bomb;
        let in_drop = GuardedFuture::new(async move {
            std::future::pending::<()>().await;
            drop(bomb);
        });
        assert_eq!(in_drop.now_or_never(), None);
    }

    #[test]
    fn a_stream_ends_after_a_panic() {
        let panics =
            GuardedStream::new(stream::iter([1, 2]).map(|item| if item == 2 { panic!("two") } else { item }));
        let items: Vec<_> = panics.collect().now_or_never().unwrap();
        assert_eq!(items, [Ok(1), Err(Panic("two".into()))]);
    }
}
