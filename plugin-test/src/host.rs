//! What the host offers an instance, for a test.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, ROption, RStr};
use plugin_api::Level;
use plugin_api::abi::budget::{BUDGET, BUDGET_VERSION, KEPT, RawBudget, RawBudget_TO, RawBudgetBox, WAITING};
use plugin_api::abi::call::{CALL, CALL_VERSION};
use plugin_api::abi::host::{RawHost, RawHost_TO, RawHostBox};
use plugin_api::abi::tasks::{TASKS, TASKS_VERSION};
use plugin_api::extension::RawExtension;

use crate::calls::Calls;
use crate::tasks::Tasks;

/// A line that a plugin logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its severity.
    pub level: Level,
    /// The line, without the host's own parts.
    pub text: String,
}

/// What an instance and its test share.
pub(crate) struct TestHost {
    pub(crate) instance: String,
    /// A JSON object.
    pub(crate) config: String,
    /// Absolute.
    pub(crate) state_folder: String,
    /// The least severe level that is logged.
    pub(crate) level: Level,
    /// In bytes.
    pub(crate) memory: u64,
    pub(crate) lines: Mutex<Vec<LogLine>>,
    /// Of the memory, in bytes.
    pub(crate) drawn: AtomicU64,
    pub(crate) calls: Arc<Calls>,
    pub(crate) tasks: Arc<Tasks>,
}

/// The extensions of the host, by name and version.
fn extension(host: &Arc<TestHost>, id: &str, version: u32) -> Option<RawExtension> {
    match (id, version) {
        (BUDGET, BUDGET_VERSION) => Some(budget(host)),
        (CALL, CALL_VERSION) => Some(Arc::clone(&host.calls).extension(false)),
        (TASKS, TASKS_VERSION) => Some(Arc::clone(&host.tasks).extension()),
        _ => None,
    }
}

fn budget(host: &Arc<TestHost>) -> RawExtension {
    let budget = Budget { host: Arc::clone(host), drawn: AtomicU64::new(0) };
    RawExtension::new::<RawBudgetBox>(RawBudget_TO::from_ptr(RBox::new(budget), TD_Opaque))
}

/// The object that the plugin gets.
pub(crate) fn raw(host: &Arc<TestHost>) -> RawHostBox {
    RawHost_TO::from_ptr(RBox::new(Shared(Arc::clone(host))), TD_Opaque)
}

struct Shared(Arc<TestHost>);

// None of these can panic: a panic would unwind through the plugin's frames.
impl RawHost for Shared {
    fn instance(&self) -> RStr<'_> {
        self.0.instance.as_str().into()
    }

    fn config(&self) -> RStr<'_> {
        self.0.config.as_str().into()
    }

    fn state_folder(&self) -> RStr<'_> {
        self.0.state_folder.as_str().into()
    }

    fn log_enabled(&self, level: u8) -> bool {
        to_level(level) <= self.0.level
    }

    fn log(&self, level: u8, message: RStr<'_>) {
        let (level, text) = (to_level(level), message.to_string());
        if level <= self.0.level {
            self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).push(LogLine { level, text });
        }
    }

    fn extension(&self, id: RStr<'_>, version: u32) -> ROption<RawExtension> {
        extension(&self.0, id.as_str(), version).into()
    }
}

fn to_level(number: u8) -> Level {
    match number {
        0 | 1 => Level::Error,
        2 => Level::Warn,
        3 => Level::Info,
        4 => Level::Debug,
        _ => Level::Trace,
    }
}

/// Memory that an instance has reserved; returned when this is dropped.
struct Budget {
    host: Arc<TestHost>,
    /// Of both kinds together.
    drawn: AtomicU64,
}

impl RawBudget for Budget {
    fn draw(&self, kind: u8, bytes: u64) -> bool {
        let more = |drawn: u64| drawn.checked_add(bytes).filter(|drawn| *drawn <= self.host.memory);
        let is_drawn = matches!(kind, WAITING | KEPT)
            && self.host.drawn.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if is_drawn {
            self.drawn.fetch_add(bytes, Ordering::Relaxed);
        }
        is_drawn
    }

    fn give_back(&self, kind: u8, bytes: u64) {
        if !matches!(kind, WAITING | KEPT) {
            return;
        }
        // At most as much as it has reserved.
        let left = |drawn: u64| Some(drawn.saturating_sub(bytes));
        let before = self.drawn.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).unwrap_or_default();
        self.host.drawn.fetch_sub(bytes.min(before), Ordering::Relaxed);
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.host.drawn.fetch_sub(*self.drawn.get_mut(), Ordering::Relaxed);
    }
}
