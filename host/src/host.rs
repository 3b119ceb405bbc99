//! The life of the host: load, bind, activate, serve, drain.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::config::{Config, Paths};
use crate::http::App;
use crate::http::access::{self, ExposureError};
use crate::http::server::{Bound, Draining, Server};
use crate::plugin::{LoadError, Registry};

/// For streams to end once their plugin has been told to stop, even when the grace is used up.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// How long a plugin that blocks a thread may hold up the others.
const WAKE_INTERVAL: Duration = Duration::from_millis(100);

/// A host that cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The plugin directory cannot be read.
    #[error("no plugins")]
    Plugins(#[source] LoadError),
    /// Instances would be open to the network without a word about it.
    #[error(transparent)]
    Exposure(#[from] ExposureError),
    /// The socket cannot be bound.
    #[error("cannot listen on {address} ([network] bindto, port)")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The process id cannot be written.
    #[error("cannot write {} ([paths] pidfile)", path.display())]
    Pidfile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Something that the operating system refuses.
    #[error("{0}")]
    System(&'static str, #[source] io::Error),
}

/// Plugins that are loaded and prepared, but hold nothing yet.
pub struct Host {
    config: Config,
    app: App,
}

impl Host {
    /// Loads the plugins and prepares their instances.
    ///
    /// # Errors
    /// The plugin directory cannot be read, or instances would be open to the network without a word about it.
    /// A plugin or an instance that fails is logged, and the others go on.
    pub fn load(config: Config) -> Result<Self, HostError> {
        let registry = Registry::load(&config).map_err(HostError::Plugins)?;
        let app = App::new(&config, registry);
        let access = app.instances().iter().map(|instance| (instance.name.as_str(), &instance.access));
        access::check_exposure(config.network.address, access)?;
        Ok(Self { config, app })
    }

    /// Serves until SIGTERM or SIGINT, then lets what is under way end. A second signal ends the process at once.
    ///
    /// # Errors
    /// The host cannot begin to serve.
    pub fn serve(self) -> Result<(), HostError> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        if let Some(threads) = self.config.network.threads {
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
        // What has not ended by now has had its time.
        runtime.shutdown_background();
        served
    }

    async fn run(self) -> Result<(), HostError> {
        let Self { config, app } = self;
        let mut signals =
            Signals::new().map_err(|source| HostError::System("cannot catch signals", source))?;
        make_state_folder(&config.paths);
        let address = config.network.address;
        let bind_failed = |source| HostError::Bind { address, source };
        let bound = Server::bind(address, &config.limits).await.map_err(bind_failed)?;
        let _pidfile = config.paths.pidfile.as_deref().map(Pidfile::write).transpose()?;
        for instance in app.instances() {
            if let Err(error) = instance.activate().await {
                tracing::error!(instance = instance.name, reason = error.line(), "not active");
            }
        }
        let app = Arc::new(app);
        announce(&bound, &app).map_err(bind_failed)?;
        let draining = bound.serve(Arc::clone(&app)).run(signals.next()).await;
        tracing::info!("stopping: requests under way may end");
        tokio::spawn(async move {
            signals.next().await;
            tracing::warn!("stopped at once by a second signal");
            std::process::exit(1);
        });
        drain(draining, &app, config.limits.shutdown_grace).await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Gives one of the runtime's threads something to do from time to time.
///
/// One thread waits for the network on behalf of all. When it gets a request for a plugin that blocks, the others
/// sleep on, and nobody sees what comes meanwhile; the one that is woken takes its place.
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

/// Says where the host listens, in the log and as the one line on standard output, which scripts wait for.
fn announce(bound: &Bound, app: &App) -> io::Result<()> {
    let address = bound.address()?;
    for instance in app.instances() {
        let (plugin, state) = (&instance.plugin, instance.state().name());
        tracing::info!(instance = instance.name, plugin, mount = instance.mount, state, "mounted");
    }
    tracing::info!("listening on http://{address}");
    let mut output = io::stdout().lock();
    // Nobody may be reading it, and that is no reason not to serve.
    let _ = writeln!(output, "pserve: listening on http://{address}").and_then(|()| output.flush());
    Ok(())
}

/// Requests first, then the plugins with their streams, then what is left of the connections.
async fn drain(mut draining: Draining, app: &App, grace: Duration) {
    let deadline = Instant::now() + grace;
    if let Err(left) = draining.requests(deadline).await {
        tracing::warn!(requests = left, "not answered within shutdown_grace");
    }
    for instance in app.instances() {
        let left = deadline.saturating_duration_since(Instant::now()).max(LAST_MOMENT);
        if let Err(reason) = instance.stop(left).await {
            tracing::warn!(instance = instance.name, reason, "did not stop in order");
        }
    }
    if !draining.connections(deadline.max(Instant::now() + LAST_MOMENT)).await {
        tracing::warn!("connections were still open after shutdown_grace");
    }
}

/// Not an error of the host: on a read-only disk a plugin that keeps nothing in files serves all the same, and one
/// that does says so itself.
fn make_state_folder(paths: &Paths) {
    if let Err(error) = std::fs::create_dir_all(&paths.state) {
        tracing::warn!(folder = %paths.state.display(), %error, "cannot make the state folder ([paths] state)");
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The file with the process id; removed when this is dropped.
struct Pidfile<'a>(&'a Path);

impl<'a> Pidfile<'a> {
    fn write(path: &'a Path) -> Result<Self, HostError> {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .map_err(|source| HostError::Pidfile { path: path.to_owned(), source })?;
        Ok(Self(path))
    }
}

impl Drop for Pidfile<'_> {
    fn drop(&mut self) {
        // Somebody may have removed it; then there is nothing left to do.
        let _ = std::fs::remove_file(self.0);
    }
}
