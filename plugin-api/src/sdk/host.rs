//! What the host offers an instance.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use abi_stable::std_types::RStr;
use async_ffi::FutureExt;

use crate::abi::budget::{BUDGET, BUDGET_VERSION};
use crate::abi::call::{CALL, CALL_VERSION};
use crate::abi::host::RawHostBox;
use crate::abi::tasks::{RawTasksBox, TASKS, TASKS_VERSION};
use crate::extension::RawExtension;
use crate::guard::GuardedFuture;
use crate::{Budget, CallError, Calls};

/// The severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// An unexpected failure.
    Error = 1,
    /// Something that an operator should look at.
    Warn = 2,
    /// A milestone.
    Info = 3,
    /// For troubleshooting.
    Debug = 4,
    /// Every step.
    Trace = 5,
}

/// What the host offers an instance, for the instance's whole life. Cheap to clone.
#[derive(Clone)]
pub struct Host(Arc<RawHostBox>);

impl Host {
    pub(crate) fn new(raw: RawHostBox) -> Self {
        Self(Arc::new(raw))
    }

    /// The name of the instance: the key of its line in `[plugin_parms]`.
    pub fn instance(&self) -> &str {
        self.0.instance().into()
    }

    /// The instance's configuration: the text of a JSON object, without the keys that belong to the host.
    pub fn config(&self) -> &str {
        self.0.config().into()
    }

    /// The directory for the instance's own files. It exists from `activate` on.
    pub fn state_folder(&self) -> &Path {
        Path::new(<&str>::from(self.0.state_folder()))
    }

    /// Whether lines of this level are logged.
    pub fn log_enabled(&self, level: Level) -> bool {
        self.0.log_enabled(level as u8)
    }

    /// Writes one line to the host's log, marked with the instance's name.
    pub fn log(&self, level: Level, message: &str) {
        self.0.log(level as u8, message.into());
    }

    /// The host's memory budget, from which a plugin reserves what it holds on behalf of clients; `None` if the host
    /// has none. Call it once and keep the result: dropping it returns everything that was reserved through it.
    pub fn budget(&self) -> Option<Budget> {
        self.extension(BUDGET, BUDGET_VERSION)?.downcast().ok().map(Budget::new)
    }

    /// Calls to other instances of the plugin's own, such as those of a task. On behalf of a request, use
    /// [`Request::calls`](crate::Request::calls).
    ///
    /// # Errors
    /// [`CallError::Unsupported`].
    pub fn calls(&self) -> Result<Calls, CallError> {
        Calls::new(self.extension(CALL, CALL_VERSION))
    }

    /// Runs `task` beside requests, on the host's threads, until it completes or the instance is deactivated: then it is
    /// dropped where it waits. Call it in `activate` or later. `name` is for the log.
    ///
    /// # Errors
    /// The instance is not active, or the host does not offer the extension `tasks`.
    pub fn spawn(&self, name: &str, task: impl Future<Output = ()> + Send + 'static) -> Result<(), String> {
        // Guarded on this side: a panic, while the host drops it, too, must not cross the boundary.
        let (host, called, task) = (self.clone(), name.to_owned(), GuardedFuture::new(task));
        let guarded = async move {
            if let Err(panic) = task.await {
                host.log(Level::Error, &format!("the task {called} ended early: {panic}"));
            }
        };
        match self.tasks()?.spawn(name.into(), guarded.into_ffi()) {
            true => Ok(()),
            false => Err(format!("the task {name} is not started: the instance is not active")),
        }
    }

    /// Runs `work` again and again, with `period` between the end of one run and the next, first after one `period`. For
    /// when it ends see [`spawn`](Self::spawn).
    ///
    /// # Errors
    /// As for `spawn`.
    pub fn interval<F: Future<Output = ()> + Send + 'static>(
        &self,
        name: &str,
        period: Duration,
        mut work: impl FnMut() -> F + Send + 'static,
    ) -> Result<(), String> {
        let tasks = self.tasks()?;
        let nanoseconds = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.spawn(name, async move {
            loop {
                tasks.sleep(nanoseconds).await;
                work().await;
            }
        })
    }

    fn tasks(&self) -> Result<RawTasksBox, String> {
        let tasks = self.extension(TASKS, TASKS_VERSION).and_then(|tasks| tasks.downcast().ok());
        tasks.ok_or_else(|| CallError::Unsupported(TASKS).to_string())
    }

    /// An ability that version 1 of the ABI does not have; see [`crate::extension`].
    pub fn extension(&self, id: &str, version: u32) -> Option<RawExtension> {
        self.0.extension(RStr::from(id), version).into()
    }
}

impl fmt::Debug for Host {
    /// Without the configuration, which holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({})", self.instance())
    }
}
