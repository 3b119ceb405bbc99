//! What the host asks of an instance.

use abi_stable::std_types::{RBox, ROption, RResult, RStr, RString, RVec};
use abi_stable::{StableAbi, sabi_trait};
use async_ffi::BorrowingFfiFuture;

use super::request::RawRequestRef;
use super::response::RawResponse;
use crate::extension::RawExtension;

/// An owned [`RawPlugin`].
pub type RawPluginBox = RawPlugin_TO<RBox<()>>;

/// In [`RawPlugin::capabilities`]: the plugin implements `authenticate`, from its live sessions.
pub const CAPABILITY_AUTHENTICATE: u64 = 1;
/// In [`RawPlugin::capabilities`]: the result of `authenticate` is accepted although the instance has no key, and so
/// anybody may have created the session for any user.
pub const CAPABILITY_AUTHENTICATE_UNKEYED: u64 = 2;

/// One instance of a plugin.
///
/// Life cycle: created by `prepare`; `activate`; requests; `deactivate`, after which it may be activated again;
/// `shutdown`; dropped. The error of a future, an `RString`, is one human-readable line. In `handle` and the other
/// calls for a request it means that the plugin panicked.
#[sabi_trait]
pub trait RawPlugin: Send + Sync + 'static {
    /// The routes, the same in every call. `RawRequest::route` is an index into them.
    fn routes(&self) -> RVec<RawRoute>;
    /// Bits: `CAPABILITY_*`, the same in every call. Unknown bits are ignored.
    fn capabilities(&self) -> u64;
    /// Acquires what it needs to serve: files, locks, connections, threads.
    fn activate(&self) -> BorrowingFfiFuture<'_, RResult<(), RString>>;
    /// Ends its streams, drains, and releases exclusive resources.
    fn deactivate(&self) -> BorrowingFfiFuture<'_, RResult<(), RString>>;
    /// The last call before the instance is dropped.
    fn shutdown(&self) -> BorrowingFfiFuture<'_, RResult<(), RString>>;
    /// Answers a request.
    fn handle<'a>(
        &'a self,
        request: RawRequestRef<'a>,
    ) -> BorrowingFfiFuture<'a, RResult<RawResponse, RString>>;
    /// Returns the user of the live session that the request carries.
    fn authenticate<'a>(
        &'a self,
        request: RawRequestRef<'a>,
    ) -> BorrowingFfiFuture<'a, RResult<RawAuthentication, RString>>;
    /// Whether it can serve now.
    fn health(&self) -> BorrowingFfiFuture<'_, RResult<RawHealth, RString>>;
    /// Its metrics in Prometheus text format.
    fn metrics(&self) -> BorrowingFfiFuture<'_, RResult<RString, RString>>;
    /// Its OpenAPI 3.1 document as JSON, with paths relative to its mount.
    fn openapi(&self) -> BorrowingFfiFuture<'_, RResult<ROption<RString>, RString>>;
    /// An ability that version 1 does not have; see [`crate::extension`].
    #[sabi(last_prefix_field)]
    fn extension(&self, id: RStr<'_>, version: u32) -> ROption<RawExtension>;
}

/// A route of a plugin.
#[repr(C)]
#[derive(StableAbi, Debug, Clone)]
pub struct RawRoute {
    /// Relative to the mount, without a leading slash; a `*` at the end matches anything.
    pub path: RString,
    /// Upper case; `*` matches any method.
    pub methods: RVec<RString>,
    /// Who may call it: 0 public, 1 service, 2 session, 3 admin, 4 forward-auth.
    pub class: u8,
}

/// The result of `authenticate`.
#[repr(C)]
#[derive(StableAbi, Debug, Clone)]
pub struct RawAuthentication {
    /// 0: no live session; 1: a live session, described by the fields below; 2: unknown, because the check failed.
    pub outcome: u8,
    /// The user of the session.
    pub user_id: RString,
    /// The session's public name.
    pub handle: RString,
}

/// The health of an instance.
#[repr(C)]
#[derive(StableAbi, Debug, Clone)]
pub struct RawHealth {
    /// Whether it can serve.
    pub ready: bool,
    /// Why it cannot serve, or can serve only some requests, in one line without secrets.
    pub detail: RString,
}
