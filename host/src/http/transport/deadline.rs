//! The client's deadlines on HTTP/1.1: a connection that does not send a request, or does not read its answer, is
//! closed.
//!
//! hyper's own header timeout includes the time between two requests, which has a limit of its own here, and hyper
//! does not watch writes. So the stream below hyper measures three times: until the first byte of a request (the
//! header timeout on a new connection, the keep-alive timeout later), from there until the headers are complete, and
//! the time in which the client reads nothing of an answer. Nothing is measured while a request is being answered: the
//! request has its own deadline.
//!
//! No further request is read from a client that does not read the answers to earlier ones: otherwise they would pile
//! up without a limit.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::config::Limits;
use crate::http::message::header_block::HeaderBlock;
use crate::http::message::phase::{Phase, Stage};

/// The timeouts of one connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deadlines {
    /// From the first byte of a request to the end of its headers; on a new connection also the time until that byte.
    pub(crate) header: Duration,
    /// Between two requests.
    pub(crate) keepalive: Duration,
    /// In which the client must read something of an answer that waits.
    pub(crate) write: Duration,
}

impl Deadlines {
    /// The timeouts of a configuration.
    pub(crate) fn of(limits: &Limits) -> Self {
        Self {
            header: limits.header_timeout,
            keepalive: limits.keepalive_timeout,
            write: limits.request_timeout,
        }
    }
}

/// A stream that fails with `TimedOut` when a deadline passes.
pub(crate) struct DeadlineStream<S> {
    stream: S,
    phase: Phase,
    deadlines: Deadlines,
    /// The stage that `since` belongs to.
    seen: Stage,
    since: Instant,
    read_timer: Timer,
    write_timer: Timer,
    /// Start of the pending write.
    write_since: Option<Instant>,
    /// Reading the next request is deferred until that write is done.
    is_put_off: bool,
    headers: Option<HeaderBlock>,
}

impl<S> DeadlineStream<S> {
    pub(crate) fn new(stream: S, phase: Phase, deadlines: Deadlines) -> Self {
        Self {
            stream,
            phase,
            deadlines,
            seen: Stage::New,
            since: Instant::now(),
            read_timer: Timer(None),
            write_timer: Timer(None),
            write_since: None,
            is_put_off: false,
            headers: None,
        }
    }

    /// Counts the bytes of incoming headers in `headers`.
    pub(crate) fn counting(self, headers: HeaderBlock) -> Self {
        Self { headers: Some(headers), ..self }
    }

    /// Counts received bytes of a header block.
    fn count(&mut self, bytes: usize) -> io::Result<()> {
        self.headers.as_mut().map_or(Ok(()), |headers| headers.add(bytes))
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    /// When reading must have made progress; `None` while a request is being answered.
    fn read_deadline(&mut self) -> Option<Instant> {
        let stage = self.phase.stage();
        if stage != self.seen {
            self.seen = stage;
            // Nothing is measured for a request that is being answered.
            if stage != Stage::Busy {
                self.since = Instant::now();
            }
            if let (Stage::Idle, Some(headers)) = (stage, &mut self.headers) {
                headers.end();
            }
        }
        match stage {
            Stage::New | Stage::Headers => Some(self.since + self.deadlines.header),
            Stage::Idle => Some(self.since + self.deadlines.keepalive),
            Stage::Busy => None,
        }
    }

    fn watch_write<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            if self.write_since.take().is_some() {
                self.phase.set_writing(false);
            }
            if std::mem::take(&mut self.is_put_off) {
                context.waker().wake_by_ref();
            }
            return poll;
        }
        let since = *self.write_since.get_or_insert_with(|| {
            self.phase.set_writing(true);
            Instant::now()
        });
        ready!(self.write_timer.poll_passed(context, since + self.deadlines.write));
        Poll::Ready(Err(timed_out("the client does not read its answer")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for DeadlineStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let deadline = this.read_deadline();
        if deadline.is_some() && this.write_since.is_some() {
            this.is_put_off = true;
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let poll = Pin::new(&mut this.stream).poll_read(context, buffer);
        let Some(deadline) = deadline else {
            if poll.is_pending() {
                this.phase.wake_when_answered(context.waker());
            }
            return poll;
        };
        match poll {
            Poll::Pending => {
                ready!(this.read_timer.poll_passed(context, deadline));
                Poll::Ready(Err(timed_out("the client sends no request")))
            }
            // A client that sends single bytes always makes the next poll succeed, so the deadline is checked here
            // too.
            Poll::Ready(Ok(())) if this.seen == Stage::Headers && Instant::now() >= deadline => {
                buffer.set_filled(before);
                Poll::Ready(Err(timed_out("the headers are not complete")))
            }
            Poll::Ready(Ok(())) => {
                let come = buffer.filled().len() - before;
                if this.seen != Stage::Headers && come > 0 {
                    this.phase.begin_headers();
                }
                let counted = this.count(come);
                if counted.is_err() {
                    buffer.set_filled(before);
                }
                Poll::Ready(counted)
            }
            failed => failed,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for DeadlineStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch_write(context, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.watch_write(context, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch_write(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch_write(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A timer that is reset only when it fires too early: a busy connection never touches it.
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    fn poll_passed(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        // A timer that would fire too late must be reset now; one that fires too early can be reset then.
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

fn timed_out(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, message)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::net::UnixStream;

    use super::*;
    use crate::http::transport::coalesced::{CoalescedStream, Outboxes};

    const DEADLINES: Deadlines = Deadlines {
        header: Duration::from_secs(10),
        keepalive: Duration::from_secs(60),
        write: Duration::from_secs(30),
    };

    fn connection() -> (DuplexStream, DeadlineStream<DuplexStream>, Phase) {
        let (client, server) = duplex(64);
        let phase = Phase::default();
        (client, DeadlineStream::new(server, phase.clone(), DEADLINES), phase)
    }

    async fn seconds_until_timeout(stream: &mut DeadlineStream<DuplexStream>) -> u64 {
        let start = Instant::now();
        let mut byte = [0];
        loop {
            if let Err(error) = stream.read_exact(&mut byte).await {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                return start.elapsed().as_secs();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_that_says_nothing_ends() {
        let (_client, mut stream, _) = connection();
        assert_eq!(seconds_until_timeout(&mut stream).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn headers_a_byte_at_a_time_end_at_the_same_moment() {
        let (mut client, mut stream, _) = connection();
        tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        });
        assert_eq!(seconds_until_timeout(&mut stream).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_counted_while_a_request_is_answered_and_keepalive_after_it() {
        let (mut client, mut stream, phase) = connection();
        client.write_all(b"x").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        let guard = phase.request();
        let wait = tokio::time::timeout(Duration::from_secs(600), stream.read_exact(&mut [0])).await;
        assert!(wait.is_err());
        drop(guard);
        assert_eq!(seconds_until_timeout(&mut stream).await, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_waits_is_woken_when_the_request_ends() {
        let (_client, mut stream, phase) = connection();
        let guard = phase.request();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(guard);
        });
        assert_eq!(seconds_until_timeout(&mut stream).await, 65);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_what_is_written_together_ends() {
        let (_client, server) = UnixStream::pair().unwrap();
        let deadlines = Deadlines { write: Duration::from_millis(50), ..DEADLINES };
        let together = CoalescedStream::new(server, Outboxes::default());
        let mut stream = DeadlineStream::new(together, Phase::default(), deadlines);
        let error = loop {
            if let Err(error) = stream.write_all(&[0; 100]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(stream.shutdown().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_is_not_idle() {
        let (mut client, mut stream, phase) = connection();
        let guard = phase.request();
        drop(guard);
        assert!(phase.is_idle());
        let mut writing = Box::pin(stream.write_all(&[0; 100]));
        assert!(futures_util::poll!(&mut writing).is_pending());
        assert!(phase.is_answering() && phase.is_untaken() && !phase.is_idle());
        let mut taken = [0; 100];
        let (read, written) = tokio::join!(client.read_exact(&mut taken), writing);
        assert!(read.is_ok() && written.is_ok() && phase.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_no_answers_asks_nothing_more() {
        let (mut client, mut stream, _) = connection();
        client.write_all(b"another request").await.unwrap();
        // More than there is room for.
        let writing = tokio::time::timeout(Duration::from_secs(1), stream.write_all(&[0; 100])).await;
        assert!(writing.is_err());
        let mut bytes = [0; 64];
        let reading = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut bytes)).await;
        assert!(reading.is_err());
        client.read_exact(&mut bytes).await.unwrap();
        stream.write_all(b"the rest").await.unwrap();
        assert_eq!(stream.read(&mut bytes).await.unwrap(), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_ends() {
        let (_client, mut stream, phase) = connection();
        let _guard = phase.request();
        let start = Instant::now();
        let error = stream.write_all(&[0; 1024]).await.unwrap_err();
        assert_eq!((error.kind(), start.elapsed().as_secs()), (io::ErrorKind::TimedOut, 30));
    }
}
