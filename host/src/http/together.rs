//! Small answers are written together, once the other connections that are ready have been looked at.
//!
//! Writing to a socket wakes who waits at its other end, which can cost more than all else that an answer takes. When
//! several are written one right after the other, that one is awake already after the first.
//!
//! An answer leaves its connection for the [`Outbox`] of the thread and counts as written. A connection has one answer
//! there at a time: what it writes next waits until that one is out, so that all are in their order.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use rustix::net::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

use crate::spread::Spread;

/// Larger pieces are written at once: copying them would cost more than it saves.
const SMALL: usize = 2048;
/// So many are written at the latest: who waits for them can work while the next are made.
const TOGETHER: usize = 16;

/// The outboxes of all threads.
pub(crate) type Outboxes = Arc<Spread<Arc<Outbox>>>;

/// Answers that wait for each other.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    /// Whether [`run`](Self::run) runs.
    runs: AtomicBool,
    task: AtomicWaker,
}

#[derive(Default)]
struct Waiting {
    /// One answer after the other.
    bytes: Vec<u8>,
    /// Whose they are, and how long.
    answers: Vec<(Arc<dyn Lane>, usize)>,
}

/// Where an answer goes.
trait Lane: Send + Sync {
    /// Writes as much of it as can be written now, and leaves the rest to the connection.
    fn write(&self, answer: &[u8]);
}

impl Outbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // No step on it can panic half way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an answer of so many bytes.
    fn take(self: &Arc<Self>, lane: Arc<dyn Lane>, pieces: &[IoSlice<'_>], length: usize) {
        let mut waiting = self.waiting();
        pieces.iter().for_each(|piece| waiting.bytes.extend_from_slice(piece));
        waiting.answers.push((lane, length));
        match waiting.answers.len() {
            1 => {}
            TOGETHER => return waiting.write(),
            _ => return,
        }
        drop(waiting);
        if self.runs.swap(true, Ordering::Relaxed) {
            self.task.wake();
        } else {
            tokio::spawn(Arc::clone(self).run());
        }
    }

    /// Writes what waits, again and again.
    async fn run(self: Arc<Self>) {
        let mut full = Waiting::default();
        loop {
            poll_fn(|context| self.poll_first(context)).await;
            after_the_others().await;
            std::mem::swap(&mut full, &mut *self.waiting());
            full.write();
        }
    }

    fn poll_first(&self, context: &mut Context<'_>) -> Poll<()> {
        self.task.register(context.waker());
        if self.waiting().answers.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Waiting {
    fn write(&mut self) {
        let mut bytes = self.bytes.as_slice();
        for (lane, length) in self.answers.drain(..) {
            let (answer, others) = bytes.split_at(length);
            lane.write(answer);
            bytes = others;
        }
        self.bytes.clear();
    }
}

/// Goes on when the tasks that are ready now have had their turn.
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

/// Nothing is on its way.
const CLEAR: u8 = 0;
/// An answer is in an outbox.
const SENT: u8 = 1;
/// And the connection waits until it is out.
const AWAITED: u8 = 2;
/// A part of an answer is still to be written, by the connection.
const REST: u8 = 3;

/// The half of a socket that answers are written to.
struct Wire<W> {
    half: W,
    state: AtomicU8,
    rest: Mutex<Vec<u8>>,
    /// The connection's.
    task: AtomicWaker,
}

impl<W: Half> Lane for Wire<W> {
    fn write(&self, answer: &[u8]) {
        // One who does not read, or is gone, is for the connection to wait for or to fail at.
        let written = self.half.try_write(&[IoSlice::new(answer)]).unwrap_or(0);
        let rest = &answer[written..];
        let state = if rest.is_empty() { CLEAR } else { REST };
        if state == REST {
            self.rest().extend_from_slice(rest);
        }
        let before = self.state.swap(state, Ordering::AcqRel);
        if before == AWAITED || state == REST {
            self.task.wake();
        }
    }
}

impl<W: Half> Wire<W> {
    fn rest(&self) -> MutexGuard<'_, Vec<u8>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the answer before is written.
    fn poll_clear(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.state.load(Ordering::Acquire) {
                CLEAR => return Poll::Ready(Ok(())),
                REST => return self.poll_rest(context),
                state => {
                    self.task.register(context.waker());
                    // It may be out by now, and then nobody is woken.
                    let exchanged =
                        self.state.compare_exchange(state, AWAITED, Ordering::AcqRel, Ordering::Acquire);
                    if exchanged.is_ok() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn poll_rest(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut rest = self.rest();
        while !rest.is_empty() {
            let written = ready!(self.poll_write(context, &[IoSlice::new(&rest)]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            rest.drain(..written);
        }
        self.state.store(CLEAR, Ordering::Release);
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

/// A socket whose small answers go by an outbox.
pub(crate) struct Together<S: Socket> {
    read: S::Read,
    wire: Arc<Wire<S::Write>>,
    outboxes: Outboxes,
}

impl<S: Socket> Together<S> {
    pub(crate) fn new(socket: S, outboxes: Outboxes) -> Self {
        let (read, half) = socket.split();
        let wire = Wire { half, state: CLEAR.into(), rest: Mutex::default(), task: AtomicWaker::default() };
        Self { read, wire: Arc::new(wire), outboxes }
    }
}

impl<S: Socket> AsyncRead for Together<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(context, buffer)
    }
}

impl<S: Socket> AsyncWrite for Together<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = &self.wire;
        ready!(wire.poll_clear(context))?;
        let length = pieces.iter().map(|piece| piece.len()).sum();
        if length <= SMALL {
            // For what may be left of it.
            wire.task.register(context.waker());
            wire.state.store(SENT, Ordering::Release);
            let lane: Arc<Wire<S::Write>> = Arc::clone(wire);
            self.outboxes.mine().take(lane, pieces, length);
            return Poll::Ready(Ok(length));
        }
        wire.poll_write(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is in an outbox goes out by itself.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.wire.state.load(Ordering::Acquire) {
            REST => self.wire.poll_rest(context),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.wire.poll_clear(context))?;
        Poll::Ready(self.wire.half.shut_down())
    }
}

/// A socket in two halves, of which the second can be written to from anywhere.
pub(crate) trait Socket {
    type Read: AsyncRead + Unpin;
    type Write: Half;

    fn split(self) -> (Self::Read, Self::Write);
}

/// What [`Together`] does with the half of a socket that is written to.
pub(crate) trait Half: Send + Sync + 'static {
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

        impl Half for $module::OwnedWriteHalf {
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
                Ok(shutdown(self.as_ref().as_fd(), Shutdown::Write)?)
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

    fn pair(outboxes: &Outboxes) -> (UnixStream, Together<UnixStream>) {
        let (client, server) = UnixStream::pair().unwrap();
        (client, Together::new(server, Arc::clone(outboxes)))
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
        let mut pairs: Vec<_> = (0..TOGETHER).map(|_| pair(&outboxes)).collect();
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
