//! Reading a request's body within its limits.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::Body;
use hyper::{Response, StatusCode};
use tokio::time::Instant;

use super::app::busy;
use super::in_time::in_time;
use super::load::Share;
use super::response::{AnswerBody, problem};

/// Why a body was not read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// More than this many bytes.
    TooLarge(usize),
    /// It was not complete in time.
    TimedOut,
    /// The bodies that are there take all the memory that they may.
    NoRoom,
    /// The connection failed, or it is badly chunked.
    Broken,
}

impl BodyError {
    /// What the client is told.
    pub(crate) fn response(&self) -> Response<AnswerBody> {
        match self {
            Self::TooLarge(limit) => problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                &format!("the body is larger than {limit} bytes ([limits] max_body)"),
            ),
            // hyper closes the connection after it: what is still to come could not be told from a next request.
            Self::TimedOut => problem(StatusCode::REQUEST_TIMEOUT, "the body was not complete in time"),
            Self::NoRoom => busy("too many bodies at once ([limits] max_body, max_in_flight)"),
            Self::Broken => problem(StatusCode::BAD_REQUEST, "the body could not be read"),
        }
    }
}

/// A body that is being read.
pub(crate) struct Reading<'l> {
    /// Bytes that it may have.
    limit: usize,
    /// Bytes that all bodies together may have.
    room: usize,
    /// Its own part of them.
    share: Share<'l>,
    first: Bytes,
    more: BytesMut,
}

impl<'l> Reading<'l> {
    /// Of a body of at most `limit` bytes, which count in `share`; all bodies together may have `room` bytes.
    pub(crate) fn new(limit: usize, room: usize, share: Share<'l>) -> Self {
        Self { limit, room, share, first: Bytes::new(), more: BytesMut::new() }
    }

    /// Reads all of `body`, until `deadline`. The share is given back with this, not at the end of the reading.
    pub(crate) async fn read<B>(&mut self, body: &mut B, deadline: Instant) -> Result<Bytes, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        // Known before anything is read: also before the client is told to continue.
        if body.size_hint().lower() > self.limit as u64 {
            return Err(BodyError::TooLarge(self.limit));
        }
        let reading = poll_fn(|context| self.poll(body, context));
        in_time(deadline, reading).await.unwrap_or(Err(BodyError::TimedOut))
    }

    fn poll<B>(&mut self, body: &mut B, context: &mut Context<'_>) -> Poll<Result<Bytes, BodyError>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        while !body.is_end_stream() {
            match ready!(Pin::new(&mut *body).poll_frame(context)) {
                None => break,
                Some(Ok(frame)) => self.add(frame.into_data().unwrap_or_default())?,
                Some(Err(_)) => return Poll::Ready(Err(BodyError::Broken)),
            }
        }
        let first = std::mem::take(&mut self.first);
        let all = if self.more.is_empty() { first } else { std::mem::take(&mut self.more).freeze() };
        Poll::Ready(Ok(all))
    }

    fn add(&mut self, data: Bytes) -> Result<(), BodyError> {
        if self.first.len() + self.more.len() + data.len() > self.limit {
            return Err(BodyError::TooLarge(self.limit));
        }
        if !self.share.grow(data.len(), self.room) {
            return Err(BodyError::NoRoom);
        }
        // Most bodies come in one piece, and then nothing is copied.
        if self.first.is_empty() && self.more.is_empty() {
            self.first = data;
            return Ok(());
        }
        self.more.extend_from_slice(&std::mem::take(&mut self.first));
        self.more.extend_from_slice(&data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use futures_util::stream;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::super::load::Load;
    use super::*;

    async fn read<B>(body: &mut B, limit: usize, deadline: Instant) -> Result<Bytes, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        Reading::new(limit, 100, Load::default().body()).read(body, deadline).await
    }

    async fn read_pieces(pieces: &[&'static str], limit: usize) -> Result<Bytes, BodyError> {
        let frames: Vec<_> = pieces
            .iter()
            .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect();
        let mut body = StreamBody::new(stream::iter(frames));
        read(&mut body, limit, Instant::now() + Duration::from_secs(1)).await
    }

    #[tokio::test]
    async fn pieces_are_joined_up_to_the_limit() {
        assert_eq!(read_pieces(&[], 3).await, Ok(Bytes::new()));
        assert_eq!(read_pieces(&["abc"], 3).await, Ok("abc".into()));
        assert_eq!(read_pieces(&["a", "b", "c"], 3).await, Ok("abc".into()));
        assert_eq!(read_pieces(&["a", "b", "cd"], 3).await, Err(BodyError::TooLarge(3)));
        assert_eq!(read_pieces(&["abcd"], 3).await, Err(BodyError::TooLarge(3)));
    }

    #[tokio::test]
    async fn a_length_over_the_limit_is_refused_unread() {
        let mut body = Full::new(Bytes::from_static(b"abcd"));
        assert_eq!(read(&mut body, 3, Instant::now()).await, Err(BodyError::TooLarge(3)));
        assert!(!body.is_end_stream());
    }

    #[tokio::test]
    async fn bodies_share_their_room_until_they_are_dropped() {
        let load = Load::default();
        let mut other = load.body();
        assert!(other.grow(8, 10));
        let deadline = Instant::now() + Duration::from_secs(60);
        let another = async || {
            let mut reading = Reading::new(3, 10, load.body());
            let read = reading.read(&mut Full::new(Bytes::from_static(b"abc")), deadline).await;
            (read, reading)
        };
        assert_eq!(another().await.0, Err(BodyError::NoRoom));
        drop(other);
        let mut kept = Vec::new();
        for _ in 0..3 {
            let (read, reading) = another().await;
            assert_eq!(read, Ok("abc".into()));
            kept.push(reading);
        }
        assert_eq!(another().await.0, Err(BodyError::NoRoom));
        drop(kept);
        assert_eq!(another().await.0, Ok("abc".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_ends() {
        let mut body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let deadline = Instant::now() + Duration::from_secs(1);
        assert_eq!(read(&mut body, 3, deadline).await, Err(BodyError::TimedOut));
    }
}
