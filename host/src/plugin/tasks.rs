//! The tasks of an instance: work beside requests, from activation to deactivation.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, RStr};
use async_ffi::{FfiFuture, FutureExt};
use plugin_api::abi::tasks::{RawTasks, RawTasks_TO, RawTasksBox};
use plugin_api::extension::RawExtension;
use plugin_api::guard::{GuardedFuture, guard};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// The tasks of an instance.
#[derive(Debug)]
pub(crate) struct Tasks {
    instance: String,
    /// None while the instance is not active.
    running: Mutex<Option<JoinSet<()>>>,
    /// The host's threads, known from the first activation on.
    threads: OnceLock<Handle>,
}

impl Tasks {
    /// Accepts no tasks before [`open`](Self::open).
    pub(crate) fn of(instance: &str) -> Arc<Self> {
        Arc::new(Self { instance: instance.to_owned(), running: Mutex::new(None), threads: OnceLock::new() })
    }

    /// Accepts tasks from now on.
    pub(crate) fn open(&self) {
        self.threads.get_or_init(Handle::current);
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(JoinSet::new());
    }

    /// Accepts no more tasks, and ends those that run. One that blocks its thread is left behind at `deadline`.
    pub(crate) async fn close(&self, deadline: Instant) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut running) = running else { return };
        if timeout_at(deadline, running.shutdown()).await.is_err() {
            tracing::warn!(instance = self.instance, "a task did not end in time");
            running.detach_all();
        }
    }

    /// The extension through which the instance starts tasks.
    pub(crate) fn extension(self: Arc<Self>) -> RawExtension {
        RawExtension::new::<RawTasksBox>(RawTasks_TO::from_ptr(RBox::new(Started(self)), TD_Opaque))
    }

    fn spawn(&self, name: &str, task: FfiFuture<()>) -> bool {
        // Whatever becomes of it, a panic when it is dropped is caught.
        let task = GuardedFuture::new(task);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(running), Some(threads)) = (running.as_mut(), self.threads.get()) else { return false };
        while running.try_join_next().is_some() {}
        let (instance, name) = (self.instance.clone(), name.to_owned());
        let guarded = async move {
            if let Err(panic) = task.await {
                tracing::error!(instance, task = name, reason = %panic, "the task ended early");
            }
        };
        running.spawn_on(guarded, threads);
        true
    }
}

/// The tasks, as the plugin holds them.
struct Started(Arc<Tasks>);

impl RawTasks for Started {
    fn spawn(&self, name: RStr<'_>, task: FfiFuture<()>) -> bool {
        guard(|| self.0.spawn(name.as_str(), task)).unwrap_or(false)
    }

    fn sleep(&self, nanoseconds: u64) -> FfiFuture<()> {
        let Some(threads) = self.0.threads.get() else {
            // Nothing runs yet that could wait for it.
            return std::future::pending().into_ffi();
        };
        let _entered = threads.enter();
        sleep(Duration::from_nanos(nanoseconds)).into_ffi()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn a_task_runs_between_activation_and_deactivation_and_its_panic_is_its_own() {
        let tasks = Tasks::of("one");
        let runs = Arc::new(AtomicUsize::new(0));
        let task = |runs: &Arc<AtomicUsize>| {
            let runs = Arc::clone(runs);
            async move {
                runs.fetch_add(1, Ordering::SeqCst);
                std::future::pending::<()>().await;
            }
            .into_ffi()
        };
        assert!(!tasks.spawn("early", task(&runs)));
        tasks.open();
        assert!(tasks.spawn("panics", async { panic!("on purpose") }.into_ffi()));
        assert!(tasks.spawn("runs", task(&runs)));
        while runs.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        // The task holds one more as long as it is there.
        assert_eq!(Arc::strong_count(&runs), 2);
        tasks.close(soon()).await;
        assert_eq!(Arc::strong_count(&runs), 1);
        assert!(!tasks.spawn("late", task(&runs)));
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        // Active again.
        tasks.open();
        assert!(tasks.spawn("again", async {}.into_ffi()));
        tasks.close(soon()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_lasts_as_long_as_it_says() {
        let tasks = Tasks::of("one");
        tasks.open();
        let started = Instant::now();
        Started(tasks).sleep(3_000_000_000).await;
        assert_eq!(started.elapsed().as_secs(), 3);
    }
}
