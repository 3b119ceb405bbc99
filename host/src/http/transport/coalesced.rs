//! Coalesced writes: small answers are written together, after the other ready connections were polled.
//!
//! A write to a socket wakes the process at its other end, which can cost more than everything else in an answer. When
//! several answers are written in direct succession, the first write wakes it, and the others find it awake.
//!
//! An answer counts as written once it is in the connection's [`SharedWriter`], which is then queued in the thread's
//! [`Outbox`]. What the socket does not accept when the outbox is flushed is written by the connection, which accepts
//! nothing more until it is done.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

use crate::spread::Spread;

/// Limit of bytes of a connection that may be queued. Larger writes go out immediately: copying them would cost more
/// than it saves.
const SMALL: usize = 2048;
/// The outbox is flushed after this many connections at the latest, so that the first clients can work while the next
/// answers are made.
const MAX_BATCH: usize = 16;

/// The outboxes of all threads.
pub(crate) type Outboxes = Arc<Spread<Arc<Outbox>>>;

/// Connections with answers that are queued for a common flush.
#[derive(Default)]
pub(crate) struct Outbox {
    pending: Mutex<Vec<Arc<dyn PendingWrites>>>,
    /// Whether [`run`](Self::run) is running.
    runs: AtomicBool,
    task: AtomicWaker,
}

/// The destination of queued answers.
trait PendingWrites: Send + Sync {
    /// Writes as much as the socket accepts now.
    fn write(&self);
}

impl Outbox {
    fn pending(&self) -> MutexGuard<'_, Vec<Arc<dyn PendingWrites>>> {
        // A panic cannot leave it half updated.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a connection that has something to write.
    fn take(self: &Arc<Self>, writes: Arc<dyn PendingWrites>) {
        let mut pending = self.pending();
        pending.push(writes);
        let count = pending.len();
        drop(pending);
        match count {
            1 if self.runs.swap(true, Ordering::Relaxed) => self.task.wake(),
            1 => drop(tokio::spawn(Arc::clone(self).run())),
            MAX_BATCH.. => self.write(),
            _ => {}
        }
    }

    fn write(&self) {
        let pending = std::mem::replace(&mut *self.pending(), Vec::with_capacity(MAX_BATCH));
        pending.iter().for_each(|writes| writes.write());
    }

    /// Flushes the queue whenever it is not empty. Never completes.
    async fn run(self: Arc<Self>) {
        loop {
            poll_fn(|context| self.poll_first(context)).await;
            after_the_others().await;
            self.write();
        }
    }

    fn poll_first(&self, context: &mut Context<'_>) -> Poll<()> {
        self.task.register(context.waker());
        if self.pending().is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// Completes when the tasks that are ready now have been polled. tokio's `yield_now` would also wait for its I/O
/// driver, and it queues the task where no other thread can steal it from a blocked one.
async fn after_the_others() {
    let mut had_turn = false;
    poll_fn(|context| {
        if std::mem::replace(&mut had_turn, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The write half of a socket.
struct SharedWriter<W> {
    half: W,
    unwritten: Mutex<Unwritten>,
    /// The waker of the connection's task.
    task: AtomicWaker,
}

/// Bytes that are still to be written.
#[derive(Default)]
struct Unwritten {
    bytes: Vec<u8>,
    /// Queued in an outbox, which writes it; otherwise the connection does.
    is_queued: bool,
    /// The connection waits for the outbox.
    is_awaited: bool,
}

impl<W: WriteHalf> PendingWrites for SharedWriter<W> {
    fn write(&self) {
        let mut unwritten = self.unwritten();
        // A client that does not read, or a broken connection, is left to the connection's task.
        let written = self.half.try_write(&[IoSlice::new(&unwritten.bytes)]).unwrap_or(0);
        unwritten.take(written);
        unwritten.is_queued = false;
        if std::mem::take(&mut unwritten.is_awaited) || !unwritten.bytes.is_empty() {
            drop(unwritten);
            self.task.wake();
        }
    }
}

impl Unwritten {
    /// Removes what was written, and frees the buffer: most connections are idle.
    fn take(&mut self, written: usize) {
        if written == self.bytes.len() {
            self.bytes = Vec::new();
        } else {
            self.bytes.drain(..written);
        }
    }
}

impl<W: WriteHalf> SharedWriter<W> {
    fn unwritten(&self) -> MutexGuard<'_, Unwritten> {
        // A panic cannot leave it half updated.
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything before is written.
    fn poll_clear(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut unwritten = self.unwritten();
        if unwritten.is_queued {
            self.task.register(context.waker());
            unwritten.is_awaited = true;
            return Poll::Pending;
        }
        self.poll_rest(&mut unwritten, context)
    }

    fn poll_rest(&self, unwritten: &mut Unwritten, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !unwritten.bytes.is_empty() {
            match ready!(self.poll_write(context, &[IoSlice::new(&unwritten.bytes)]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => unwritten.take(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&self, context: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            match self.half.try_write(pieces) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.half.poll_write_ready(context))?;
                }
                written => return Poll::Ready(written),
            }
        }
    }
}

/// A socket whose small answers are written through an outbox.
pub(crate) struct CoalescedStream<S: Socket> {
    read: S::Read,
    writer: Arc<SharedWriter<S::Write>>,
    outboxes: Outboxes,
}

impl<S: Socket> CoalescedStream<S> {
    pub(crate) fn new(socket: S, outboxes: Outboxes) -> Self {
        let (read, half) = socket.split();
        let writer = SharedWriter { half, unwritten: Mutex::default(), task: AtomicWaker::default() };
        Self { read, writer: Arc::new(writer), outboxes }
    }
}

impl<S: Socket> AsyncRead for CoalescedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(context, buffer)
    }
}

impl<S: Socket> AsyncWrite for CoalescedStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let writer = &self.writer;
        let length = pieces.iter().map(|piece| piece.len()).sum();
        let mut unwritten = writer.unwritten();
        let is_queued = unwritten.is_queued;
        if unwritten.bytes.len() + length <= SMALL && (is_queued || unwritten.bytes.is_empty()) {
            pieces.iter().for_each(|piece| unwritten.bytes.extend_from_slice(piece));
            unwritten.is_queued = true;
            // Wakes this task for what the outbox may leave unwritten.
            writer.task.register(context.waker());
            drop(unwritten);
            if !is_queued {
                let writes: Arc<SharedWriter<S::Write>> = Arc::clone(writer);
                self.outboxes.mine().take(writes);
            }
            return Poll::Ready(Ok(length));
        }
        drop(unwritten);
        ready!(writer.poll_clear(context))?;
        writer.poll_write(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing for queued bytes: the outbox flushes them by itself.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut unwritten = self.writer.unwritten();
        if unwritten.is_queued { Poll::Ready(Ok(())) } else { self.writer.poll_rest(&mut unwritten, context) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.writer.poll_clear(context))?;
        Poll::Ready(self.writer.half.shut_down())
    }
}

/// A socket that can be split into two halves, of which the write half can be used from any thread.
pub(crate) trait Socket {
    type Read: AsyncRead + Unpin;
    type Write: WriteHalf;

    fn split(self) -> (Self::Read, Self::Write);
}

/// The operations that [`CoalescedStream`] needs of a write half.
pub(crate) trait WriteHalf: Send + Sync + 'static {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize>;
    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn shut_down(&self) -> io::Result<()>;
}

macro_rules! socket {
    ($stream:ty, $module:ident) => {
        impl Socket for $stream {
            type Read = $module::OwnedReadHalf;
            type Write = $module::OwnedWriteHalf;

            fn split(self) -> (Self::Read, Self::Write) {
                self.into_split()
            }
        }

        impl WriteHalf for $module::OwnedWriteHalf {
            fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
                match pieces {
                    [only] => Self::try_write(self, only),
                    pieces => self.try_write_vectored(pieces),
                }
            }

            fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.as_ref().poll_write_ready(context)
            }

            fn shut_down(&self) -> io::Result<()> {
                match shutdown(self.as_ref().as_fd(), Shutdown::Write) {
                    // The peer closed the connection first.
                    Ok(()) | Err(Errno::NOTCONN) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
        }
    };
}

socket!(TcpStream, tcp);
socket!(UnixStream, unix);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pair(outboxes: &Outboxes) -> (UnixStream, CoalescedStream<UnixStream>) {
        let (client, server) = UnixStream::pair().unwrap();
        (client, CoalescedStream::new(server, Arc::clone(outboxes)))
    }

    /// Bytes that have come, asked of the system: tokio knows only what it has seen.
    fn has_come(client: &UnixStream) -> usize {
        rustix::io::ioctl_fionread(client).unwrap() as usize
    }

    #[tokio::test]
    async fn an_answer_goes_out_after_the_others_that_are_ready() {
        let outboxes = Outboxes::default();
        let (mut client, mut one) = pair(&outboxes);
        let (mut other_client, mut other) = pair(&outboxes);
        one.write_all(b"one").await.unwrap();
        other.write_all(b"other").await.unwrap();
        assert_eq!((has_come(&client), has_come(&other_client)), (0, 0));
        let mut read = [0; 8];
        client.read_exact(&mut read[..3]).await.unwrap();
        other_client.read_exact(&mut read[3..]).await.unwrap();
        assert_eq!(&read, b"oneother");
    }

    #[tokio::test]
    async fn many_answers_do_not_wait() {
        let outboxes = Outboxes::default();
        let mut pairs: Vec<_> = (0..MAX_BATCH).map(|_| pair(&outboxes)).collect();
        for (_, server) in &mut pairs {
            server.write_all(b"x").await.unwrap();
        }
        assert!(pairs.iter().all(|(client, _)| has_come(client) == 1));
    }

    #[tokio::test]
    async fn a_connections_answers_keep_their_order() {
        let outboxes = Outboxes::default();
        let (mut client, mut server) = pair(&outboxes);
        let sent: Vec<u8> =
            (0..200_u8).flat_map(|n| vec![n; if n % 3 == 0 { SMALL + 1 } else { 10 }]).collect();
        let writing = async {
            for piece in sent.chunk_by(|one, next| one == next) {
                server.write_all(piece).await.unwrap();
            }
            server.shutdown().await.unwrap();
        };
        let mut came = Vec::new();
        let (_, read) = tokio::join!(writing, client.read_to_end(&mut came));
        read.unwrap();
        assert!(came == sent);
    }

    #[tokio::test]
    async fn who_does_not_read_holds_up_only_its_own() {
        let outboxes = Outboxes::default();
        let (mut client, mut server) = pair(&outboxes);
        let (mut other_client, mut other) = pair(&outboxes);
        let writing = tokio::spawn(async move {
            for _ in 0..1_000 {
                server.write_all(&[1; SMALL]).await.unwrap();
            }
            server.shutdown().await.unwrap();
        });
        for _ in 0..100 {
            other.write_all(b"x").await.unwrap();
            other_client.read_exact(&mut [0]).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!writing.is_finished());
        let mut came = Vec::new();
        client.read_to_end(&mut came).await.unwrap();
        assert_eq!(came.len(), 1_000 * SMALL);
        writing.await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_to_one_who_has_gone_is_the_connections_failure() {
        let outboxes = Outboxes::default();
        let (client, mut server) = pair(&outboxes);
        drop(client);
        server.write_all(b"x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        let failed = server.write_all(b"y").await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn an_answer_goes_out_though_its_connection_ends() {
        let outboxes = Outboxes::default();
        let (mut client, mut server) = pair(&outboxes);
        server.write_all(b"bye").await.unwrap();
        drop(server);
        let mut came = Vec::new();
        client.read_to_end(&mut came).await.unwrap();
        assert_eq!(came, b"bye");
    }
}
