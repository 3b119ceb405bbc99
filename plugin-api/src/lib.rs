//! The stable ABI between `pserve` and its plugins, and the safe SDK to write a plugin with.
//!
//! A plugin is a `cdylib` crate with `plugin-api` and `abi_stable` as dependencies, a type that implements
//! [`Plugin`], and one line: `plugin_api::export_plugin!(Type);`. Nothing in it needs `unsafe`.
//!
//! - [`abi`]: the types that cross the boundary, used by the host; plugins rarely need them
//! - [`sdk`]: [`Plugin`], [`Request`], [`Response`], [`Host`], [`Route`],
//!   [`Calls`], [`Session`]; re-exported here
//! - [`extension`]: how the ABI grows without a new version
//! - [`guard`]: keeps a panic from crossing the boundary
//! - [`routing`]: how a host finds the route of a request
//! - [`settings`]: typed reading of a plugin's configuration

pub mod abi;
pub mod extension;
pub mod guard;
pub mod routing;
pub mod sdk;

pub use sdk::budget::{Budget, Memory};
pub use sdk::call::{Answer, Call, CallError, Called, Calls, Grant};
pub use sdk::host::{Host, Level};
pub use sdk::plugin::{Health, Plugin, Unavailable};
pub use sdk::principal::Principal;
pub use sdk::request::{Caller, Request, Secret};
pub use sdk::response::Response;
pub use sdk::route::{Class, Route};
pub use sdk::session::Session;
pub use settings;

/// Exports a type that implements [`Plugin`] as the plugin of this library. Use it once per crate.
///
/// The crate needs `abi_stable` among its own dependencies.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty) => {
        #[allow(unsafe_code, reason = "the exported symbol that the host looks for")]
        mod pserve_plugin_export {
            use super::*;

            #[::abi_stable::export_root_module]
            fn root_module() -> $crate::abi::module::PluginModule_Ref {
                $crate::sdk::export::root_module::<$plugin>()
            }
        }
    };
}
