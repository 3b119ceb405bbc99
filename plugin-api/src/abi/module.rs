//! The root module: what a plugin library exports.

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RResult, RStr, RString};

use super::host::RawHostBox;
use super::plugin::RawPluginBox;

/// What a plugin library exports.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModule_Ref)))]
#[sabi(missing_field(panic))]
pub struct PluginModule {
    /// The plugin's name: the one that configuration uses.
    pub name: extern "C" fn() -> RStr<'static>,
    /// The plugin's own version, for people.
    pub version: extern "C" fn() -> RStr<'static>,
    /// Makes an instance and validates its configuration. It takes no lock, opens no file and connects to no server,
    /// so that it may be called just to validate a configuration. The error is one human-readable line.
    #[sabi(last_prefix_field)]
    pub prepare: extern "C" fn(RawHostBox) -> RResult<RawPluginBox, RString>,
}

impl RootModule for PluginModule_Ref {
    abi_stable::declare_root_module_statics! {PluginModule_Ref}

    const BASE_NAME: &'static str = "pserve_plugin";
    const NAME: &'static str = "pserve_plugin";
    const VERSION_STRINGS: VersionStrings = abi_stable::package_version_strings!();
}
