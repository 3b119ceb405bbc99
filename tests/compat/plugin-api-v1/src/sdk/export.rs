//! Makes the root module of a plugin; used by [`export_plugin!`](crate::export_plugin).

use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::std_types::{RBox, RResult, RStr, RString};

use super::adapter::Adapter;
use crate::abi::host::RawHostBox;
use crate::abi::module::{PluginModule, PluginModule_Ref};
use crate::abi::plugin::{RawPlugin_TO, RawPluginBox};
use crate::guard::guard;
use crate::{Host, Plugin};
use abi_stable::sabi_trait::TD_Opaque;

/// The root module of the plugin `P`.
pub fn root_module<P: Plugin>() -> PluginModule_Ref {
    PluginModule { name: name::<P>, version: version::<P>, prepare: prepare::<P> }.leak_into_prefix()
}

extern "C" fn name<P: Plugin>() -> RStr<'static> {
    P::NAME.into()
}

extern "C" fn version<P: Plugin>() -> RStr<'static> {
    P::VERSION.into()
}

extern "C" fn prepare<P: Plugin>(host: RawHostBox) -> RResult<RawPluginBox, RString> {
    let prepared = guard(|| P::prepare(Host::new(host)));
    match prepared {
        Ok(Ok(plugin)) => RResult::ROk(RawPlugin_TO::from_ptr(RBox::new(Adapter::new(plugin)), TD_Opaque)),
        Ok(Err(error)) => RResult::RErr(error.into()),
        Err(panic) => RResult::RErr(panic.to_string().into()),
    }
}
