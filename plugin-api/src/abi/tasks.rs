//! The extension [`TASKS`] of the host: work that goes on beside requests.
//!
//! A task runs on the host's threads, from the instance's activation to its deactivation: the host ends it before it calls
//! `deactivate`.

use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, RStr};
use async_ffi::FfiFuture;

/// The extension's name, which a plugin asks its host for.
pub const TASKS: &str = "tasks";
/// Its version.
pub const TASKS_VERSION: u32 = 1;

/// An owned [`RawTasks`].
pub type RawTasksBox = RawTasks_TO<RBox<()>>;

/// Runs tasks of one instance.
#[sabi_trait]
pub trait RawTasks: Send + Sync + 'static {
    /// Runs `task` until it completes or the instance is deactivated, when it is dropped. `name` is for the log. Returns
    /// false, and drops the task, if the instance is not active.
    fn spawn(&self, name: RStr<'_>, task: FfiFuture<()>) -> bool;
    /// A future that completes after so many nanoseconds. It must be awaited in a task or in a call for a request.
    #[sabi(last_prefix_field)]
    fn sleep(&self, nanoseconds: u64) -> FfiFuture<()>;
}
