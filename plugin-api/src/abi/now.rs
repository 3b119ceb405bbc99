//! The extension [`NOW`]: answers that are available synchronously.
//!
//! A future that crosses the boundary is allocated, polled through function tables and dropped. Where a plugin has the
//! answer cached, that costs more than the answer itself.

use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, ROption, RResult, RString};

use super::request::RawRequestRef;
use super::response::RawResponse;

/// The extension's name, which a host asks a plugin for.
pub const NOW: &str = "now";
/// Its version.
pub const NOW_VERSION: u32 = 1;

/// An owned [`RawNow`].
pub type RawNowBox = RawNow_TO<RBox<()>>;

/// Answers requests synchronously. It lives no longer than the instance that returned it.
#[sabi_trait]
pub trait RawNow: Send + Sync + 'static {
    /// The answer; none leaves the request to `RawPlugin::handle`. It does not block. The error means that the plugin
    /// panicked, in one line.
    #[sabi(last_prefix_field)]
    fn handle_now(&self, request: RawRequestRef<'_>) -> RResult<ROption<RawResponse>, RString>;
}
