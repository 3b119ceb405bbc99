//! Connections: taking them, their limits, and their end.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::app::App;
use super::deadline::{DeadlineStream, Deadlines, Phase};
use super::refusal::RefusalStream;
use crate::config::Limits;

/// Bytes of a request's line and headers together.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// After an error of `accept` that will not go away at once, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes connections on a bound socket.
pub(crate) struct Server {
    listener: TcpListener,
    app: Arc<App>,
    settings: Settings,
}

#[derive(Clone, Copy)]
struct Settings {
    deadlines: Deadlines,
    max_connections: usize,
}

/// Connections that may still be open after the server has stopped taking new ones.
pub(crate) struct Draining {
    app: Arc<App>,
    /// Ends when the last connection is closed.
    closed: mpsc::Receiver<Infallible>,
}

impl Server {
    /// Binds the socket; requests wait in its queue until [`Server::run`].
    pub(crate) async fn bind(address: SocketAddr, limits: &Limits) -> io::Result<Bound> {
        let listener = TcpListener::bind(address).await?;
        let deadlines = Deadlines {
            header: limits.header_timeout,
            keepalive: limits.keepalive_timeout,
            write: limits.request_timeout,
        };
        let settings = Settings { deadlines, max_connections: limits.max_connections };
        Ok(Bound { listener, settings })
    }

    /// Serves until `stop` is done.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) -> Draining {
        let Self { listener, app, settings } = self;
        let (stopping, stopped) = watch::channel(());
        let (open, closed) = mpsc::channel(1);
        let connections = Arc::new(Semaphore::new(settings.max_connections));
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = accept(&listener, &connections) => accepted,
            };
            let (stream, client, permit) = accepted;
            let app = Arc::clone(&app);
            let (stopped, open) = (stopped.clone(), open.clone());
            tokio::spawn(async move {
                serve(stream, client, app, settings.deadlines, stopped).await;
                drop((permit, open));
            });
        }
        // A closed queue tells clients to go elsewhere, at once.
        drop(listener);
        drop(stopping);
        Draining { app, closed }
    }
}

/// A bound socket that nobody serves yet.
pub(crate) struct Bound {
    listener: TcpListener,
    settings: Settings,
}

impl Bound {
    /// The address, with the port that the system chose if 0 was asked for.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Ready to run.
    pub(crate) fn serve(self, app: Arc<App>) -> Server {
        Server { listener: self.listener, app, settings: self.settings }
    }
}

impl Draining {
    /// Waits until no request is being answered any more. Streams do not count: they end with their plugin.
    pub(crate) async fn requests(&self, deadline: Instant) -> Result<(), usize> {
        loop {
            match self.app.in_flight() {
                0 => return Ok(()),
                left if Instant::now() >= deadline => return Err(left),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Waits until all connections are closed; says whether they are.
    pub(crate) async fn connections(&mut self, deadline: Instant) -> bool {
        tokio::time::timeout_at(deadline, self.closed.recv()).await.is_ok()
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> (TcpStream, IpAddr, Option<tokio::sync::OwnedSemaphorePermit>) {
    // The semaphore is never closed, so this is always `Some`.
    let permit = Arc::clone(connections).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return (stream, address.ip().to_canonical(), permit),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn serve(
    stream: TcpStream,
    client: IpAddr,
    app: Arc<App>,
    deadlines: Deadlines,
    mut stopped: watch::Receiver<()>,
) {
    // Answers are written whole, so there is nothing to wait for before sending. It fails only on a dead socket.
    let _ = stream.set_nodelay(true);
    let _open = app.metrics().connection();
    let phase = Phase::default();
    let stream = DeadlineStream::new(stream, phase.clone(), deadlines);
    let io = TokioIo::new(RefusalStream::new(stream, phase.clone()));
    let service = service_fn(move |request| {
        let guard = phase.request();
        let app = Arc::clone(&app);
        async move {
            let response = app.answer(request, client).await;
            Ok::<_, Infallible>(response.map(|body| body.guarded(guard)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_header_size(MAX_HEADER_BYTES)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%client, %error, "a connection ended early");
    }
}
