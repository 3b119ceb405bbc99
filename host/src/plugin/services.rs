//! What the host offers an instance: its parameters, its name, a folder, the log, and memory to draw on.

use std::sync::{Arc, Mutex, PoisonError};

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, ROption, RStr};
use plugin_api::abi::budget::{BUDGET, BUDGET_VERSION, KEPT, RawBudget, RawBudget_TO, RawBudgetBox, WAITING};
use plugin_api::abi::host::{RawHost, RawHost_TO, RawHostBox};
use plugin_api::extension::RawExtension;
use plugin_api::guard::guard;
use tracing::Level;

use crate::budget::{Budget, Payer, Share};
use crate::config::Parameters;
use crate::log::{self, PLUGIN_TARGET};

/// The services of one instance.
pub(crate) struct Services {
    pub(crate) instance: String,
    pub(crate) parameters: Parameters,
    /// The folder for files; UTF-8, because it crosses the boundary as text.
    pub(crate) state_folder: String,
    pub(crate) budget: Arc<Budget>,
}

impl Services {
    /// As the plugin gets them.
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
        // Nobody is left to tell when even logging panics.
        let _ = guard(|| log::plugin_line(&self.instance, to_level(level), message.as_str()));
    }

    fn extension(&self, id: RStr<'_>, version: u32) -> ROption<RawExtension> {
        if (id.as_str(), version) != (BUDGET, BUDGET_VERSION) {
            return ROption::RNone;
        }
        let drawn = guard(|| {
            let budget = RawBudget_TO::from_ptr(RBox::new(Drawn::on(&self.budget)), TD_Opaque);
            RawExtension::new::<RawBudgetBox>(budget)
        });
        drawn.ok().into()
    }
}

/// What an instance has drawn; given back with it, whatever it forgets.
struct Drawn {
    waiting: Mutex<Share>,
    kept: Mutex<Share>,
}

impl Drawn {
    fn on(budget: &Arc<Budget>) -> Self {
        let share = |payer| Mutex::new(budget.share(payer));
        Self { waiting: share(Payer::Waiting), kept: share(Payer::Kept) }
    }

    fn of(&self, kind: u8) -> Option<&Mutex<Share>> {
        match kind {
            WAITING => Some(&self.waiting),
            KEPT => Some(&self.kept),
            _ => None,
        }
    }

    fn with<T>(&self, kind: u8, act: impl FnOnce(&mut Share) -> T) -> Option<T> {
        // No step of a share can panic half way.
        self.of(kind).map(|share| act(&mut share.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl RawBudget for Drawn {
    fn draw(&self, kind: u8, bytes: u64) -> bool {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        guard(|| self.with(kind, |share| share.grow(bytes))).ok().flatten().unwrap_or(false)
    }

    fn give_back(&self, kind: u8, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let _ = guard(|| self.with(kind, |share| share.shrink(bytes)));
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
