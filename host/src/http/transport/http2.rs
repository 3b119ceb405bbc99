//! HTTP/2: the settings of hyper, and what hyper does not do by itself.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::CONTENT_LENGTH;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::clock::{Clock, RequestGuard};
use super::deadline::Deadlines;
use super::frames::Frames;
use super::refusal::TOO_MANY_HEADERS;
use crate::http::message::header_block::HeaderBlock;
use crate::http::message::header_size::MAX_HEADER_BYTES;
use crate::http::message::header_size::header_bytes;
use crate::http::message::problem::{ProblemType, problem};
use crate::http::message::response::AnswerBody;
use crate::http::message::untaken::Untaken;

/// How long an expired connection may take to shut down.
const FAREWELL: Duration = Duration::from_secs(1);
/// Limit of concurrent requests on one connection.
const MAX_STREAMS: u32 = 100;
/// Limits for the rest of a body after its request was answered, in time and in bytes.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;
/// An answer's body is passed to hyper in pieces of this many bytes, so that a client that stops reading is noticed.
const PIECE: usize = 16 * 1024;

/// The connection's flow-control window in bytes, for all streams together: the minimum of HTTP/2.
const WINDOW: u32 = 65_535;

/// Serves a connection until it ends. Once `stopped` completes, it ends after the requests in flight. `answer` returns
/// the request's body with the answer.
pub(super) async fn serve<S, F>(
    stream: S,
    headers: HeaderBlock,
    deadlines: Deadlines,
    answer: impl Fn(Request<Incoming>) -> F,
    stopped: impl Future<Output = ()>,
) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = (Response<AnswerBody>, Incoming)> + Send + 'static,
{
    let clock = Clock::new(deadlines);
    let untaken = Untaken::default();
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(untaken.clone());
        let is_head = request.method() == Method::HEAD;
        let guard = clock.request();
        // hyper's own rejection has no body. It is configured with a larger limit, and applies only to extreme sizes.
        let answer = if header_bytes(request.headers(), request.uri()) > MAX_HEADER_BYTES {
            Err(request.into_body())
        } else {
            Ok(answer(request))
        };
        async move {
            let (response, upload) = match answer {
                Ok(answer) => answer.await,
                Err(upload) => (problem(ProblemType::HeadersTooLarge, TOO_MANY_HEADERS), upload),
            };
            let response = if is_head { headers_alone(response) } else { response };
            Ok::<_, Infallible>(response.map(|body| ClockedBody::new(body, upload, guard)))
        }
    });
    let io = TokioIo::new(ClockedStream { stream, clock: clock.clone(), frames: Frames::default(), headers });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(2 * MAX_HEADER_BYTES as u32)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = clock.expired() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(FAREWELL, connection).await {
                Ok(ended) => ended,
                Err(_) => return Err("the client was too slow".to_owned()),
            }
        }
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = clock.expired() => Ok(()),
                // hyper waits for the answer to a PING, which not every client sends.
                () = clock.quiet(FAREWELL) => Ok(()),
            }
        }
    };
    ended.map_err(|error| error.to_string())
}

/// Removes the body of an answer to HEAD. hyper does that only for HTTP/1.1.
fn headers_alone(mut response: Response<AnswerBody>) -> Response<AnswerBody> {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    response.map(AnswerBody::without)
}

/// An answer's body that reports to the clock while it waits for the client.
struct ClockedBody {
    body: AnswerBody,
    /// The part of the last piece that has not been passed on.
    rest: Bytes,
    upload: Option<Incoming>,
    guard: RequestGuard,
}

impl ClockedBody {
    fn new(body: AnswerBody, upload: Incoming, guard: RequestGuard) -> Self {
        guard.waits(true);
        Self { body, rest: Bytes::new(), upload: Some(upload), guard }
    }
}

impl Drop for ClockedBody {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take().filter(|upload| !upload.is_end_stream()) {
            tokio::spawn(linger(upload));
        }
    }
}

/// Reads, within limits, the rest of a request's body after the answer. Some clients, such as curl 7, discard the
/// answer when they are told to stop while they send.
async fn linger(mut upload: Incoming) {
    let taken = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = upload.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > LINGER_BYTES {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, taken).await;
}

impl Body for ClockedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.rest.is_empty() {
            self.guard.waits(false);
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                end => return Poll::Ready(end),
            }
        }
        self.guard.waits(true);
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

/// A stream that reports to the clock when headers are being received.
struct ClockedStream<S> {
    stream: S,
    clock: Clock,
    frames: Frames,
    headers: HeaderBlock,
}

impl<S: AsyncRead + Unpin> AsyncRead for ClockedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        this.frames.pass(&buffer.filled()[before..]);
        this.clock.reads_headers(this.frames.is_in_headers());
        Poll::Ready(this.headers.reach(this.frames.block_bytes()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClockedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
