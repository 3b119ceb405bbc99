//! A plugin's answer.

use abi_stable::std_types::{RBox, RCowStr, ROption, RResult, RString, RVec};
use abi_stable::{StableAbi, sabi_trait};
use async_ffi::{FfiContext, FfiPoll};

use crate::extension::RawExtension;

/// An answer: complete, or with a streamed body.
#[repr(C)]
#[derive(StableAbi)]
pub struct RawResponse {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// Header lines. The host adds `date`, `content-length` and its other own headers.
    pub headers: RVec<RawHeader>,
    /// The body, if `stream` is none.
    pub body: RVec<u8>,
    /// The streamed body.
    pub stream: ROption<RawStreamBox>,
    /// Abilities that version 1 does not have; see [`crate::extension`].
    pub extensions: RVec<RawExtension>,
}

/// One header line.
#[repr(C)]
#[derive(StableAbi, Debug, Clone)]
pub struct RawHeader {
    /// Lower case.
    pub name: RCowStr<'static>,
    /// Visible ASCII, spaces and tabs.
    pub value: RCowStr<'static>,
}

/// An owned [`RawStream`].
pub type RawStreamBox = RawStream_TO<'static, RBox<()>>;

/// The result of [`RawStream::poll_next`]: a chunk, an error that ends the body early, or the end.
pub type RawStreamItem = ROption<RResult<RVec<u8>, RString>>;

/// A streamed body. It borrows nothing.
#[sabi_trait]
pub trait RawStream: Send {
    /// The next chunk. Not called again after the end.
    #[sabi(last_prefix_field)]
    fn poll_next(&mut self, context: &mut FfiContext<'_>) -> FfiPoll<RawStreamItem>;
}
