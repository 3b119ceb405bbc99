//! One connection, from the handshake to its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Either;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::admission::Seat;
use super::coalesced::{CoalescedStream, Outboxes, Socket};
use super::deadline::{DeadlineStream, Deadlines};
use super::http2;
use super::linger::linger;
use super::listener::Stream;
use super::refusal::RefusalStream;
use super::upload;
use crate::budget::Payer;
use crate::config::tls::HTTP_2;
use crate::http::exchange::app::App;
use crate::http::gate::proxy::{ClientAddress, Peer};
use crate::http::message::header_block::HeaderBlock;
use crate::http::message::header_size::MAX_HEADER_BYTES;

/// On a connection that is being closed: how long what follows the answer is still read.
const LAST_LINGERING: Duration = Duration::from_millis(500);
/// On a connection that is closed before its first request: how long it still waits for that request.
const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// On an evicted connection: how long the client has to read its answer.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// Limit of encrypted bytes that wait for the client, in bytes.
const TLS_BUFFER: usize = 32 * 1024;

/// The configuration of connections.
#[derive(Clone, Default)]
pub(super) struct Settings {
    pub(super) deadlines: Deadlines,
    pub(super) tls: Option<TlsAcceptor>,
}

/// A connection that was admitted.
pub(super) struct Connection {
    pub(super) app: Arc<App>,
    pub(super) outboxes: Outboxes,
    /// The peer's address; `None` is a Unix socket.
    pub(super) address: Option<IpAddr>,
    pub(super) settings: Settings,
    /// Its place in admission control.
    pub(super) seat: Seat,
    /// Changes when the connection has to end after its current request.
    pub(super) stopped: watch::Receiver<()>,
}

impl Connection {
    /// Serves it until it ends.
    pub(super) async fn serve(self, stream: Stream) {
        let address = self.address;
        let _open = self.app.metrics().connection();
        let served = match stream {
            Stream::Unix(stream) => self.plain(stream).await,
            Stream::Tcp(stream) => {
                // Answers are written whole, so Nagle's algorithm would only add latency. It fails only on a broken
                // socket.
                let _ = stream.set_nodelay(true);
                match self.settings.tls.clone() {
                    // Boxed, so that connections without TLS are small.
                    Some(tls) => Box::pin(self.secure(stream, &tls)).await,
                    None => self.plain(stream).await,
                }
            }
        };
        if let Err(error) = served {
            tracing::debug!(client = %ClientAddress(address), error, "a connection ended early");
        }
    }

    async fn secure(mut self, stream: TcpStream, tls: &TlsAcceptor) -> Result<(), String> {
        let mut handshake = Box::pin(timeout(self.settings.deadlines.header, tls.accept(stream)));
        let shaken = tokio::select! {
            shaken = &mut handshake => shaken,
            () = self.told_to_end() => match self.seat.is_lost() {
                true => return Ok(()),
                // A request is probably on its way.
                false => timeout(FIRST_REQUEST, handshake).await.and_then(|shaken| shaken),
            },
        };
        let mut stream: TlsStream<TcpStream> = match shaken {
            Ok(shaken) => shaken.map_err(|error| error.to_string())?,
            Err(_) => return Err("the TLS handshake is not complete".to_owned()),
        };
        stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
        if stream.get_ref().1.alpn_protocol() == Some(HTTP_2) {
            Box::pin(self.http2(stream)).await
        } else {
            self.http1(stream, true).await
        }
    }

    async fn plain<S: Socket + Unpin>(self, socket: S) -> Result<(), String> {
        let stream = CoalescedStream::new(socket, self.outboxes.clone());
        self.http1(stream, false).await
    }

    /// What its request headers are charged to: the unauthenticated client at this address.
    fn header_block(&self) -> HeaderBlock {
        let budget = self.app.budget();
        HeaderBlock::new(budget, Payer::Stranger(budget.client(self.address)))
    }

    /// Waits until it has to end after its current request; returns immediately if that is the case already.
    async fn told_to_end(&mut self) {
        tokio::select! {
            biased;
            // No value is ever sent: the sender is dropped when the connection has to end.
            _ = self.stopped.changed() => {}
            () = self.seat.lost() => {}
        }
    }

    fn peer(&self, tls: bool) -> Peer {
        Peer { address: self.address, tls }
    }

    async fn http1<S>(mut self, stream: S, tls: bool) -> Result<(), String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let peer = self.peer(tls);
        let phase = self.seat.phase().clone();
        let headers = self.header_block();
        let stream = DeadlineStream::new(stream, phase.clone(), self.settings.deadlines).counting(headers);
        let io = TokioIo::new(RefusalStream::new(stream, phase.clone()));
        let (app, requests) = (Arc::clone(&self.app), phase.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let guard = requests.request();
            let answer = if request.body().is_end_stream() {
                Either::Left(app.begin(request, peer))
            } else {
                let app = Arc::clone(&app);
                Either::Right(Box::pin(upload::answer(app, request, peer, requests.clone())))
            };
            answer.map(|response| Ok::<_, Infallible>(response.map(|body| body.guarded(guard))))
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_header_size(MAX_HEADER_BYTES)
            // This also limits hyper's read-ahead and write buffers.
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(io, service);
        let mut is_told = false;
        let ended = tokio::select! {
            // First, so that a request that has arrived already is seen: told to shut down before it, hyper closes
            // immediately.
            biased;
            ended = &mut connection => ended,
            () = self.told_to_end() => {
                is_told = true;
                // A client that has just connected is about to send a request, and hyper would close immediately.
                let begun = poll_fn(|context| match Pin::new(&mut connection).poll(context) {
                    Poll::Ready(ended) => Poll::Ready(Some(ended)),
                    Poll::Pending if phase.is_new() && !self.seat.is_lost() => Poll::Pending,
                    Poll::Pending => Poll::Ready(None),
                });
                match timeout(FIRST_REQUEST, begun).await.ok().flatten() {
                    Some(ended) => ended,
                    None => {
                        Pin::new(&mut connection).graceful_shutdown();
                        match (&mut connection).now_or_never() {
                            Some(ended) => ended,
                            // hyper would wait for the rest of a request.
                            None if self.seat.is_lost() && !phase.is_answering() => return Ok(()),
                            // hyper would also wait for a client that reads its answer slowly.
                            None if self.seat.is_lost() && phase.is_untaken() => {
                                return timeout(LAST_ANSWER, connection).await.map_or(Ok(()), |ended| {
                                    ended.map_err(|error| error.to_string())
                                });
                            }
                            None => (&mut connection).await,
                        }
                    }
                }
            }
        };
        if phase.is_unread() {
            let stream = connection.into_parts().io.into_inner().into_inner().into_inner();
            let mut lingering = Box::pin(linger(stream));
            if !is_told {
                tokio::select! {
                    () = &mut lingering => return ended.map_err(|error| error.to_string()),
                    () = self.told_to_end() => {}
                }
            }
            // Only the arrival of the answer matters; this must not delay anything else.
            let _ = timeout(LAST_LINGERING, lingering).await;
        }
        ended.map_err(|error| error.to_string())
    }

    /// Serves it as an HTTP/2 connection.
    pub(super) async fn http2<S>(mut self, stream: S) -> Result<(), String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let peer = self.peer(true);
        let headers = self.header_block();
        let (app, phase) = (Arc::clone(&self.app), self.seat.phase().clone());
        let answer = |request: Request<Incoming>| {
            let (app, guard) = (Arc::clone(&app), phase.request());
            async move {
                let (parts, mut body) = request.into_parts();
                let response = app.answer(Request::from_parts(parts, &mut body), peer).await;
                (response.map(|body| body.guarded(guard)), body)
            }
        };
        http2::serve(stream, headers, self.settings.deadlines, answer, self.told_to_end()).await
    }
}
