//! One connection, from the handshake to its end.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::app::App;
use super::deadline::{DeadlineStream, Deadlines, Phase};
use super::header_block::HeaderBlock;
use super::http2;
use super::listener::Stream;
use super::proxy::{Peer, Shown};
use super::refusal::RefusalStream;
use super::together::{Socket, Together};
use crate::budget::Payer;
use crate::config::tls::HTTP_2;

/// Bytes of a request's line and headers together.
pub(super) const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Bytes that are encrypted and wait for a client to take them.
const TLS_BUFFER: usize = 32 * 1024;

/// What the configuration says about connections.
#[derive(Clone, Default)]
pub(super) struct Settings {
    pub(super) deadlines: Deadlines,
    pub(super) tls: Option<TlsAcceptor>,
}

/// A connection that was let in.
pub(super) struct Connection {
    pub(super) app: Arc<App>,
    /// Where it comes from; `None` is a Unix socket.
    pub(super) address: Option<IpAddr>,
    pub(super) settings: Settings,
    /// Changes when it is to end after the request that it is at.
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
                // Answers are written whole, so there is nothing to wait for before sending. It fails only on a dead
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
            tracing::debug!(client = %Shown(address), error, "a connection ended early");
        }
    }

    async fn secure(mut self, stream: TcpStream, tls: &TlsAcceptor) -> Result<(), String> {
        let handshake = tokio::time::timeout(self.settings.deadlines.header, tls.accept(stream));
        let mut stream: TlsStream<TcpStream> = tokio::select! {
            shaken = handshake => match shaken {
                Ok(shaken) => shaken.map_err(|error| error.to_string())?,
                Err(_) => return Err("the TLS handshake is not complete".to_owned()),
            },
            _ = self.stopped.changed() => return Ok(()),
        };
        stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
        if stream.get_ref().1.alpn_protocol() == Some(HTTP_2) {
            Box::pin(self.http2(stream)).await
        } else {
            self.http1(stream, true).await
        }
    }

    async fn plain<S: Socket + Unpin>(self, socket: S) -> Result<(), String> {
        let stream = Together::new(socket, Arc::clone(self.app.outboxes()));
        self.http1(stream, false).await
    }

    /// What its requests' headers draw on: nobody knows yet whose they are.
    fn header_block(&self) -> HeaderBlock {
        let budget = self.app.budget();
        HeaderBlock::new(budget, Payer::Stranger(budget.client(self.address)))
    }

    fn peer(&self, tls: bool) -> Peer {
        Peer { address: self.address, tls }
    }

    async fn http1<S>(mut self, stream: S, tls: bool) -> Result<(), String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let peer = self.peer(tls);
        let phase = Phase::default();
        let headers = self.header_block();
        let stream = DeadlineStream::new(stream, phase.clone(), self.settings.deadlines).counting(headers);
        let io = TokioIo::new(RefusalStream::new(stream, phase.clone()));
        let app = self.app;
        let service = service_fn(move |request| {
            let guard = phase.request();
            let answer = app.begin(request, peer);
            answer.map(|response| Ok::<_, Infallible>(response.map(|body| body.guarded(guard))))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_header_size(MAX_HEADER_BYTES)
            // Of what it reads and writes ahead, too.
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(io, service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            // First, so that a request that is there already is seen: told before it, hyper closes at once.
            biased;
            ended = connection.as_mut() => ended,
            _ = self.stopped.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        ended.map_err(|error| error.to_string())
    }

    async fn http2(self, stream: TlsStream<TcpStream>) -> Result<(), String> {
        let peer = self.peer(true);
        let headers = self.header_block();
        let app = self.app;
        let answer = |request: Request<Incoming>| {
            let app = Arc::clone(&app);
            async move {
                let (parts, mut body) = request.into_parts();
                let response = app.answer(Request::from_parts(parts, &mut body), peer).await;
                (response, body)
            }
        };
        http2::serve(stream, headers, self.settings.deadlines, answer, self.stopped).await
    }
}
