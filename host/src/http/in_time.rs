//! Waiting no longer than until a moment.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tokio::time::{Instant, timeout_at};

/// What `call` comes to, if it does so until `deadline`. Most calls are done at once, and then no timer is made.
pub(crate) async fn in_time<T>(deadline: Instant, mut call: impl Future<Output = T> + Unpin) -> Option<T> {
    let at_once = poll_fn(|context| Poll::Ready(Pin::new(&mut call).poll(context))).await;
    match at_once {
        Poll::Ready(done) => Some(done),
        Poll::Pending => Box::pin(timeout_at(deadline, call)).await.ok(),
    }
}
