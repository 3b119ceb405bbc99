//! Reads a request's body within its limits; memory is reserved before it is allocated.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::Response;
use hyper::body::Body;
use tokio::time::Instant;

use crate::budget::{Budget, Payer, SMALL, Share};
use crate::http::message::in_time::in_time;
use crate::http::message::problem::{ProblemType, problem, retry_later};
use crate::http::message::response::AnswerBody;

/// A body in one piece of up to this many bytes fits into its connection's read buffer.
const AT_HAND: usize = 4 * 1024;
/// Upper bound of what the connection may have read ahead for it, in bytes.
const READ_AHEAD: usize = 64 * 1024;

/// Why a body was not read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It exceeds the limit of this many bytes.
    TooLarge(usize),
    /// It exceeds the limit for unauthenticated clients. Reading may continue once the client is authenticated.
    OfStranger,
    /// It was not complete before the deadline.
    TimedOut,
    /// There is not enough memory for it.
    NoRoom,
    /// The connection failed, or the chunked encoding is invalid.
    Broken,
}

impl BodyError {
    /// The answer that the client gets.
    pub(crate) fn response(&self) -> Response<AnswerBody> {
        match self {
            Self::TooLarge(limit) => problem(
                ProblemType::BodyTooLarge,
                &format!("the body is larger than {limit} bytes ([limits] max_body)"),
            ),
            Self::OfStranger => problem(
                ProblemType::LargeBodyNeedsKey,
                &format!(
                    "a body of more than {SMALL} bytes needs the API key in a header, as `Authorization: Bearer` or \
                     `X-Custom-Auth`, or the id of a user's live session in X-Session-Id or the cookie"
                ),
            ),
            // hyper closes the connection after it: the rest of the body could not be told apart from a next request.
            Self::TimedOut => problem(ProblemType::BodyTimeout, "the body was not complete in time"),
            Self::NoRoom => retry_later(
                ProblemType::Overloaded,
                "there is no memory for the body now ([limits] max_memory)",
            ),
            Self::Broken => problem(ProblemType::MalformedRequest, "the body could not be read"),
        }
    }
}

/// A body that is being read.
pub(crate) struct Reading<'l> {
    /// Limit in bytes.
    limit: usize,
    /// Limit in bytes as long as the client is not authenticated.
    allowed: usize,
    budget: &'l Arc<Budget>,
    /// The client's address and whether it presented a key, to charge memory to. Most bodies are too small to be
    /// charged.
    address: Option<IpAddr>,
    is_known: bool,
    /// The memory reserved for the body and its by-products. Most bodies are too small to need any.
    share: Option<Share>,
    first: Bytes,
    more: Vec<u8>,
    /// The part of `share`, in bytes, that is for what the connection has read ahead.
    read_ahead: usize,
}

impl<'l> Reading<'l> {
    /// A body of at most `limit` bytes. Its memory is charged in `budget` to an unauthenticated client at this
    /// address.
    pub(crate) fn new(limit: usize, budget: &'l Arc<Budget>, address: Option<IpAddr>) -> Self {
        let (allowed, first, more) = (limit.min(SMALL), Bytes::new(), Vec::new());
        Self { limit, allowed, budget, address, is_known: false, share: None, first, more, read_ahead: 0 }
    }

    /// Lifts the limit for unauthenticated clients. If `is_known`, the client presented a key, and the memory reserved
    /// so far is charged to it as such.
    pub(crate) fn allow_all(&mut self, is_known: bool) {
        self.allowed = self.limit;
        self.is_known = is_known;
        if let Some(share) = &mut self.share {
            share.pass_to(payer(self.budget, self.address, is_known));
        }
    }

    /// Reserves memory for by-products of the body. It is returned when this is dropped.
    pub(crate) fn draw(&mut self, bytes: usize) -> Result<(), BodyError> {
        if bytes == 0 {
            return Ok(());
        }
        let share = self
            .share
            .get_or_insert_with(|| self.budget.share(payer(self.budget, self.address, self.is_known)));
        if share.grow(bytes) { Ok(()) } else { Err(BodyError::NoRoom) }
    }

    /// Reserves memory for what is derived from a body while its request is answered: a copy without its key, and its
    /// parsed values.
    pub(crate) fn draw_for_work(&mut self, length: usize) -> Result<(), BodyError> {
        self.draw(if length > AT_HAND { 2 * length } else { 0 })
    }

    /// Reads all of `body`, until `deadline`. The memory is returned when this is dropped, not when reading ends.
    pub(crate) async fn read<B>(&mut self, body: &mut B, deadline: Instant) -> Result<Bytes, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        // Checked before anything is read, and so before the client gets `100 Continue`.
        self.check(usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX))?;
        let reading = poll_fn(|context| self.poll(body, context));
        in_time(deadline, reading).await.unwrap_or(Err(BodyError::TimedOut))
    }

    /// Checks whether this many more bytes are within the limits.
    fn check(&self, more: usize) -> Result<(), BodyError> {
        let length = self.length().saturating_add(more);
        if length > self.limit {
            return Err(BodyError::TooLarge(self.limit));
        }
        if length > self.allowed { Err(BodyError::OfStranger) } else { Ok(()) }
    }

    fn length(&self) -> usize {
        self.first.len() + self.more.len()
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
        let all = if self.more.is_empty() { first } else { std::mem::take(&mut self.more).into() };
        Poll::Ready(Ok(all))
    }

    fn add(&mut self, data: Bytes) -> Result<(), BodyError> {
        let checked = self.check(data.len());
        if let Err(BodyError::TooLarge(_)) = checked {
            return checked;
        }
        // Most bodies arrive in one piece; then nothing is copied.
        if self.first.is_empty() && self.more.is_empty() {
            if data.len() > AT_HAND {
                self.draw(data.len())?;
            }
            self.first = data;
            return checked;
        }
        let length = self.length() + data.len();
        let read_ahead = (2 * length).min(READ_AHEAD);
        self.draw(read_ahead.saturating_sub(self.read_ahead))?;
        self.read_ahead = self.read_ahead.max(read_ahead);
        self.make_room(length)?;
        let first = std::mem::take(&mut self.first);
        self.more.extend_from_slice(&first);
        self.more.extend_from_slice(&data);
        if let Some(share) = self.share.as_mut().filter(|_| first.len() > AT_HAND) {
            share.shrink(first.len());
        }
        // What was read is kept: after authentication the caller continues reading.
        checked
    }

    /// Allocates a buffer for this many bytes. Both the old and the new buffer are counted until the copy is complete.
    fn make_room(&mut self, length: usize) -> Result<(), BodyError> {
        let before = self.more.capacity();
        if length <= before {
            return Ok(());
        }
        let room = length.max(2 * before).min(self.limit);
        self.draw(room)?;
        self.more.reserve_exact(room - self.more.len());
        if let Some(share) = &mut self.share {
            share.shrink(before);
        }
        Ok(())
    }
}

fn payer(budget: &Budget, address: Option<IpAddr>, is_known: bool) -> Payer {
    let client = budget.client(address);
    if is_known { Payer::Known(client) } else { Payer::Stranger(client) }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use futures_util::stream;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;
    use crate::budget::Budget;

    /// Of a stranger.
    fn reading(limit: usize, budget: &Arc<Budget>) -> Reading<'_> {
        Reading::new(limit, budget, None)
    }

    async fn read<B>(body: &mut B, limit: usize, deadline: Instant) -> Result<Bytes, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        reading(limit, &Budget::new(1 << 20)).read(body, deadline).await
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

    /// A body of so many pieces of 1,000 bytes.
    fn pieces(count: usize) -> impl Body<Data = Bytes> + Unpin {
        let piece = |_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'x'; 1_000])));
        StreamBody::new(stream::iter((0..count).map(piece)))
    }

    #[tokio::test]
    async fn what_is_allocated_is_drawn_first_and_given_back_at_the_end() {
        let budget = Budget::new(10 << 20);
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut one = reading(1 << 20, &budget);
        one.allow_all(true);
        let body = one.read(&mut pieces(900), deadline).await.unwrap();
        assert_eq!(body.len(), 900_000);
        // Not what there is, but what there is room for, and what the connection reads ahead.
        assert_eq!(budget.taken(), 1_024_000 + READ_AHEAD);
        let mut others = Vec::new();
        let refused = loop {
            let mut other = reading(1 << 20, &budget);
            other.allow_all(true);
            match other.read(&mut pieces(900), deadline).await {
                Ok(_) => others.push(other),
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused, BodyError::NoRoom);
        assert!((4..=7).contains(&others.len()), "{}", others.len());
        drop((one, others));
        assert_eq!(budget.taken(), 0);
    }

    #[tokio::test]
    async fn a_stranger_may_go_on_once_something_is_known() {
        let budget = Budget::new(10 << 20);
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut announced = Full::new(Bytes::from_static(&[b'x'; SMALL + 1]));
        let mut reading_it = reading(1 << 20, &budget);
        assert_eq!(reading_it.read(&mut announced, deadline).await, Err(BodyError::OfStranger));
        assert!(!announced.is_end_stream());
        let mut streamed = pieces(20);
        let mut reading = reading(1 << 20, &budget);
        assert_eq!(reading.read(&mut streamed, deadline).await, Err(BodyError::OfStranger));
        reading.allow_all(false);
        assert_eq!(reading.read(&mut streamed, deadline).await.map(|body| body.len()), Ok(20_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_ends() {
        let mut body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let deadline = Instant::now() + Duration::from_secs(1);
        assert_eq!(read(&mut body, 3, deadline).await, Err(BodyError::TimedOut));
    }
}
