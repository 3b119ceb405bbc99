//! A plugin built against another layout: its root module has a field that the host's does not have, in a place where
//! version 1 allows none.
#![allow(
    missing_docs,
    non_camel_case_types,
    non_local_definitions,
    unreachable_pub,
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "made by abi_stable's macros"
)]

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RResult, RStr, RString};
use plugin_api::abi::host::RawHostBox;
use plugin_api::abi::plugin::RawPluginBox;

/// As `plugin_api::abi::module::PluginModule`, with `summary`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModule_Ref)))]
#[sabi(missing_field(panic))]
pub struct PluginModule {
    pub name: extern "C" fn() -> RStr<'static>,
    pub version: extern "C" fn() -> RStr<'static>,
    pub summary: extern "C" fn() -> RStr<'static>,
    #[sabi(last_prefix_field)]
    pub prepare: extern "C" fn(RawHostBox) -> RResult<RawPluginBox, RString>,
}

impl RootModule for PluginModule_Ref {
    abi_stable::declare_root_module_statics! {PluginModule_Ref}

    const BASE_NAME: &'static str = "pserve_plugin";
    const NAME: &'static str = "pserve_plugin";
    const VERSION_STRINGS: VersionStrings = abi_stable::package_version_strings!();
}

#[abi_stable::export_root_module]
fn root_module() -> PluginModule_Ref {
    PluginModule { name: text, version: text, summary: text, prepare }.leak_into_prefix()
}

extern "C" fn text() -> RStr<'static> {
    "other-layout".into()
}

extern "C" fn prepare(_host: RawHostBox) -> RResult<RawPluginBox, RString> {
    // A host that gets here has taken one function for another: the third is `summary`.
    RResult::RErr("a library with another layout was loaded".into())
}
