//! The rest of a request's body when its answer is ready (HTTP/1.1 and 1.0).
//!
//! A client that still writes into a closed connection gets a reset instead of the answer. So a small rest is read
//! before the answer is sent, and the connection is kept. After a larger one it is closed: the answer says so, and
//! [`crate::http::transport::linger`] reads what still arrives.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, EXPECT, HeaderValue};
use hyper::{Request, Response};
use tokio::time::Instant;

use crate::http::exchange::app::{App, BodyIgnored};
use crate::http::gate::proxy::Peer;
use crate::http::message::in_time::in_time;
use crate::http::message::phase::Phase;
use crate::http::message::response::AnswerBody;

/// A rest of up to this many bytes is read, so that the connection can be kept.
const SMALL: u64 = 64 * 1024;
/// How long to wait for a rest that is on its way: some clients send headers and body separately.
const PATIENCE: Duration = Duration::from_millis(100);
/// Without waiting: how many times hyper is polled for the rest of a body. It passes the body on when the connection's
/// task is polled next.
const TURNS: usize = 3;

/// Answers a request that has a body.
#[allow(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
pub(super) fn answer(
    app: Arc<App>,
    request: Request<Incoming>,
    peer: Peer,
    phase: Phase,
) -> impl Future<Output = Response<AnswerBody>> {
    async move {
        let awaits_continue = request.headers().contains_key(EXPECT);
        let (parts, body) = request.into_parts();
        let mut upload = Upload::new(body, awaits_continue);
        // Boxed separately, so that each allocation fits a size class that the allocator caches.
        let mut response = Box::pin(app.answer_upload(Request::from_parts(parts, &mut upload), peer)).await;
        let is_there = if response.extensions().get::<BodyIgnored>().is_some() {
            upload.take_what_is_there().await
        } else {
            upload.take_rest().await
        };
        if !is_there {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            phase.leave_unread();
        }
        response
    }
}

/// A body that records whether all of it was read.
struct Upload<B> {
    body: B,
    /// The client waits for `100 Continue`, which is sent when the body is polled.
    awaits_continue: bool,
    has_ended: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Upload<B> {
    fn new(body: B, awaits_continue: bool) -> Self {
        Self { body, awaits_continue, has_ended: false }
    }

    /// Reads the rest if it is small and arrives soon; returns whether all of the body was read.
    async fn take_rest(&mut self) -> bool {
        if self.is_end_stream() {
            return true;
        }
        let mut taken = 0;
        let rest = poll_fn(|context| self.poll_rest(&mut taken, context));
        in_time(Instant::now() + PATIENCE, rest).await.unwrap_or(false)
    }

    /// As [`take_rest`](Self::take_rest), but only what has arrived already.
    async fn take_what_is_there(&mut self) -> bool {
        let (mut taken, mut turns) = (0, 0);
        poll_fn(|context| match self.poll_rest(&mut taken, context) {
            Poll::Pending if turns == TURNS => Poll::Ready(false),
            Poll::Pending => {
                turns += 1;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            taken => taken,
        })
        .await
    }

    fn poll_rest(&mut self, taken: &mut u64, context: &mut Context<'_>) -> Poll<bool> {
        while !self.is_end_stream() {
            if self.awaits_continue || *taken + self.body.size_hint().lower() > SMALL {
                return Poll::Ready(false);
            }
            match ready!(Pin::new(&mut *self).poll_frame(context)) {
                Some(Ok(frame)) => *taken += frame.data_ref().map_or(0, Bytes::len) as u64,
                Some(Err(_)) => return Poll::Ready(false),
                None => {}
            }
        }
        Poll::Ready(true)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Upload<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.awaits_continue = false;
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.has_ended |= frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt, stream};
    use http_body_util::{Full, StreamBody};

    use super::*;

    type Piece = Result<Frame<Bytes>, Infallible>;

    fn pieces(count: usize, length: usize) -> impl stream::Stream<Item = Piece> + Unpin {
        stream::iter((0..count).map(move |_| Ok(Frame::data(Bytes::from(vec![0; length])))))
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_rest_is_read_and_a_large_one_is_not() {
        for (body, is_read) in [(pieces(4, 16 * 1024), true), (pieces(5, 16 * 1024), false)] {
            assert_eq!(Upload::new(StreamBody::new(body), false).take_rest().await, is_read);
        }
        let large = Full::new(Bytes::from(vec![0; 64 * 1024 + 1]));
        let mut upload = Upload::new(large, false);
        assert!(!upload.take_rest().await && !upload.is_end_stream(), "its length says so");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_that_does_not_come_is_waited_for_a_moment_or_not_at_all() {
        let body = || StreamBody::new(pieces(1, 3).chain(stream::pending()));
        let start = Instant::now();
        assert!(!Upload::new(body(), false).take_what_is_there().await);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(!Upload::new(body(), false).take_rest().await);
        assert!((PATIENCE..PATIENCE * 2).contains(&start.elapsed()));
    }

    #[tokio::test]
    async fn nobody_is_told_to_continue_for_a_body_that_nobody_wants() {
        let mut upload = Upload::new(Full::new(Bytes::from_static(b"abc")), true);
        assert!(!upload.take_rest().await && !upload.is_end_stream());
        let mut asked_for = Upload::new(StreamBody::new(pieces(2, 3)), true);
        let first = poll_fn(|context| Pin::new(&mut asked_for).poll_frame(context)).await;
        assert!(first.is_some() && asked_for.take_rest().await);
    }
}
