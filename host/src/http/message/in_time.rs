//! Waits until a deadline.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tokio::time::{Instant, sleep_until};

/// The result of `call`, or `None` if it is not complete by `deadline`. Most calls complete immediately, and then no
/// timer is created.
pub(crate) async fn in_time<T>(deadline: Instant, mut call: impl Future<Output = T> + Unpin) -> Option<T> {
    let mut timer = None;
    poll_fn(|context| match Pin::new(&mut call).poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => {
            let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            timer.as_mut().poll(context).map(|()| None)
        }
    })
    .await
}
