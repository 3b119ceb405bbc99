//! The extension [`NOW`]: answers that nothing has to be waited for.
//!
//! A future that crosses the boundary is allocated, polled through tables and dropped; where a plugin has the answer at
//! hand, that costs more than the answer.

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

/// Answers requests on the spot. It lives no longer than the instance that gave it.
#[sabi_trait]
pub trait RawNow: Send + Sync + 'static {
    /// The answer; none leaves the request to `RawPlugin::handle`. It does not block. The error is
    /// a panic of the plugin, in one line.
    #[sabi(last_prefix_field)]
    fn handle_now(&self, request: RawRequestRef<'_>) -> RResult<ROption<RawResponse>, RString>;
}
