//! Reading a request's body within its limits.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::{Response, StatusCode};
use tokio::time::Instant;

use super::app::busy;
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

/// Reads all of `body`: at most `limit` bytes, until `deadline`. They count in `share`; all bodies together may have
/// `room` bytes.
pub(crate) async fn read<B>(
    body: B,
    limit: usize,
    room: usize,
    share: &mut Share<'_>,
    deadline: Instant,
) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    // Known before anything is read: also before the client is told to continue.
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyError::TooLarge(limit));
    }
    let body = collect(body, limit, share, room);
    tokio::time::timeout_at(deadline, body).await.unwrap_or(Err(BodyError::TimedOut))
}

async fn collect<B>(mut body: B, limit: usize, share: &mut Share<'_>, room: usize) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        if first.len() + all.len() + data.len() > limit {
            return Err(BodyError::TooLarge(limit));
        }
        if !share.grow(data.len(), room) {
            return Err(BodyError::NoRoom);
        }
        // Most bodies come in one piece, and then nothing is copied.
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if !first.is_empty() {
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
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

    async fn read_pieces(pieces: &[&'static str], limit: usize) -> Result<Bytes, BodyError> {
        let frames: Vec<_> = pieces
            .iter()
            .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect();
        let body = StreamBody::new(stream::iter(frames));
        read(body, limit, 100, &mut Load::default().body(), Instant::now() + Duration::from_secs(1)).await
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
        let body = Full::new(Bytes::from_static(b"abcd"));
        let read = read(body, 3, 100, &mut Load::default().body(), Instant::now()).await;
        assert_eq!(read, Err(BodyError::TooLarge(3)));
    }

    #[tokio::test]
    async fn bodies_share_their_room_until_they_are_dropped() {
        let load = Load::default();
        let mut other = load.body();
        assert!(other.grow(8, 10));
        let body = || Full::new(Bytes::from_static(b"abc"));
        let deadline = Instant::now() + Duration::from_secs(60);
        assert_eq!(read(body(), 3, 10, &mut load.body(), deadline).await, Err(BodyError::NoRoom));
        drop(other);
        let mut kept = load.body();
        for _ in 0..3 {
            assert_eq!(read(body(), 3, 10, &mut kept, deadline).await, Ok("abc".into()));
        }
        assert_eq!(read(body(), 3, 10, &mut load.body(), deadline).await, Err(BodyError::NoRoom));
        drop(kept);
        assert_eq!(read(body(), 3, 10, &mut load.body(), deadline).await, Ok("abc".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_ends() {
        let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let deadline = Instant::now() + Duration::from_secs(1);
        assert_eq!(read(body, 3, 100, &mut Load::default().body(), deadline).await, Err(BodyError::TimedOut));
    }
}
