//! One instance of a plugin: its configuration, its routes, and its state.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use abi_stable::std_types::{RResult, RString};
use async_ffi::BorrowingFfiFuture;
use plugin_api::Principal;
use plugin_api::abi::now::{NOW, NOW_VERSION, RawNowBox};
use plugin_api::abi::plugin::{RawAuthentication, RawHealth, RawPluginBox};
use plugin_api::abi::request::RawRequestRef;
use plugin_api::abi::response::RawResponse;
use plugin_api::guard::{GuardedFuture, guard};
use plugin_api::routing;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::calls::{Calls, Dispatcher};
use super::library::Library;
use super::services::Services;
use super::tasks::Tasks;
use super::{LoadError, Route};
use crate::budget::Budget;
use crate::config::InstanceConfig;
use crate::spread::{Counter, Spread};

/// Timeout of `activate`, which opens files but does not wait for servers.
const ACTIVATE_LIMIT: Duration = Duration::from_secs(30);
/// Timeout of `health`.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);
/// Timeout of `metrics`: the client waits for all instances.
const METRICS_LIMIT: Duration = Duration::from_secs(2);
/// Timeout for the tasks of an instance that could not be activated.
const TASKS_LIMIT: Duration = Duration::from_secs(1);
/// Time for a synchronous call to complete.
const ON_THE_SPOT: Duration = Duration::from_millis(20);
/// Interval of checks whether the calls in flight have completed.
const DRAIN_INTERVAL: Duration = Duration::from_millis(1);

/// One instance of a plugin.
pub(crate) struct Instance {
    pub(crate) name: String,
    pub(crate) config: InstanceConfig,
    pub(crate) library: Arc<Library>,
    /// The directory for its files.
    pub(crate) state_folder: String,
    pub(crate) routes: Vec<Route>,
    /// Its calls of other instances.
    pub(crate) calls: Calls,
    tasks: Arc<Tasks>,
    /// Number of requests that reached the plugin, including those of the instance that this one replaced.
    pub(crate) requests: Counter,
    state: AtomicU8,
    /// Calls in flight, without streamed answers. A call may end on another thread than it began on, so only the sum
    /// over the shards is meaningful.
    in_flight: Spread<AtomicUsize>,
    /// Notifies waiting requests that [`State::HandingOver`] is over.
    changed: Notify,
    /// The reason of the last failed activation.
    failure: Mutex<Option<String>>,
    raw: RawPluginBox,
    /// Present if the plugin supports the extension.
    now: Option<RawNowBox>,
}

/// The state of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Prepared, not activated.
    Prepared = 0,
    /// It serves.
    Ready = 1,
    /// Its activation failed.
    Failed = 2,
    /// It is being stopped, because the host stops.
    Draining = 3,
    /// It may be replaced; requests for it wait.
    HandingOver = 4,
    /// It was replaced or unloaded; requests for it look up its successor.
    Retired = 5,
}

impl State {
    /// The name in `/plugins`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Prepared => "loading",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Draining | Self::HandingOver | Self::Retired => "draining",
        }
    }
}

/// A call in flight; the instance is not removed while it lives.
#[must_use]
pub(crate) struct CallGuard<'a>(&'a Instance);

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        self.0.in_flight.mine().fetch_sub(1, Ordering::SeqCst);
    }
}

/// The result of `authenticate`.
pub(crate) enum Authentication {
    /// No live session.
    None,
    /// A live session of this user.
    Live(Principal),
    /// The session could not be checked.
    Unavailable,
}

impl Instance {
    /// Prepares an instance of `library`.
    pub(crate) fn prepare(
        library: &Arc<Library>,
        config: &InstanceConfig,
        state_folder: &str,
        budget: &Arc<Budget>,
        dispatcher: &Arc<Dispatcher>,
    ) -> Result<Self, LoadError> {
        let calls = Calls {
            instance: config.name.as_str().into(),
            permissions: Arc::clone(&config.calls),
            dispatcher: Arc::clone(dispatcher),
        };
        let tasks = Tasks::of(&config.name);
        let services = Services {
            instance: config.name.clone(),
            parameters: config.parameters.clone(),
            state_folder: state_folder.to_owned(),
            budget: Arc::clone(budget),
            calls: calls.clone(),
            tasks: Arc::clone(&tasks),
        };
        let raw = library.prepare(services.into_raw())?;
        let routes = routing::listed(&raw, &config.mount).map_err(LoadError::Refused)?;
        let now = guard(|| raw.extension(NOW.into(), NOW_VERSION).into_option()).ok().flatten();
        let now = now.and_then(|extension| extension.downcast().ok());
        Ok(Self {
            name: config.name.clone(),
            config: config.clone(),
            library: Arc::clone(library),
            state_folder: state_folder.to_owned(),
            routes,
            calls,
            tasks,
            requests: Counter::default(),
            state: AtomicU8::new(State::Prepared as u8),
            in_flight: Spread::default(),
            changed: Notify::new(),
            failure: Mutex::new(None),
            raw,
            now,
        })
    }

    /// Where its routes are mounted: begins with `/`, does not end with it; empty for the root.
    pub(crate) fn mount(&self) -> &str {
        &self.config.mount
    }

    /// Bits: `plugin_api::abi::plugin::CAPABILITY_*`.
    pub(crate) fn capabilities(&self) -> u64 {
        guard(|| self.raw.capabilities()).unwrap_or_default()
    }

    /// Its current state.
    pub(crate) fn state(&self) -> State {
        match self.state.load(Ordering::SeqCst) {
            0 => State::Prepared,
            1 => State::Ready,
            3 => State::Draining,
            4 => State::HandingOver,
            5 => State::Retired,
            _ => State::Failed,
        }
    }

    /// Why its activation failed.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn enter_state(&self, state: State) {
        self.state.store(state as u8, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Starts a call, if the instance is serving.
    ///
    /// # Errors
    /// Its state, if it is not.
    pub(crate) fn enter(&self) -> Result<CallGuard<'_>, State> {
        // Counted before the state is read: whoever changes the state and then sees no call can rely on it.
        self.in_flight.mine().fetch_add(1, Ordering::SeqCst);
        let guard = CallGuard(self);
        match self.state() {
            State::Ready => Ok(guard),
            state => Err(state),
        }
    }

    /// Waits until it is decided whether it is replaced.
    pub(crate) async fn settled(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state() != State::HandingOver {
                return;
            }
            changed.await;
        }
    }

    /// Accepts no calls until [`resume`](Self::resume) or [`retire`](Self::retire).
    pub(crate) fn suspend(&self) {
        self.enter_state(State::HandingOver);
    }

    /// Waits until no call is in flight, until `deadline` at the latest; returns whether that is the case.
    pub(crate) async fn drained(&self, deadline: Instant) -> bool {
        while self.calls_in_flight() > 0 {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(DRAIN_INTERVAL).await;
        }
        true
    }

    /// Number of calls in flight. Once no calls are accepted, the sum is 0 only when all have ended: the accepted
    /// calls are already counted, and each end that is seen or not seen yet changes the sum by exactly one.
    fn calls_in_flight(&self) -> usize {
        self.in_flight.all().fold(0, |sum, part| sum.wrapping_add(part.load(Ordering::SeqCst)))
    }

    /// Accepts calls again, only after [`suspend`](Self::suspend).
    pub(crate) fn resume(&self) {
        self.enter_state(State::Ready);
    }

    /// Sends waiting requests to its successor.
    pub(crate) fn retire(&self) {
        self.enter_state(State::Retired);
    }

    /// Activates it. If that fails, its state is [`State::Failed`].
    pub(crate) async fn activate(&self) -> Result<(), LoadError> {
        self.tasks.open();
        let activated = call(|| self.raw.activate(), ACTIVATE_LIMIT).await;
        if activated.is_err() {
            self.tasks.close(Instant::now() + TASKS_LIMIT).await;
        }
        let activated = activated.map_err(|message| format!("it cannot be activated: {message}"));
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = activated.clone().err();
        self.enter_state(if activated.is_ok() { State::Ready } else { State::Failed });
        activated.map_err(LoadError::Refused)
    }

    /// Ends its tasks and its streams, drains, and releases exclusive resources; it may be activated again.
    pub(crate) async fn deactivate(&self, deadline: Instant) -> Result<(), String> {
        self.tasks.close(deadline).await;
        call(|| self.raw.deactivate(), deadline.saturating_duration_since(Instant::now())).await
    }

    /// The last call before it is dropped.
    pub(crate) async fn shut_down(&self, limit: Duration) -> Result<(), String> {
        call(|| self.raw.shutdown(), limit).await
    }

    /// Deactivates it if it serves, and shuts it down, because the host stops. It ends by `deadline`, but the last
    /// call gets at least `last`.
    pub(crate) async fn stop(&self, deadline: Instant, last: Duration) -> Result<(), String> {
        let was = self.state();
        self.enter_state(State::Draining);
        // Synchronous calls are not counted as requests, and may still run; all other calls have completed.
        self.drained(deadline.min(Instant::now() + ON_THE_SPOT)).await;
        let deactivated = match was {
            State::Ready => self.deactivate(deadline).await,
            // An activation that was cut off has begun tasks, too.
            _ => {
                self.tasks.close(deadline).await;
                Ok(())
            }
        };
        let left = deadline.saturating_duration_since(Instant::now());
        deactivated.and(self.shut_down(left.max(last)).await)
    }

    /// Whether it can serve now: the error is why not; the text, if any, is why it can serve only a part of its
    /// requests. An instance that is being replaced counts as healthy, because its requests wait.
    pub(crate) async fn health(&self) -> Result<Option<String>, String> {
        match self.enter() {
            Err(State::HandingOver | State::Retired) => Ok(None),
            Err(state) => Err(self.failure().unwrap_or_else(|| format!("it is {}", state.name()))),
            Ok(_entered) => match call(|| self.raw.health(), HEALTH_LIMIT).await? {
                RawHealth { ready: true, detail } => Ok((!detail.is_empty()).then(|| detail.into_string())),
                RawHealth { detail, .. } => Err(detail.into_string()),
            },
        }
    }

    /// Its metrics in Prometheus text format, unchecked; empty while it is not serving.
    pub(crate) async fn metrics(&self) -> Result<String, String> {
        let Ok(_entered) = self.enter() else { return Ok(String::new()) };
        call(|| self.raw.metrics(), METRICS_LIMIT).await.map(RString::into_string)
    }

    /// Whether [`handle_now`](Self::handle_now) may return answers.
    pub(crate) fn has_answers_now(&self) -> bool {
        self.now.is_some()
    }

    /// Answers a request synchronously, if the plugin has the answer cached. The error is a panic of the plugin, in
    /// one line.
    pub(crate) fn handle_now(
        &self,
        _guard: &CallGuard<'_>,
        request: RawRequestRef<'_>,
    ) -> Option<Result<RawResponse, String>> {
        let now = self.now.as_ref()?;
        let answer = match guard(|| now.handle_now(request)) {
            Ok(RResult::ROk(answer)) => Ok(answer.into_option()?),
            Ok(RResult::RErr(message)) => Err(message.into_string()),
            Err(panic) => Err(panic.to_string()),
        };
        self.requests.add(1);
        Some(answer)
    }

    /// Answers a request. The error is a panic of the plugin, in one line.
    pub(crate) async fn handle<'a>(
        &'a self,
        _guard: &CallGuard<'a>,
        request: RawRequestRef<'a>,
    ) -> Result<RawResponse, String> {
        self.requests.add(1);
        asked(|| self.raw.handle(request)).await
    }

    /// Authenticates a request by its live session. The error is a panic of the plugin, in one line.
    pub(crate) async fn authenticate<'a>(
        &'a self,
        _guard: &CallGuard<'a>,
        request: RawRequestRef<'a>,
    ) -> Result<Authentication, String> {
        let RawAuthentication { outcome, user_id, handle } = asked(|| self.raw.authenticate(request)).await?;
        Ok(match outcome {
            0 => Authentication::None,
            // A session without a user authenticates nobody.
            1 if user_id.is_empty() => Authentication::None,
            1 => Authentication::Live(Principal { user_id: user_id.into(), handle: handle.into() }),
            _ => Authentication::Unavailable,
        })
    }
}

/// Runs a guarded call for a request. The error is a panic, in one line.
async fn asked<'a, T: 'a>(
    make: impl FnOnce() -> BorrowingFfiFuture<'a, RResult<T, RString>>,
) -> Result<T, String> {
    let future = guard(make).map_err(|panic| panic.to_string())?;
    match GuardedFuture::new(future).await {
        Ok(RResult::ROk(value)) => Ok(value),
        Ok(RResult::RErr(message)) => Err(message.into_string()),
        Err(panic) => Err(panic.to_string()),
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Instance({} of {}, {})", self.name, self.library.name, self.state().name())
    }
}

/// Runs a guarded call of the plugin's life cycle, with a timeout.
async fn call<'a, T: 'a>(
    make: impl FnOnce() -> BorrowingFfiFuture<'a, RResult<T, RString>>,
    limit: Duration,
) -> Result<T, String> {
    let limited = tokio::time::timeout(limit, asked(make)).await;
    limited.unwrap_or_else(|_| Err(format!("no answer within {:.1} s", limit.as_secs_f32())))
}
