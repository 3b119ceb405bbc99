//! What the host offers an instance.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use abi_stable::std_types::RStr;

use crate::Budget;
use crate::abi::budget::{BUDGET, BUDGET_VERSION};
use crate::abi::host::RawHostBox;
use crate::extension::RawExtension;

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
