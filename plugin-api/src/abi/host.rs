//! What the host offers an instance.

use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, ROption, RStr};

use crate::extension::RawExtension;

/// An owned [`RawHost`].
pub type RawHostBox = RawHost_TO<'static, RBox<()>>;

/// What the host offers an instance, for the instance's whole life.
#[sabi_trait]
pub trait RawHost: Send + Sync {
    /// The name of the instance: the key of its line in `[plugin_parms]`.
    fn instance(&self) -> RStr<'_>;
    /// The instance's configuration, a JSON object, without the keys that belong to the host.
    fn config(&self) -> RStr<'_>;
    /// The directory for the instance's own files, as an absolute path in UTF-8. The host creates it before it calls
    /// `activate`.
    fn state_folder(&self) -> RStr<'_>;
    /// Whether lines of this level are logged. Levels: 1 error, 2 warn, 3 info, 4 debug, 5 trace.
    fn log_enabled(&self, level: u8) -> bool;
    /// Writes one line to the host's log, marked with the instance's name.
    fn log(&self, level: u8, message: RStr<'_>);
    /// An ability that version 1 does not have; see [`crate::extension`].
    #[sabi(last_prefix_field)]
    fn extension(&self, id: RStr<'_>, version: u32) -> ROption<RawExtension>;
}
