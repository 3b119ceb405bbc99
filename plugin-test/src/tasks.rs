//! The tasks of an instance, by a clock that the test alone moves.

use std::collections::BTreeMap;
use std::mem::take;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, RStr};
use async_ffi::{FfiFuture, FutureExt};
use plugin_api::abi::tasks::{RawTasks, RawTasks_TO, RawTasksBox};
use plugin_api::extension::RawExtension;
use plugin_api::guard::{GuardedFuture, Panic};

use crate::Failure;

/// The tasks of one instance.
#[derive(Default)]
pub(crate) struct Tasks {
    /// Locked while tasks are polled or dropped, which may start tasks and sleeps: so never while `state` is locked.
    running: Mutex<Vec<Task>>,
    state: Mutex<State>,
}

/// What running tasks use as well.
#[derive(Default)]
struct State {
    /// Whether the instance is active, or is being activated.
    is_open: bool,
    /// Not polled yet.
    started: Vec<Task>,
    /// The time since the instance was made.
    now: Duration,
    /// Who waits, by the end of the sleep and by its number.
    sleeps: BTreeMap<(Duration, u64), Waker>,
    /// The number of the next sleep.
    next: u64,
}

impl Tasks {
    /// Accepts tasks from now on.
    pub(crate) fn open(&self) {
        self.state().is_open = true;
    }

    /// Accepts no more tasks, and drops those that there are.
    pub(crate) fn close(&self) {
        let started = {
            let mut state = self.state();
            state.is_open = false;
            take(&mut state.started)
        };
        drop(started);
        self.running().clear();
    }

    /// Moves the clock. Whether tasks rest is looked at for no longer than `limit`.
    pub(crate) fn advance(&self, time: Duration, limit: Duration) -> Result<(), Failure> {
        let mut running = self.running();
        let (end, deadline) = (self.state().now.saturating_add(time), Instant::now() + limit);
        loop {
            running.append(&mut self.state().started);
            let mut is_at_rest = true;
            running.retain_mut(|task| {
                if !task.woken.0.swap(false, Ordering::SeqCst) {
                    return true;
                }
                is_at_rest = false;
                // A panic in it has been logged by the plugin's side.
                task.poll().is_pending()
            });
            if is_at_rest && !self.wake_next(end) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Failure::Late(limit));
            }
        }
    }

    /// Moves the clock to the end of the next sleep, and wakes who waits for it; to `end` if there is none before.
    fn wake_next(&self, end: Duration) -> bool {
        let mut state = self.state();
        let next = state.sleeps.first_key_value().map(|(&next, _)| next).filter(|(ends, _)| *ends <= end);
        state.now = next.map_or(end, |(ends, _)| ends);
        let waker = next.and_then(|next| state.sleeps.remove(&next));
        drop(state);
        waker.map(Waker::wake).is_some()
    }

    /// The extension through which the instance starts tasks.
    pub(crate) fn extension(self: Arc<Self>) -> RawExtension {
        RawExtension::new::<RawTasksBox>(RawTasks_TO::from_ptr(RBox::new(Started(self)), TD_Opaque))
    }

    fn running(&self) -> MutexGuard<'_, Vec<Task>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Task {
    future: Pin<Box<GuardedFuture<FfiFuture<()>>>>,
    woken: Arc<Woken>,
}

impl Task {
    fn poll(&mut self) -> Poll<Result<(), Panic>> {
        let waker = Waker::from(Arc::clone(&self.woken));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

/// Whether a task is to be polled.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The tasks, as the plugin holds them.
struct Started(Arc<Tasks>);

// None of these can panic: a panic would unwind through the plugin's frames.
impl RawTasks for Started {
    fn spawn(&self, _name: RStr<'_>, task: FfiFuture<()>) -> bool {
        // Whatever becomes of it, a panic when it is dropped is caught.
        let future = Box::pin(GuardedFuture::new(task));
        let task = Task { future, woken: Arc::new(Woken(AtomicBool::new(true))) };
        let mut state = self.0.state();
        let is_open = state.is_open;
        if is_open {
            state.started.push(task);
        }
        is_open
    }

    fn sleep(&self, nanoseconds: u64) -> FfiFuture<()> {
        let mut state = self.0.state();
        state.next += 1;
        let key = (state.now.saturating_add(Duration::from_nanos(nanoseconds)), state.next);
        Sleep { tasks: Arc::clone(&self.0), key }.into_ffi()
    }
}

/// Ready at its end.
struct Sleep {
    tasks: Arc<Tasks>,
    key: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.tasks.state();
        if state.now >= self.key.0 {
            return Poll::Ready(());
        }
        state.sleeps.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.tasks.state().sleeps.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use plugin_api::{Call, CallError, Class, Host, Level, Plugin, Response, Route};
    use serde_json::json;

    use super::*;
    use crate::{Instance, LogLine, Request, Setup};

    const SECOND: Duration = Duration::from_secs(1);

    /// Its tasks log.
    struct Worker(Host);

    /// Logs when it is dropped.
    struct Dropped(Host);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.log(Level::Info, "dropped");
        }
    }

    impl Worker {
        fn logging(&self, text: &'static str) -> impl FnMut() -> std::future::Ready<()> + Send + 'static {
            let host = self.0.clone();
            move || {
                host.log(Level::Info, text);
                std::future::ready(())
            }
        }

        fn start(&self) -> Result<(), String> {
            self.0.interval("three", 3 * SECOND, self.logging("three"))?;
            self.0.interval("two", 2 * SECOND, self.logging("two"))?;
            let (host, dropped) = (self.0.clone(), Dropped(self.0.clone()));
            self.0.spawn("waits", async move {
                let call = Call::new("mailer", "POST", "send");
                let answer = host.calls().unwrap().send(call).await;
                host.log(Level::Info, &format!("answered {}", answer.unwrap().status()));
                // A task of a task.
                let (inner, kept) = (host.clone(), dropped);
                host.spawn("inner", async move {
                    inner.log(Level::Info, "inner");
                    pending::<()>().await;
                    drop(kept);
                })
                .unwrap();
            })
        }
    }

    impl Plugin for Worker {
        const NAME: &'static str = "worker";
        const VERSION: &'static str = "1.0.0";

        fn prepare(host: Host) -> Result<Self, String> {
            let early = host.spawn("early", async {}).unwrap_err();
            host.log(Level::Debug, &early);
            Ok(Self(host))
        }

        fn routes(&self) -> Vec<Route> {
            vec![Route::new("*", &["POST"], Class::Public)]
        }

        async fn activate(&self) -> Result<(), String> {
            let config = self.0.config();
            if config.contains("works") {
                self.start()?;
            }
            if config.contains("refuses") {
                self.0.interval("two", 2 * SECOND, self.logging("two"))?;
                let dropped = Dropped(self.0.clone());
                self.0.spawn("never", async move { drop(dropped) })?;
                return Err("refused".to_owned());
            }
            Ok(())
        }

        async fn deactivate(&self) -> Result<(), String> {
            self.0.log(Level::Info, "deactivated");
            Ok(())
        }

        async fn handle(&self, request: plugin_api::Request<'_>) -> Response {
            match request.path_below_mount() {
                "panic" => self.0.spawn("bad", async { panic!("on purpose") }).unwrap(),
                _ => self.0.interval("two", 2 * SECOND, self.logging("two")).unwrap(),
            }
            Response::new(204)
        }
    }

    fn answered(_: &Call) -> Result<Response, CallError> {
        Ok(Response::new(202))
    }

    fn lines(worker: &Instance) -> Vec<String> {
        let infos = worker.log().into_iter().filter(|line| line.level == Level::Info);
        infos.map(|LogLine { text, .. }| text).collect()
    }

    #[test]
    fn tasks_run_when_the_test_moves_the_clock_in_the_order_of_their_sleeps() {
        let config = json!({ "works": 1 });
        let worker = Setup::of::<Worker>().config(config).answer_calls(answered).start();
        assert!(lines(&worker).is_empty());
        worker.advance(Duration::ZERO).unwrap();
        assert_eq!(lines(&worker), ["answered 202", "inner"]);
        worker.advance(2 * SECOND - Duration::from_nanos(1)).unwrap();
        assert_eq!(lines(&worker).len(), 2);
        worker.advance(Duration::from_nanos(1)).unwrap();
        assert_eq!(lines(&worker)[2..], ["two"]);
        // At 3, 4, and at 6 in the order in which they were begun.
        worker.advance(4 * SECOND).unwrap();
        assert_eq!(lines(&worker)[3..], ["three", "two", "three", "two"]);
        assert_eq!(worker.calls().len(), 1);
    }

    #[test]
    fn tasks_are_dropped_before_the_plugin_is_deactivated() {
        let config = json!({ "works": 1 });
        let worker = Setup::of::<Worker>().config(config).answer_calls(answered).start();
        worker.advance(Duration::ZERO).unwrap();
        worker.deactivate().unwrap();
        assert_eq!(lines(&worker)[2..], ["dropped", "deactivated"]);
        assert_eq!(worker.advance(9 * SECOND), Err(Failure::Inactive));
        // Nothing of before goes on.
        worker.activate().unwrap();
        worker.advance(2 * SECOND).unwrap();
        assert_eq!(lines(&worker)[4..], ["answered 202", "inner", "two"]);
    }

    #[test]
    fn tasks_of_an_activation_that_failed_are_dropped() {
        let worker = Setup::of::<Worker>().config(json!({ "refuses": 1 })).prepare().unwrap();
        assert_eq!(worker.log()[0].text, "the task early is not started: the instance is not active");
        worker.activate().unwrap_err();
        assert_eq!(lines(&worker), ["dropped"]);
    }

    #[test]
    fn a_request_starts_tasks_too_and_their_clock_has_moved_on() {
        let worker = Setup::of::<Worker>().start();
        worker.advance(SECOND).unwrap();
        worker.call(&Request::post("/worker/interval")).unwrap().expect(204);
        worker.advance(SECOND).unwrap();
        assert!(lines(&worker).is_empty());
        worker.advance(SECOND).unwrap();
        assert_eq!(lines(&worker), ["two"]);
    }

    #[test]
    fn a_panic_is_logged_and_ends_no_other_task() {
        let worker = Setup::of::<Worker>().start();
        worker.call(&Request::post("/worker/panic")).unwrap().expect(204);
        worker.call(&Request::post("/worker/interval")).unwrap().expect(204);
        worker.advance(2 * SECOND).unwrap();
        let errors = worker.log().into_iter().filter(|line| line.level == Level::Error);
        let errors: Vec<String> = errors.map(|line| line.text).collect();
        assert_eq!(errors, ["the task bad ended early: panicked: on purpose"]);
        assert_eq!(lines(&worker), ["two"]);
        worker.advance(2 * SECOND).unwrap();
    }

    #[test]
    fn a_sleep_that_nobody_waits_for_any_more_is_forgotten() {
        let tasks = Arc::new(Tasks::default());
        let mut sleep = Started(Arc::clone(&tasks)).sleep(1);
        assert!(Pin::new(&mut sleep).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(tasks.state().sleeps.len(), 1);
        drop(sleep);
        assert!(tasks.state().sleeps.is_empty());
    }

    #[test]
    fn tasks_that_never_rest_are_an_error() {
        let tasks = Arc::new(Tasks::default());
        tasks.open();
        let spin = std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            Poll::Pending
        });
        assert!(Started(Arc::clone(&tasks)).spawn("spin".into(), spin.into_ffi()));
        let limit = Duration::from_millis(20);
        assert_eq!(tasks.advance(SECOND, limit), Err(Failure::Late(limit)));
    }
}
