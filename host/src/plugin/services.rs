//! What the host offers an instance: its parameters, its name, a folder and the log.

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, ROption, RStr};
use plugin_api::abi::host::{RawHost, RawHost_TO, RawHostBox};
use plugin_api::extension::RawExtension;
use plugin_api::guard::guard;
use tracing::Level;

use crate::config::Parameters;
use crate::log::{self, PLUGIN_TARGET};

/// The services of one instance.
pub(crate) struct Services {
    pub(crate) instance: String,
    pub(crate) parameters: Parameters,
    /// The folder for files; UTF-8, because it crosses the boundary as text.
    pub(crate) state_folder: String,
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

    fn extension(&self, _id: RStr<'_>, _version: u32) -> ROption<RawExtension> {
        ROption::RNone
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
