//! The parts that run while an instance is active: the engine, its store, and a runtime for both.

use std::future::Future;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use plugin_api::{Host, Level, Memory};
use sessman::budget::{self, Budget, Unlimited};
use sessman::config::{AccessConfig, Config, CookieConfig};
use sessman::error::with_sources;
use sessman::events::Kind;
use sessman::id::Handle;
use sessman::sessions::Sessions;
use sessman::store::{self, Store, StoreError};
use sessman::time::{Clock, SystemClock, Watch};
use tokio::runtime::{self, Builder, Runtime};
use tokio::task::JoinSet;

use crate::log::user;
use crate::runtime::Entered;
use crate::seldom::Seldom;

/// Interval of comparing the engine's clock with the wall clock.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// The parts that run while an instance is active.
pub(crate) struct Service {
    pub(crate) host: Host,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) access: AccessConfig,
    pub(crate) cookie: Option<CookieConfig>,
    /// Log limiter for requests with cookies that may have been planted.
    pub(crate) planted: Seldom,
    /// The OpenAPI description, cached after the first request for it.
    pub(crate) description: OnceLock<String>,
    /// Log limiter for hosts that do not count guesses themselves.
    pub(crate) wrong_admin_keys: Seldom,
    /// How far the wall clock is ahead of the engine's, in microseconds.
    clock_offset: Arc<AtomicI64>,
    runtime: runtime::Handle,
    /// Taken out by `stop`; a runtime must not be dropped on a thread of another runtime.
    owned: Mutex<Option<(Runtime, JoinSet<()>)>>,
}

/// How long the start waits for a file that another process has, and how often it looks.
const OWNED_FOR: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(25);

/// Opens a store. Between the two instances of a reload nobody owns a SQLite file: a command of an administrator that got in
/// between soon lets go of it again.
fn when_free<T>(open: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let until = Instant::now() + OWNED_FOR;
    loop {
        match open() {
            Err(StoreError::InUse(_)) if Instant::now() < until => std::thread::sleep(LOOK),
            opened => return opened,
        }
    }
}

impl Service {
    /// Opens the store and starts the periodic tasks.
    pub(crate) async fn start(config: &Config, host: &Host) -> Result<Self, String> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(config.store.threads())
            .thread_name(format!("{}-store", host.instance()))
            .enable_all()
            .build()
            .map_err(|error| format!("its threads could not be started: {error}"))?;
        let handle = runtime.handle().clone();
        let clock = Arc::new(SystemClock::start());
        let opened = {
            let (store, keys) = (config.store.clone(), config.encryption.clone());
            // Opening a file may block, which the host's threads must not do.
            let opened_by: Arc<dyn Clock> = clock.clone();
            let budget: Arc<dyn Budget> = match host.budget() {
                Some(budget) => Arc::new(HostBudget(budget)),
                None => Unlimited::shared(),
            };
            let opening = handle.spawn_blocking(move || {
                let open = || store::open(&*store, &opened_by, keys.as_ref(), &budget);
                when_free(open)
            });
            opening.await
        };
        let store: Arc<dyn Store> = match opened {
            Ok(Ok(store)) => store,
            Ok(Err(error)) => {
                runtime.shutdown_background();
                return Err(with_sources(&error));
            }
            Err(panic) => {
                runtime.shutdown_background();
                return Err(format!("the store could not be opened: {panic}"));
            }
        };
        let sessions = Arc::new(Sessions::new(store, clock.clone(), config.rules.clone()));
        if config.access.audit {
            let host = host.clone();
            sessions.events().observe(move |kind, handle, user_id| audit(&host, kind, handle, user_id));
        }
        if let Some(CookieConfig { secure: Some(false), name, .. }) = &config.cookie {
            tracing::warn!(
                "cookie.secure is false: browsers send the cookie {name} over connections that others read"
            );
        }
        let mut tasks = JoinSet::new();
        let clock_offset = Arc::new(AtomicI64::new(0));
        tasks.spawn_on(keep_time(clock, Arc::clone(&clock_offset)), &handle);
        let (cleaned, interval) = (Arc::clone(&sessions), config.cleanup_interval);
        let removes_records = !config.store.removes_by_itself();
        tasks.spawn_on(async move { cleaned.clean_up_regularly(interval, removes_records).await }, &handle);
        let owned = Mutex::new(Some((runtime, tasks)));
        Ok(Self {
            host: host.clone(),
            sessions,
            access: config.access.clone(),
            cookie: config.cookie.clone(),
            planted: Seldom::default(),
            description: OnceLock::new(),
            wrong_admin_keys: Seldom::default(),
            clock_offset,
            runtime: handle,
            owned,
        })
    }

    /// The name of the session cookie, if cookies are configured.
    pub(crate) fn cookie_name(&self) -> Option<&str> {
        self.cookie.as_ref().map(|cookie| cookie.name.as_str())
    }

    /// The metrics since the start, in Prometheus text format.
    pub(crate) fn metrics(&self) -> String {
        let name = "sessman_clock_offset_seconds";
        let offset = self.clock_offset.load(Ordering::Relaxed) as f64 / 1e6;
        format!(
            "{}{}# HELP {name} How far the wall clock is ahead of the clock that sessions end by.\n\
             # TYPE {name} gauge\n{name} {offset}\n",
            self.sessions.metrics(),
            self.sessions.store_metrics(),
        )
    }

    /// Runs `future` on this thread, with the service's runtime around it.
    pub(crate) fn run<F: Future>(&self, future: F) -> Entered<F> {
        Entered::new(self.runtime.clone(), future)
    }

    /// Stops the tasks and closes the store. Requests in flight complete.
    pub(crate) async fn stop(&self) {
        let Some((runtime, mut tasks)) = self.owned.lock().unwrap_or_else(PoisonError::into_inner).take()
        else {
            return;
        };
        self.sessions.events().end();
        self.run(tasks.shutdown()).await;
        self.run(self.sessions.close()).await;
        runtime.shutdown_background();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some((runtime, _)) = self.owned.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            runtime.shutdown_background();
        }
    }
}

/// The host's memory budget, which is shared with its requests.
struct HostBudget(plugin_api::Budget);

impl Budget for HostBudget {
    fn draw(&self, kind: budget::Kind, bytes: usize) -> bool {
        self.0.draw(memory_of(kind), bytes)
    }

    fn give_back(&self, kind: budget::Kind, bytes: usize) {
        self.0.give_back(memory_of(kind), bytes);
    }
}

fn memory_of(kind: budget::Kind) -> Memory {
    match kind {
        budget::Kind::Waiting => Memory::Waiting,
        budget::Kind::Kept => Memory::Kept,
    }
}

/// Logs an event of a session. Frequent events, such as updates and expiries, are not.
fn audit(host: &Host, kind: Kind, handle: Handle, user_id: Option<&str>) {
    let what = match kind {
        Kind::Created => "began",
        Kind::Rotated => "has a new id",
        Kind::Ended => "ended",
        Kind::Evicted => "gave way to another of its user",
        Kind::Updated | Kind::Expired | Kind::Cleared => return,
    };
    if host.log_enabled(Level::Info) {
        host.log(Level::Info, &format!("audit: a session {what} handle={handle}{}", user(user_id)));
    }
}

async fn keep_time(clock: Arc<SystemClock>, shown: Arc<AtomicI64>) {
    let mut watch = Watch::default();
    loop {
        tokio::time::sleep(CLOCK_INTERVAL).await;
        let offset = clock.discipline();
        shown.store(offset.ahead, Ordering::Relaxed);
        match watch.look(offset) {
            Some(notice) if notice.is_warning() => tracing::warn!("{notice}"),
            Some(notice) => tracing::info!("{notice}"),
            None => {}
        }
    }
}
