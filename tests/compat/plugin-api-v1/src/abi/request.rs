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
    /// What of the raw path is below the mount, without a leading slash.
    fn path_below_mount(&self) -> RStr<'_>;
    /// The raw query without `?`; empty if there is none. The host has taken `apikey` out.
    fn query(&self) -> RStr<'_>;
    /// The `nth` value of the header with this lower-case name.
    fn header(&self, name: RStr<'_>, nth: usize) -> ROption<RSlice<'_, u8>>;
    /// Header lines by position, in no particular order.
    fn header_at(&self, index: usize) -> ROption<RawHeaderRef<'_>>;
    /// The whole body. The host has taken a top-level `apikey` out of a JSON body.
    fn body(&self) -> RSlice<'_, u8>;
    /// Where the client is, as far as the host trusts what says so.
    fn client_address(&self) -> RawAddress;
    /// `http` or `https`, as the client used it.
    fn scheme(&self) -> RStr<'_>;
    /// Host and port as the client named them; empty if it did not.
    fn host(&self) -> RStr<'_>;
    /// Names the request in logs.
    fn request_id(&self) -> RStr<'_>;
    /// Nanoseconds left, from the moment of this call, until nobody waits for the answer any more.
    fn time_left(&self) -> u64;
    /// Who calls: 0 open (the instance has no key), 1 with the key, 2 without.
    fn caller(&self) -> u8;
    /// The user that a session guard let in.
    fn principal(&self) -> ROption<RawPrincipalRef<'_>>;
    /// Whether a page of another origin, one that CORS does not allow, made the browser send this.
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
    /// In network order: 4 or 16 of them count.
    pub octets: [u8; 16],
}
