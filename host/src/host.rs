//! The life of the host: load, bind, activate, serve, drain.

mod error;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::budget::{Budget, Size, give_back};
use crate::config::Config;
use crate::dev::Watch;
use crate::hand_over::LAST_MOMENT;
use crate::http::control::orders::{Order, Task};
use crate::http::control::snapshot::Snapshot;
use crate::http::exchange::app::App;
use crate::http::transport::activation::{self, Inherited};
use crate::http::transport::server::Server;
use crate::lifecycle::{self, Lifecycle, make_state_folder};
use crate::log::Logging;
use crate::notify::Notifier;
use crate::plugin::{Dispatch, Loader};

pub use self::error::HostError;

/// How long a plugin that blocks a thread may delay the others.
const WAKE_INTERVAL: Duration = Duration::from_millis(100);

/// Loaded plugins with prepared instances, which hold no exclusive resources yet.
pub struct Host {
    snapshot: Snapshot,
    loader: Loader,
    budget: Arc<Budget>,
    /// Absolute, for reloads.
    ini_file: PathBuf,
    logging: Logging,
    /// Sockets that were handed over.
    inherited: Vec<Inherited>,
    watch: Option<Watch>,
}

impl Host {
    /// Loads the plugins and prepares their instances. `config` came from `ini_file`, which is read again on a reload;
    /// `logging` is updated with it then.
    ///
    /// # Errors
    /// The plugin directory cannot be used, or instances would be exposed to the network although they are not
    /// configured as open. A plugin or an instance that fails is logged, and the others are still served.
    pub fn load(config: Config, ini_file: &Path, logging: Logging) -> Result<Self, HostError> {
        let ini_file = std::path::absolute(ini_file)
            .map_err(|source| HostError::System("cannot tell the current folder", source))?;
        // Before any child process is started.
        let inherited = activation::take()
            .map_err(|source| HostError::System("cannot take the sockets of the service manager", source))?;
        let budget = Budget::new(Size::of(&config).budget);
        let loader = Loader::new(Arc::clone(&budget));
        let snapshot = lifecycle::load(&loader, config)?;
        Ok(Self { snapshot, loader, budget, ini_file, logging, inherited, watch: None })
    }

    /// The same host, which reloads while it serves whatever changes in the files that `watch` looks at.
    #[must_use]
    pub fn watched(self, watch: Watch) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// Serves until SIGTERM or SIGINT, then drains. A second signal ends the process immediately.
    ///
    /// # Errors
    /// The host cannot start to serve.
    pub fn serve(self) -> Result<(), HostError> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        if let Some(threads) = self.snapshot.config.network.threads {
            builder.worker_threads(threads);
        }
        let runtime = builder
            .enable_all()
            .thread_name("pserve")
            .build()
            .map_err(|source| HostError::System("cannot start threads", source))?;
        let waker = Waker::start(runtime.handle().clone())
            .map_err(|source| HostError::System("cannot start threads", source))?;
        let served = runtime.block_on(self.run());
        drop(waker);
        // Whatever has not ended by now has exceeded its deadline.
        runtime.shutdown_background();
        served
    }

    async fn run(self) -> Result<(), HostError> {
        let Self { snapshot, loader, budget, ini_file, logging, inherited, watch } = self;
        let config = Arc::clone(&snapshot.config);
        let (orders, ordered) = unbounded_channel();
        let signals = Signals::new().map_err(|source| HostError::System("cannot catch signals", source))?;
        let (stop, stopped) = watch::channel(None);
        let mut signalled = signals.watch(orders.clone());
        let watch = watch.map(|watch| (watch, orders.clone()));
        make_state_folder(&config.paths);
        tokio::spawn(give_back(Arc::clone(&budget)));
        let app = Arc::new(App::new(snapshot, orders, budget));
        // Not counted: it must not keep the app beyond the host's end.
        let dispatch: Weak<dyn Dispatch> = Arc::downgrade(&(Arc::clone(&app) as Arc<dyn Dispatch>));
        loader.dispatcher().set(dispatch);
        let server = Arc::new(Server::new(Arc::clone(&app), inherited));
        let prepared = server.prepare(&config).await?;
        let _pidfile = config.paths.pidfile.as_deref().map(Pidfile::write).transpose()?;
        let notifier = Arc::new(Notifier::from_environment());
        let lifecycle = Lifecycle {
            app: Arc::clone(&app),
            server: Arc::clone(&server),
            loader: Arc::new(loader),
            ini_file,
            logging,
            notifier: Arc::clone(&notifier),
            stop: stopped,
        };
        let is_active = tokio::select! {
            () = lifecycle.activate() => true,
            _ = &mut signalled => false,
        };
        let lifecycle = tokio::spawn(lifecycle.run(ordered));
        let mut watched = None;
        if is_active {
            announce(&prepared.urls(), &app);
            server.commit(prepared);
            notifier.ready();
            let watching = watch.map(|(watch, orders)| watch.start(orders)).transpose();
            let _watching = watching.map_err(|source| HostError::System("cannot start threads", source))?;
            let notifier = Arc::clone(&notifier);
            watched = Some(tokio::spawn(async move { notifier.watchdog().await }));
            // It completes only on a signal.
            let _ = signalled.await;
        }
        notifier.stopping();
        server.stop();
        tracing::info!("stopping: requests under way may end");
        let grace = app.snapshot().config.limits.shutdown_grace;
        drain(&server, &stop, lifecycle, grace).await;
        if let Some(watched) = watched {
            watched.abort();
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Wakes one of the runtime's threads periodically.
///
/// One thread polls the network on behalf of all. When it runs a request for a plugin that blocks, the other threads
/// stay asleep, and nobody polls the network meanwhile. A thread that is woken takes over the polling.
struct Waker {
    /// The thread ends when this is dropped.
    _stop: Sender<()>,
}

impl Waker {
    fn start(runtime: Handle) -> io::Result<Self> {
        let (stop, stopped) = channel();
        thread::Builder::new().name("pserve-wake".to_owned()).spawn(move || {
            while stopped.recv_timeout(WAKE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                runtime.spawn(async {});
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

/// Announces where the host listens: in the log, and with the address alone as the one line on standard output, which
/// scripts wait for.
fn announce(urls: &[String], app: &App) {
    for instance in app.snapshot().instances() {
        let (plugin, mount, state) = (&instance.library.name, instance.mount(), instance.state().name());
        tracing::info!(instance = instance.name, plugin, mount, state, "mounted");
    }
    for url in urls {
        tracing::info!("listening on {url}");
    }
    let mut output = io::stdout().lock();
    // A closed standard output is not a reason to stop serving.
    let _ = writeln!(output, "pserve: listening on {}", urls.first().map_or("", String::as_str))
        .and_then(|()| output.flush());
}

/// Drains requests first, then stops the plugins with their streams, then closes the remaining connections.
async fn drain(
    server: &Server,
    stop: &watch::Sender<Option<Instant>>,
    lifecycle: JoinHandle<()>,
    grace: Duration,
) {
    let deadline = Instant::now() + grace;
    if let Err(left) = server.answered(deadline).await {
        tracing::warn!(requests = left, "not answered within shutdown_grace");
    }
    stop.send_replace(Some(deadline));
    // It meets the deadline, except for its last moments, unless a new instance is being activated right now.
    let last = deadline.max(Instant::now() + LAST_MOMENT) + 2 * LAST_MOMENT;
    if tokio::time::timeout_at(last, lifecycle).await.is_err() {
        tracing::warn!("a reload was still under way after shutdown_grace");
    }
    if !server.closed(deadline.max(Instant::now() + LAST_MOMENT)).await {
        tracing::warn!("connections were still open after shutdown_grace");
    }
}

/// The signals that the host acts on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user1: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
        })
    }

    /// Completes on the first SIGTERM or SIGINT; the second one ends the process, whatever it is doing.
    fn watch(mut self, orders: UnboundedSender<Order>) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            self.stop(&orders).await;
            // Without a receiver the host has failed, and is about to exit.
            let _ = tell.send(());
            self.stop(&orders).await;
            tracing::warn!("stopped at once by a second signal");
            std::process::exit(1);
        });
        told
    }

    /// Waits for SIGTERM or SIGINT; forwards SIGHUP and SIGUSR1 as orders to reload.
    async fn stop(&mut self, orders: &UnboundedSender<Order>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {}
                _ = self.user1.recv() => {}
            }
            // Nobody receives orders once the host stops.
            let _ = orders.send(Order { task: Task::ReloadAll, reply: None });
        }
    }
}

/// The file with the process id; removed when this is dropped.
struct Pidfile<'a>(&'a Path);

impl<'a> Pidfile<'a> {
    fn write(path: &'a Path) -> Result<Self, HostError> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(path);
        file.and_then(|mut file| writeln!(file, "{}", std::process::id()))
            .map_err(|source| HostError::Pidfile { path: path.to_owned(), source })?;
        Ok(Self(path))
    }
}

impl Drop for Pidfile<'_> {
    fn drop(&mut self) {
        // If somebody else has removed it, there is nothing left to do.
        let _ = std::fs::remove_file(self.0);
    }
}
