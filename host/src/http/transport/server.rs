//! The sockets that the host listens on, and the shutdown of their connections.
//!
//! A configuration takes effect in two steps, so that it does so atomically: [`Server::prepare`] does everything that
//! can fail, [`Server::commit`] cannot fail. What the new configuration keeps is not touched: a socket at the same
//! place keeps listening, and its connections continue. Connections on a removed socket end after their current
//! request.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::activation::Inherited;
use super::admission::{Admission, Decision};
use super::coalesced::Outboxes;
use super::connection::{Connection, Settings};
use super::deadline::Deadlines;
use super::listener::{ListenError, Listener, Stream};
use super::place::Place;
use crate::budget::Size;
use crate::config::{Config, Proxies};
use crate::http::exchange::app::App;

/// When a socket is closed: how long to wait for the system to report connections in its queue.
const LAST_LOOK: Duration = Duration::from_millis(100);
/// Pause after an error of `accept` that will not go away immediately, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections. Its methods must be called within the runtime's context.
pub(crate) struct Server {
    app: Arc<App>,
    admission: Arc<Admission>,
    /// The outboxes for the answers of connections.
    outboxes: Outboxes,
    /// Settings of future connections.
    settings: Arc<RwLock<Settings>>,
    /// `None` once the server has stopped for good.
    endpoints: Mutex<Option<Vec<Endpoint>>>,
    /// Sockets that the service manager handed over, for as long as this process lives.
    inherited: Vec<Inherited>,
}

/// A socket that is being served.
struct Endpoint {
    wanted: Wanted,
    listener: Arc<Listener>,
    /// Dropping it ends the socket, and its connections after their current request.
    _stop: watch::Sender<()>,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Immediately: the task that holds the socket may end only after the process has.
        self.listener.withdraw();
    }
}

/// The required properties of an endpoint. When one of them changes, the existing connections end.
#[derive(Clone, PartialEq, Eq)]
struct Wanted {
    place: Place,
    tls: bool,
}

/// A configuration that is ready to take effect: its sockets are bound. Dropping it rolls everything back.
pub(crate) struct Prepared {
    endpoints: Vec<(Wanted, Arc<Listener>)>,
    settings: Settings,
    max_connections: usize,
    proxies: Proxies,
}

impl Prepared {
    /// Where it listens: `http://127.0.0.1:6123`, with the port that the system chose if the configured port is 0.
    pub(crate) fn urls(&self) -> Vec<String> {
        let url = |(wanted, listener): &(Wanted, Arc<Listener>)| match (&wanted.place, listener.address()) {
            (Place::Unix(path), _) => format!("unix:{}", path.display()),
            (Place::Tcp(asked), found) => {
                let scheme = if wanted.tls { "https" } else { "http" };
                format!("{scheme}://{}", found.unwrap_or(*asked))
            }
        };
        self.endpoints.iter().map(url).collect()
    }
}

impl Server {
    /// A server that does not listen anywhere yet.
    pub(crate) fn new(app: Arc<App>, inherited: Vec<Inherited>) -> Self {
        raise_file_limit();
        let endpoints = Mutex::new(Some(Vec::new()));
        Self {
            app,
            admission: Arc::default(),
            outboxes: Outboxes::default(),
            settings: Arc::default(),
            endpoints,
            inherited,
        }
    }

    /// Binds the sockets of a configuration that this server does not have yet. Connections wait in their queues.
    ///
    /// # Errors
    /// A socket cannot be bound; then nothing has changed.
    pub(crate) async fn prepare(&self, config: &Config) -> Result<Prepared, ListenError> {
        let tls = config.tls.as_ref();
        let mut wanted = vec![Wanted { place: Place::Tcp(config.network.address), tls: tls.is_some() }];
        wanted.extend(
            config.network.unix_socket.clone().map(|path| Wanted { place: Place::Unix(path), tls: false }),
        );
        // Clients of a socket that nobody serves would wait forever.
        let is_wanted = |one: &&Inherited| wanted.iter().any(|wanted| one.is_for(&wanted.place));
        if let Some(unwanted) = self.inherited.iter().find(|one| !is_wanted(one)) {
            return Err(ListenError::Unwanted(unwanted.shown()));
        }
        for Wanted { place, .. } in &wanted {
            if let Some(second) = self.inherited.iter().filter(|one| one.is_for(place)).nth(1) {
                return Err(ListenError::Twice(second.shown()));
            }
        }
        let mut endpoints = Vec::new();
        for wanted in wanted {
            let listener = match self.listener(&wanted.place) {
                Some(listener) => listener,
                None => Arc::new(self.bind(&wanted.place).await?),
            };
            endpoints.push((wanted, listener));
        }
        let limits = &config.limits;
        let tls = tls.map(|tls| TlsAcceptor::from(tls.server_config()));
        let settings = Settings { deadlines: Deadlines::of(limits), tls };
        let (max_connections, proxies) = (Size::of(config).connections, config.proxies.clone());
        if max_connections < limits.max_connections {
            tracing::info!(max_connections, "[limits] max_memory has room for no more connections");
        }
        Ok(Prepared { endpoints, settings, max_connections, proxies })
    }

    /// Puts a configuration into effect: serves its sockets, and ends all others.
    pub(crate) fn commit(&self, prepared: Prepared) {
        let Prepared { endpoints, settings, max_connections, proxies } = prepared;
        let mut running = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        // The host was told to stop while this reload was running.
        let Some(running) = running.as_mut() else { return };
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        self.admission.limit(max_connections, proxies);
        let mut before = std::mem::take(running);
        for (wanted, listener) in endpoints {
            let same = |one: &Endpoint| one.wanted == wanted && Arc::ptr_eq(&one.listener, &listener);
            let endpoint = match before.iter().position(same) {
                Some(at) => before.swap_remove(at),
                None => self.serve(wanted, listener),
            };
            running.push(endpoint);
        }
    }

    /// Ends all sockets for good. Connections end after their current request.
    pub(crate) fn stop(&self) {
        *self.endpoints.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Waits until no request is being answered. Streams do not count: they end with their plugin.
    pub(crate) async fn answered(&self, deadline: Instant) -> Result<(), usize> {
        loop {
            match self.app.in_flight() {
                0 => return Ok(()),
                left if Instant::now() >= deadline => return Err(left),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Waits until all connections are closed, until `deadline` at the latest; returns whether they are.
    pub(crate) async fn closed(&self, deadline: Instant) -> bool {
        tokio::time::timeout_at(deadline, self.admission.empty()).await.is_ok()
    }

    async fn bind(&self, place: &Place) -> Result<Listener, ListenError> {
        match self.inherited.iter().find(|one| one.is_for(place)) {
            Some(inherited) => Listener::inherit(inherited, place),
            None => Listener::bind(place).await,
        }
    }

    fn listener(&self, place: &Place) -> Option<Arc<Listener>> {
        let running = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let found =
            running.iter().flatten().find(|one| one.wanted.place == *place && one.listener.is_in_place());
        found.map(|one| Arc::clone(&one.listener))
    }

    fn serve(&self, wanted: Wanted, listener: Arc<Listener>) -> Endpoint {
        let (stop, stopped) = watch::channel(());
        let acceptor = Acceptor {
            app: Arc::clone(&self.app),
            admission: Arc::clone(&self.admission),
            outboxes: Arc::clone(&self.outboxes),
            settings: Arc::clone(&self.settings),
            tls: wanted.tls,
            stopped,
        };
        tokio::spawn(acceptor.run(Arc::clone(&listener)));
        Endpoint { wanted, listener, _stop: stop }
    }
}

/// Accepts the connections of one socket.
struct Acceptor {
    app: Arc<App>,
    admission: Arc<Admission>,
    outboxes: Outboxes,
    settings: Arc<RwLock<Settings>>,
    tls: bool,
    stopped: watch::Receiver<()>,
}

impl Acceptor {
    async fn run(mut self, listener: Arc<Listener>) {
        loop {
            let accepted = tokio::select! {
                biased;
                _ = self.stopped.changed() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => self.let_in(stream, address),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Connections in the system's queue would be refused when the socket is closed. If another acceptor has the
        // socket, it accepts them.
        let Some(listener) = Arc::into_inner(listener) else { return };
        // The queue of a socket of the service manager is left to the next process.
        if listener.is_inherited() {
            return;
        }
        let mut waiting = Vec::new();
        let end = Instant::now() + LAST_LOOK;
        while let Ok(Ok(accepted)) = tokio::time::timeout_at(end, listener.accept()).await {
            waiting.push(accepted);
        }
        drop(listener);
        for (stream, address) in waiting {
            self.let_in(stream, address);
        }
    }

    fn let_in(&self, stream: Stream, address: Option<IpAddr>) {
        let mut settings = self.settings.read().unwrap_or_else(PoisonError::into_inner).clone();
        if !self.tls {
            settings.tls = None;
        }
        let patience = settings.deadlines.header;
        let (app, outboxes, stopped) =
            (Arc::clone(&self.app), Arc::clone(&self.outboxes), self.stopped.clone());
        let serve = async move |seat| {
            Connection { app, outboxes, address, settings, seat, stopped }.serve(stream).await
        };
        match self.admission.ask(address) {
            Decision::Admitted(seat) => drop(tokio::spawn(serve(seat))),
            Decision::Wait(waiting) => {
                let deadline = Instant::now() + patience;
                tokio::spawn(async move {
                    if let Some(seat) = waiting.place(deadline).await {
                        serve(seat).await;
                    }
                });
            }
            Decision::Refused => {}
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Many systems limit a process to 1024 open files unless it asks for more, and each connection needs one.
fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // If it is denied, the limit stays as it is; `accept` reports when it is reached.
    if current != maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}
