//! The extension [`CALL`], of host and request: a plugin calls an instance of the same host, in this process.
//!
//! A call is a request without HTTP. It goes to the called plugin as any other request does, and its answer comes back as
//! the called plugin made it, a stream included. The operator decides who may call whom, with `calls=` in the caller's line
//! of `[plugin_parms]`.
//!
//! The host's extension makes calls of the plugin's own. The extension of a request makes calls on behalf of that request:
//! they carry the client's address, its cookies and its deadline. The called plugin asks its request for [`CALLED`].

use abi_stable::std_types::{RBox, RResult, RString, RVec};
use abi_stable::{StableAbi, sabi_trait};
use async_ffi::BorrowingFfiFuture;

use super::response::{RawHeader, RawResponse};

/// The extension's name, which a plugin asks its host or a request for.
pub const CALL: &str = "call";
/// Its version.
pub const CALL_VERSION: u32 = 1;

/// The name of the extension that a called plugin asks a request for: a [`RawCalled`].
pub const CALLED: &str = "called";
/// Its version.
pub const CALLED_VERSION: u32 = 1;

/// What a caller may do: what a client without a key may, and read, change and end the session of the request that it answers.
pub const GRANT_SESSION: u8 = 1;
/// What a client with the instance's key may, on any session.
pub const GRANT_SERVICE: u8 = 2;
/// What an administrator may, too.
pub const GRANT_ADMIN: u8 = 3;

/// In [`RawCallError`]: the operator has not allowed this call.
pub const NOT_ALLOWED: u8 = 1;
/// In [`RawCallError`]: the call is malformed, or the instance has no such route.
pub const MALFORMED: u8 = 2;
/// In [`RawCallError`]: the instance does not serve now, or there is no memory; try again later.
pub const UNAVAILABLE: u8 = 3;
/// In [`RawCallError`]: no answer before the deadline.
pub const LATE: u8 = 4;
/// In [`RawCallError`]: the called plugin panicked.
pub const FAILED: u8 = 5;

/// In [`RawCallError`]: it is about the session that opened the request, and none did.
pub const NO_SESSION: u8 = 6;

/// An owned [`RawCaller`].
pub type RawCallerBox = RawCaller_TO<RBox<()>>;

/// Makes calls.
#[sabi_trait]
pub trait RawCaller: Send + Sync + 'static {
    /// Calls a route of another instance.
    #[sabi(last_prefix_field)]
    fn call(&self, call: RawCall) -> BorrowingFfiFuture<'_, RResult<RawResponse, RawCallError>>;
}

/// A call.
#[repr(C)]
#[derive(StableAbi, Clone)]
pub struct RawCall {
    /// The name of the instance to call. Empty: the one whose session opened the request that the call is made for.
    pub instance: RString,
    /// Upper case.
    pub method: RString,
    /// Path and query below the instance's mount, without a leading slash, percent-encoded.
    pub path: RString,
    /// Header lines.
    pub headers: RVec<RawHeader>,
    /// The body.
    pub body: RVec<u8>,
    /// The handle of the session that the call is about; empty if it names none, or names it by its id.
    pub session: RString,
}

/// Why there is no answer.
#[repr(C)]
#[derive(StableAbi, Debug, Clone)]
pub struct RawCallError {
    /// One of the numbers above; others mean [`FAILED`].
    pub kind: u8,
    /// One line for the log, without secrets.
    pub detail: RString,
}

/// Who made a call, as the called plugin sees it.
#[repr(C)]
#[derive(StableAbi, Debug, Clone)]
pub struct RawCalled {
    /// The name of the calling instance.
    pub instance: RString,
    /// What it may do: `GRANT_*`. An unknown number grants nothing.
    pub grant: u8,
    /// The handle of the session that the call is about, which the host has checked against the grant; empty if none.
    pub session: RString,
}
