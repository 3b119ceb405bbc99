//! The host's services for an instance: its parameters, its name, a directory, the log, the memory budget, calls, tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, ROption, RStr};
use plugin_api::abi::budget::{BUDGET, BUDGET_VERSION, KEPT, RawBudget, RawBudget_TO, RawBudgetBox, WAITING};
use plugin_api::abi::call::{CALL, CALL_VERSION};
use plugin_api::abi::host::{RawHost, RawHost_TO, RawHostBox};
use plugin_api::abi::tasks::{TASKS, TASKS_VERSION};
use plugin_api::extension::RawExtension;
use plugin_api::guard::guard;
use tracing::Level;

use super::calls::Calls;
use super::tasks::Tasks;
use crate::budget::{Budget, Payer};
use crate::config::Parameters;
use crate::log::{self, PLUGIN_TARGET};

/// The services of one instance.
pub(crate) struct Services {
    pub(crate) instance: String,
    pub(crate) parameters: Parameters,
    /// The directory for files; UTF-8, because it crosses the boundary as text.
    pub(crate) state_folder: String,
    pub(crate) budget: Arc<Budget>,
    pub(crate) calls: Calls,
    pub(crate) tasks: Arc<Tasks>,
}

impl Services {
    /// The object that the plugin gets.
    pub(crate) fn into_raw(self) -> RawHostBox {
        RawHost_TO::from_ptr(RBox::new(self), TD_Opaque)
    }
}

// A panic here would unwind through the plugin's frames, so each method that does something is guarded.
impl RawHost for Services {
    fn instance(&self) -> RStr<'_> {
        self.instance.as_str().into()
    }

    fn config(&self) -> RStr<'_> {
        self.parameters.json().into()
    }

    fn state_folder(&self) -> RStr<'_> {
        self.state_folder.as_str().into()
    }

    fn log_enabled(&self, level: u8) -> bool {
        guard(|| match to_level(level) {
            Level::ERROR => tracing::enabled!(target: PLUGIN_TARGET, Level::ERROR),
            Level::WARN => tracing::enabled!(target: PLUGIN_TARGET, Level::WARN),
            Level::INFO => tracing::enabled!(target: PLUGIN_TARGET, Level::INFO),
            Level::DEBUG => tracing::enabled!(target: PLUGIN_TARGET, Level::DEBUG),
            Level::TRACE => tracing::enabled!(target: PLUGIN_TARGET, Level::TRACE),
        })
        .unwrap_or(false)
    }

    fn log(&self, level: u8, message: RStr<'_>) {
        // If even logging panics, there is nothing left to report it with.
        let _ = guard(|| log::plugin_line(&self.instance, to_level(level), message.as_str()));
    }

    fn extension(&self, id: RStr<'_>, version: u32) -> ROption<RawExtension> {
        let extension = guard(|| match (id.as_str(), version) {
            (BUDGET, BUDGET_VERSION) => Some(Drawn::on(&self.budget).into_extension()),
            (CALL, CALL_VERSION) => Some(self.calls.extension(None)),
            (TASKS, TASKS_VERSION) => Some(Arc::clone(&self.tasks).extension()),
            _ => None,
        });
        extension.ok().flatten().into()
    }
}

/// Memory that an instance has reserved; returned when this is dropped, even if the plugin forgot to.
pub(crate) struct Drawn {
    budget: Arc<Budget>,
    waiting: AtomicUsize,
    kept: AtomicUsize,
}

impl Drawn {
    /// Nothing yet.
    pub(crate) fn on(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), waiting: AtomicUsize::new(0), kept: AtomicUsize::new(0) }
    }

    /// The extension that holds it.
    pub(crate) fn into_extension(self) -> RawExtension {
        RawExtension::new::<RawBudgetBox>(RawBudget_TO::from_ptr(RBox::new(self), TD_Opaque))
    }

    fn of(&self, kind: u8) -> Option<(Payer, &AtomicUsize)> {
        match kind {
            WAITING => Some((Payer::Waiting, &self.waiting)),
            KEPT => Some((Payer::Kept, &self.kept)),
            _ => None,
        }
    }
}

impl RawBudget for Drawn {
    fn draw(&self, kind: u8, bytes: u64) -> bool {
        let draw = || {
            let ((payer, drawn), bytes) = (self.of(kind)?, usize::try_from(bytes).ok()?);
            self.budget.draw(payer, bytes, bytes).then(|| drawn.fetch_add(bytes, Ordering::Relaxed))
        };
        guard(draw).is_ok_and(|drawn| drawn.is_some())
    }

    fn give_back(&self, kind: u8, bytes: u64) {
        let Some((payer, drawn)) = self.of(kind) else { return };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        // At most as much as it has reserved.
        let left = |drawn: usize| Some(drawn.saturating_sub(bytes));
        let before = drawn.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).unwrap_or_default();
        self.budget.give(payer, bytes.min(before));
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        self.budget.give(Payer::Waiting, *self.waiting.get_mut());
        self.budget.give(Payer::Kept, *self.kept.get_mut());
    }
}

fn to_level(number: u8) -> Level {
    match number {
        0 | 1 => Level::ERROR,
        2 => Level::WARN,
        3 => Level::INFO,
        4 => Level::DEBUG,
        _ => Level::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::extension::RawExtension;

    use super::*;

    fn services(budget: &Arc<Budget>) -> Services {
        let (instance, state_folder) = ("one".to_owned(), "/".to_owned());
        let parameters = Parameters::new(&serde_json::Map::new());
        let (calls, tasks) = (Calls::default(), Tasks::of("one"));
        Services { instance, parameters, state_folder, budget: Arc::clone(budget), calls, tasks }
    }

    #[test]
    fn an_instance_draws_on_the_hosts_memory_and_what_it_forgets_is_given_back() {
        let budget = Budget::new(1_000);
        let host = services(&budget);
        assert!(host.extension(BUDGET.into(), BUDGET_VERSION + 1).is_none());
        let extension = host.extension(BUDGET.into(), BUDGET_VERSION).into_option();
        let drawn = extension.map(RawExtension::downcast::<RawBudgetBox>).unwrap().unwrap();
        assert!(
            drawn.draw(KEPT, 500)
                && !drawn.draw(KEPT, 1)
                && !drawn.draw(7, 1)
                && !drawn.draw(WAITING, u64::MAX)
        );
        assert!(drawn.draw(WAITING, 250) && !drawn.draw(WAITING, 1));
        drawn.give_back(WAITING, 100);
        assert_eq!(budget.taken(), 650);
        // What it never had it cannot give.
        drawn.give_back(WAITING, 1_000);
        drawn.give_back(7, 1);
        assert_eq!(budget.taken(), 500);
        drop(drawn);
        assert_eq!(budget.taken(), 0);
    }
}
