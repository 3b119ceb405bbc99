//! HTTP/2: what hyper is told, and the client's clock for many requests on one connection.
//!
//! The clock counts what `deadline` counts for HTTP/1.1, but not in the same way, because requests and answers of many
//! streams mix: the time until the first request; from the first byte of a header block to its end, which no other
//! frame may interrupt; the time without any request; and for how long the client takes nothing of its answers. hyper
//! asks an answer's body for more only when the client has made room for it, which is how the last one is seen; room
//! for a byte is enough, so for the last piece of an answer there is only the time without any request.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::CONTENT_LENGTH;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::connection::MAX_HEADER_BYTES;
use super::deadline::Deadlines;
use super::frames::Frames;
use super::header_block::HeaderBlock;
use super::refusal::TOO_MANY_HEADERS;
use super::response::{AnswerBody, problem};
use super::untaken::Untaken;

/// For a connection whose time is over to say so.
const FAREWELL: Duration = Duration::from_secs(1);
/// Requests at a time on one connection.
const MAX_STREAMS: u32 = 100;
/// For a client to end a body that nobody wants, in time and in bytes.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;
/// An answer's body is handed over in pieces of this many bytes, so that a client that stops reading is noticed.
const PIECE: usize = 16 * 1024;

/// What a client may send before it is asked for, on all streams together: the least that HTTP/2 knows.
const WINDOW: u32 = 65_535;

/// Serves a connection until it ends, or, once `stopped` ends, the requests under way have ended. `answer` gives the
/// request's body back.
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
        // hyper's own refusal has no body, so it comes later, for what is beyond all measure.
        let answer = if header_bytes(request.headers(), request.uri()) > MAX_HEADER_BYTES {
            Err(request.into_body())
        } else {
            Ok(answer(request))
        };
        async move {
            let (response, upload) = match answer {
                Ok(answer) => answer.await,
                Err(upload) => {
                    (problem(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, TOO_MANY_HEADERS), upload)
                }
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
                // It waits for the answer to a PING, which not everybody gives.
                () = clock.quiet(FAREWELL) => Ok(()),
            }
        }
    };
    ended.map_err(|error| error.to_string())
}

/// What HEAD gets. hyper leaves the body away for HTTP/1.1 alone.
fn headers_alone(mut response: Response<AnswerBody>) -> Response<AnswerBody> {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    response.map(AnswerBody::without)
}

/// The size as HTTP/2 counts it: what a header costs beside its text is in it.
pub(super) fn header_bytes(headers: &HeaderMap, target: &Uri) -> usize {
    const EACH: usize = 32;
    let headers = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + EACH);
    let target = target.path_and_query().map_or(0, |target| target.as_str().len());
    headers.sum::<usize>() + target
}

/// What a connection is doing.
#[derive(Clone)]
struct Clock {
    deadlines: Deadlines,
    state: Arc<Mutex<State>>,
}

struct State {
    /// Since when nothing has been asked.
    idle_since: Instant,
    is_new: bool,
    /// Since when a header block has been coming.
    headers_since: Option<Instant>,
    /// The requests under way; with a time: since when their answers have been waiting for the client.
    requests: HashMap<u64, Option<Instant>>,
    /// When the client last took something of an answer that waited.
    taken: Instant,
    next: u64,
}

impl Clock {
    fn new(deadlines: Deadlines) -> Self {
        let now = Instant::now();
        let state = State {
            idle_since: now,
            taken: now,
            is_new: true,
            headers_since: None,
            requests: HashMap::new(),
            next: 0,
        };
        Self { deadlines, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when the client's time is over.
    async fn expired(&self) {
        let Deadlines { header, keepalive, write } = self.deadlines;
        // Whatever begins while this sleeps gets at least as long.
        let nap = header.min(keepalive).min(write);
        loop {
            let now = Instant::now();
            let deadline = self.deadline();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return;
            }
            let next = now + nap;
            tokio::time::sleep_until(deadline.map_or(next, |deadline| deadline.min(next))).await;
        }
    }

    /// Ends when no request has been under way for so long from now.
    async fn quiet(&self, time: Duration) {
        let now = Instant::now();
        let mut end = now + time;
        while end > Instant::now() {
            tokio::time::sleep_until(end).await;
            let state = self.state();
            let since = if state.requests.is_empty() { state.idle_since } else { Instant::now() };
            end = since.max(now) + time;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let Deadlines { header, keepalive, write } = self.deadlines;
        let state = self.state();
        let idle = state
            .requests
            .is_empty()
            .then(|| state.idle_since + if state.is_new { header } else { keepalive });
        let headers = state.headers_since.map(|since| since + header);
        [idle, headers, state.answer_deadline(write)].into_iter().flatten().min()
    }

    /// A request's headers are complete.
    fn request(&self) -> RequestGuard {
        let mut state = self.state();
        state.is_new = false;
        let number = state.next;
        state.next += 1;
        state.requests.insert(number, None);
        RequestGuard { clock: self.clone(), number }
    }

    fn reads_headers(&self, reads: bool) {
        let mut state = self.state();
        if !reads {
            state.headers_since = None;
        } else if state.headers_since.is_none() {
            state.headers_since = Some(Instant::now());
        }
    }
}

impl State {
    /// Answers that wait take turns, so one of them may wait as long as the others get on: for as many times as there
    /// are of them, or a client could keep them for ever by taking another.
    fn answer_deadline(&self, write: Duration) -> Option<Instant> {
        let waiting = self.requests.values().flatten();
        let turns = u32::try_from(waiting.clone().count()).unwrap_or(u32::MAX);
        let oldest = *waiting.min()?;
        Some((oldest.max(self.taken) + write).min(oldest + write.saturating_mul(turns)))
    }
}

/// Lives as long as a request is being answered.
struct RequestGuard {
    clock: Clock,
    number: u64,
}

impl RequestGuard {
    /// Whether the answer waits for the client now.
    fn waits(&self, waits: bool) {
        let now = Instant::now();
        let mut state = self.clock.state();
        let before = state.requests.insert(self.number, waits.then_some(now));
        if !waits && before.flatten().is_some() {
            state.taken = now;
        }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut state = self.clock.state();
        state.requests.remove(&self.number);
        state.idle_since = Instant::now();
    }
}

/// An answer's body that tells the clock whom it waits for.
struct ClockedBody {
    body: AnswerBody,
    /// What of the last piece has not been handed over.
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

/// Takes what of a request's body still comes after the answer, to a measure: told to stop while they send, some
/// clients, curl 7 among them, throw the answer away.
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

/// A stream that tells the clock when headers are coming.
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

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINES: Deadlines = Deadlines {
        header: Duration::from_secs(10),
        keepalive: Duration::from_secs(60),
        write: Duration::from_secs(30),
    };

    async fn seconds(clock: &Clock) -> u64 {
        let start = Instant::now();
        clock.expired().await;
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_ends() {
        let clock = Clock::new(DEADLINES);
        assert_eq!(seconds(&clock).await, 10);
        let clock = Clock::new(DEADLINES);
        drop(clock.request());
        assert_eq!(seconds(&clock).await, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn headers_that_do_not_end_end_the_connection_beside_a_request_under_way() {
        let clock = Clock::new(DEADLINES);
        let _guard = clock.request();
        assert!(tokio::time::timeout(Duration::from_secs(600), clock.expired()).await.is_err());
        clock.reads_headers(true);
        tokio::time::sleep(Duration::from_secs(3)).await;
        clock.reads_headers(true);
        assert_eq!(seconds(&clock).await, 7);
        clock.reads_headers(false);
        assert_eq!(clock.deadline(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_ends_the_connection() {
        let clock = Clock::new(DEADLINES);
        let (one, other) = (clock.request(), clock.request());
        one.waits(true);
        tokio::time::sleep(Duration::from_secs(20)).await;
        other.waits(true);
        one.waits(false);
        assert_eq!(seconds(&clock).await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_on_a_slow_line_take_turns() {
        let clock = Clock::new(DEADLINES);
        let guards: Vec<RequestGuard> = (0..100).map(|_| clock.request()).collect();
        guards.iter().for_each(|guard| guard.waits(true));
        // Each has its turn after 50 seconds.
        for guard in guards.iter().cycle().take(300) {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(clock.deadline() > Some(Instant::now()));
            guard.waits(false);
            guard.waits(true);
        }
        assert_eq!(seconds(&clock).await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_not_kept_for_ever_by_taking_another() {
        let clock = Clock::new(DEADLINES);
        let (kept, other) = (clock.request(), clock.request());
        kept.waits(true);
        other.waits(true);
        for _ in 0..59 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            other.waits(false);
            other.waits(true);
        }
        assert_eq!(seconds(&clock).await, 1);
    }
}
