//! Answers: those of plugins, and the host's own problems.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use abi_stable::std_types::{RCowStr, ROption, RResult, RVec};
use async_ffi::{ContextExt, FfiPoll};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Response, StatusCode};
use plugin_api::abi::response::{RawHeader, RawResponse, RawStreamBox};
use plugin_api::guard::guard;

use super::phase::RequestGuard;
use super::untaken::{Held, STREAM_BYTES, Untaken};
use crate::budget::Share;
use crate::plugin::Instance;

/// Answers of up to this many bytes need not be counted: a connection has a buffer for one, and holds no more.
const AT_HAND: usize = 4 * 1024;

/// The body of an answer.
pub(crate) struct AnswerBody {
    content: Content,
    /// Number of bytes that were allocated for it.
    size: usize,
    /// Whether it is for a client that presented a key.
    is_known: bool,
    /// Tells the connection when the answer is complete.
    _guard: Option<RequestGuard>,
}

enum Content {
    Done,
    Whole(Bytes),
    Stream(Streaming),
}

/// Bytes that are counted until the last piece of them was handed over.
struct Drawn<T> {
    bytes: T,
    _share: Share,
    _held: Option<Held>,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Drawn<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// A body that a plugin streams.
struct Streaming {
    /// Dropped under a panic guard. Boxed, so that the body can be moved.
    stream: Option<Box<RawStreamBox>>,
    instance: Arc<Instance>,
    /// Memory reserved for its pieces.
    share: Option<Share>,
    held: Option<Held>,
    /// Bytes that are still to come, if the plugin announced how many; hyper sends no more, and ends the connection if
    /// there are fewer.
    left: Option<u64>,
}

impl AnswerBody {
    fn whole(bytes: Bytes) -> Self {
        let size = bytes.len();
        let content = if bytes.is_empty() { Content::Done } else { Content::Whole(bytes) };
        Self { content, size, is_known: false, _guard: None }
    }

    /// The same answer without its body.
    pub(crate) fn without(self) -> Self {
        Self { content: Content::Done, size: 0, ..self }
    }

    /// Sets whether it is for a client that presented a key.
    pub(crate) fn set_known(&mut self, is_known: bool) {
        self.is_known = is_known;
    }

    /// `None` if it need not be counted; otherwise whether it is for a client that presented a key. On a connection
    /// with concurrent answers, each one is counted.
    pub(crate) fn takes_memory(&self, untaken: Option<&Untaken>) -> Option<bool> {
        let takes = match self.content {
            Content::Done => false,
            Content::Whole(_) => untaken.is_some() || self.size > AT_HAND,
            Content::Stream(_) => true,
        };
        takes.then_some(self.is_known)
    }

    /// Reserves its memory until it was handed over; returns whether that was available.
    #[must_use]
    pub(crate) fn draw(&mut self, mut share: Share, untaken: Option<&Untaken>) -> bool {
        let size = self.size + if untaken.is_some() { STREAM_BYTES } else { 0 };
        let held = untaken.map(|untaken| untaken.hold(size));
        if matches!(held, Some(None)) || !share.grow(size) {
            return false;
        }
        let held = held.flatten();
        match &mut self.content {
            Content::Done => {}
            Content::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.content = Content::Whole(Bytes::from_owner(Drawn { bytes, _share: share, _held: held }));
            }
            Content::Stream(streaming) => (streaming.share, streaming.held) = (Some(share), held),
        }
        true
    }

    /// The same body, which holds `guard` until it is dropped.
    pub(crate) fn guarded(self, guard: RequestGuard) -> Self {
        Self { _guard: Some(guard), ..self }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let next = match &mut self.content {
            Content::Done => return Poll::Ready(None),
            Content::Whole(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Content::Stream(streaming) => match streaming.poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(bytes))) => {
                    streaming.left = streaming.left.map(|left| left.saturating_sub(bytes.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Poll::Ready(end) => end.map(|end| end.map(Frame::data)),
            },
        };
        self.content = Content::Done;
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Done => SizeHint::with_exact(0),
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(streaming) => streaming.left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl Streaming {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let polled = guard(|| context.with_ffi_context(|context| stream.poll_next(context)));
        let failure = match polled {
            Ok(FfiPoll::Pending) => return Poll::Pending,
            Ok(FfiPoll::Ready(ROption::RNone)) => return Poll::Ready(None),
            Ok(FfiPoll::Ready(ROption::RSome(RResult::ROk(piece)))) => {
                return Poll::Ready(Some(self.count(piece)));
            }
            Ok(FfiPoll::Ready(ROption::RSome(RResult::RErr(message)))) => message.into_string(),
            Ok(FfiPoll::Panicked) => "panicked".to_owned(),
            Err(panic) => panic.to_string(),
        };
        tracing::error!(instance = self.instance.name, reason = failure, "a streamed answer ended early");
        Poll::Ready(Some(Err(io::Error::other("the stream failed"))))
    }
}

impl Streaming {
    /// Counts a piece until it was handed over. Small pieces that were handed over are not tracked further: hyper
    /// polls for the next one only when its buffer has space.
    fn count(&self, piece: RVec<u8>) -> io::Result<Bytes> {
        let Some(share) = self.share.as_ref().filter(|_| piece.capacity() > AT_HAND) else {
            return Ok(Bytes::from_owner(piece));
        };
        let mut share = share.another();
        let held = self.held.as_ref().map(|held| held.another(piece.capacity()));
        if matches!(held, Some(None)) || !share.grow(piece.capacity()) {
            tracing::debug!(instance = self.instance.name, "no memory for a piece of a streamed answer");
            return Err(io::Error::other("there is no memory for the stream"));
        }
        Ok(Bytes::from_owner(Drawn { bytes: piece, _share: share, _held: held.flatten() }))
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        let stream = self.stream.take();
        if let Err(panic) = guard(move || drop(stream)) {
            tracing::error!(
                instance = self.instance.name,
                reason = panic.0,
                "a streamed answer panicked at its end"
            );
        }
    }
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<AnswerBody> {
    own(plugin_api::Response::new(status.as_u16()))
}

/// Sets the `Allow` header to these methods.
pub(crate) fn allow(response: &mut Response<AnswerBody>, methods: &str) {
    if let Ok(value) = HeaderValue::from_str(methods) {
        response.headers_mut().insert(hyper::header::ALLOW, value);
    }
}

/// A text answer of the host.
pub(crate) fn text(status: StatusCode, content_type: &'static str, text: String) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::whole(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A JSON answer of the host.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response<AnswerBody> {
    own(plugin_api::Response::json(status.as_u16(), value.to_string()))
}

/// An answer of the host, which must not be cached.
pub(super) fn own(response: plugin_api::Response) -> Response<AnswerBody> {
    let mut response = convert(response.into(), None).unwrap_or_else(|_| {
        // Unreachable: the host's own headers are well-formed. A status without a body would still be correct.
        let mut response = Response::new(AnswerBody::whole(Bytes::new()));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    response.headers_mut().insert("cache-control", HeaderValue::from_static("no-store"));
    response
}

/// Converts a plugin's answer.
///
/// # Errors
/// Says what in it is not valid HTTP.
pub(crate) fn from_plugin(
    response: RawResponse,
    instance: &Arc<Instance>,
) -> Result<Response<AnswerBody>, String> {
    convert(response, Some(instance))
}

fn convert(raw: RawResponse, instance: Option<&Arc<Instance>>) -> Result<Response<AnswerBody>, String> {
    let status = StatusCode::from_u16(raw.status).ok().filter(|_| (200..600).contains(&raw.status));
    let status = status.ok_or_else(|| format!("status {}", raw.status))?;
    let size = raw.body.capacity();
    let content = match (raw.stream, instance) {
        // These have no body by definition; bytes after them would be parsed as the next answer.
        _ if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => Content::Done,
        (ROption::RSome(stream), Some(instance)) => {
            let (stream, instance) = (Some(Box::new(stream)), Arc::clone(instance));
            let left = announced(&raw.headers);
            Content::Stream(Streaming { stream, instance, share: None, held: None, left })
        }
        _ if raw.body.is_empty() => Content::Done,
        _ => Content::Whole(Bytes::from_owner(raw.body)),
    };
    let mut response = Response::new(AnswerBody { content, size, is_known: false, _guard: None });
    *response.status_mut() = status;
    // Plus two for the host's own headers, the request id and `nosniff`. HTTP/1.1 writes date and length by itself.
    // With space for seven, the map would exceed the size class that the allocator caches.
    response.headers_mut().reserve(raw.headers.len() + 2);
    for header in raw.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| format!("a header name of {} bytes that is none", header.name.len()))?;
        // Hop-by-hop headers are between the host and the client.
        if matches!(name, CONTENT_LENGTH | TRANSFER_ENCODING | CONNECTION | UPGRADE) || name == "keep-alive" {
            continue;
        }
        let value = match header.value {
            // A library is never unloaded, so its static strings need not be copied.
            RCowStr::Borrowed(value) => {
                HeaderValue::from_maybe_shared(Bytes::from_static(value.as_str().as_bytes()))
            }
            RCowStr::Owned(value) => HeaderValue::from_bytes(value.as_bytes()),
        }
        .map_err(|_| format!("the value of header `{name}`"))?;
        response.headers_mut().append(name, value);
    }
    Ok(response)
}

/// The `Content-Length` among a plugin's headers. It counts for a stream alone: any other body has a length.
fn announced(headers: &[RawHeader]) -> Option<u64> {
    let header = headers.iter().find(|header| header.name.as_str() == CONTENT_LENGTH.as_str())?;
    header.value.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_http_is_refused() {
        let convert = |response: plugin_api::Response| convert(response.into(), None);
        for status in [0, 100, 101, 199, 600, 999, u16::MAX] {
            assert!(convert(plugin_api::Response::new(status)).is_err(), "{status}");
        }
        assert!(convert(plugin_api::Response::new(200).with_header("a b", "x")).is_err());
        assert!(convert(plugin_api::Response::new(200).with_header("", "x")).is_err());
        assert!(convert(plugin_api::Response::new(200).with_header("a", "x\r\nb: y")).is_err());
    }

    #[test]
    fn how_the_body_travels_is_not_the_plugins_business() {
        let response = plugin_api::Response::text(200, "abc")
            .with_header("content-length", "99")
            .with_header("transfer-encoding", "chunked")
            .with_header("connection", "close")
            .with_header("x-own", "kept");
        let response = convert(response.into(), None).unwrap();
        assert_eq!(response.headers().len(), 2);
        assert_eq!(response.body().size_hint().exact(), Some(3));
    }

    #[test]
    fn answers_that_have_no_body_get_none() {
        let response = convert(plugin_api::Response::text(204, "abc").into(), None).unwrap();
        assert!(response.body().is_end_stream());
    }
}
