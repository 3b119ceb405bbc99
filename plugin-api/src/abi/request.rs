//! A request as the host shows it to a plugin.

use abi_stable::std_types::{ROption, RSlice, RStr};
use abi_stable::{RRef, StableAbi, sabi_trait};

use crate::extension::RawExtension;

/// A borrowed [`RawRequest`].
pub type RawRequestRef<'a> = RawRequest_TO<'a, RRef<'a, ()>>;

/// A request, borrowed for the time it takes to answer it.
#[sabi_trait]
pub trait RawRequest: Send + Sync {
    /// Index into the plugin's routes.
    fn route(&self) -> u32;
    /// As received, usually upper case.
    fn method(&self) -> RStr<'_>;
    /// The whole raw path, still percent-encoded.
    fn path(&self) -> RStr<'_>;
    /// The part of the raw path below the mount, without a leading slash.
    fn path_below_mount(&self) -> RStr<'_>;
    /// The raw query without `?`; empty if there is none. The host has removed `apikey`.
    fn query(&self) -> RStr<'_>;
    /// The `nth` value of the header with this lower-case name.
    fn header(&self, name: RStr<'_>, nth: usize) -> ROption<RSlice<'_, u8>>;
    /// Header lines by position, in no particular order.
    fn header_at(&self, index: usize) -> ROption<RawHeaderRef<'_>>;
    /// The whole body. The host has removed a top-level `apikey` from a JSON body.
    fn body(&self) -> RSlice<'_, u8>;
    /// The client's address. It comes from the connection, or from a proxy's header if the host trusts that proxy.
    fn client_address(&self) -> RawAddress;
    /// `http` or `https`, as used by the client.
    fn scheme(&self) -> RStr<'_>;
    /// Host and port as sent by the client; empty if it sent none.
    fn host(&self) -> RStr<'_>;
    /// The request's id in logs.
    fn request_id(&self) -> RStr<'_>;
    /// Nanoseconds from this call until the request's deadline.
    fn time_left(&self) -> u64;
    /// The caller: 0 open (the instance has no key), 1 with the key, 2 without it.
    fn caller(&self) -> u8;
    /// The user whose session was admitted by a session guard.
    fn principal(&self) -> ROption<RawPrincipalRef<'_>>;
    /// Whether this is a cross-site request: sent by a browser for a page of another origin that CORS does not allow.
    fn cross_site(&self) -> bool;
    /// An ability that version 1 does not have; see [`crate::extension`].
    #[sabi(last_prefix_field)]
    fn extension(&self, id: RStr<'_>, version: u32) -> ROption<RawExtension>;
}

/// One header line.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct RawHeaderRef<'a> {
    /// Lower case.
    pub name: RStr<'a>,
    /// As received, usually ASCII.
    pub value: RSlice<'a, u8>,
}

/// A user and the session's public name.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct RawPrincipalRef<'a> {
    /// The user of the session.
    pub user_id: RStr<'a>,
    /// The session's public name.
    pub handle: RStr<'a>,
}

/// An IP address.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawAddress {
    /// 4 or 6; 0 when there is none, as on a Unix socket.
    pub family: u8,
    /// In network order: the first 4 or 16 bytes are used.
    pub octets: [u8; 16],
}
