//! A plugin's answer.

use std::borrow::Cow;
use std::fmt;

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, RCowStr, ROption, RVec};
use futures_core::Stream;
use http::StatusCode;

use super::stream::StreamAdapter;
use crate::abi::response::{RawHeader, RawResponse, RawStream_TO};
use crate::extension::RawExtension;

/// An answer: complete, or with a streamed body.
pub struct Response(RawResponse);

impl Response {
    /// An answer without a body. `status` is from 200 to 599; the host answers 500 instead of any other.
    pub fn new(status: u16) -> Self {
        Self(RawResponse {
            status,
            headers: RVec::new(),
            body: RVec::new(),
            stream: ROption::RNone,
            extensions: RVec::new(),
        })
    }

    /// Plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::new(status).with_header("content-type", "text/plain; charset=utf-8").with_body(text.into())
    }

    /// JSON text.
    pub fn json(status: u16, json: impl Into<Vec<u8>>) -> Self {
        Self::new(status).with_header("content-type", "application/json").with_body(json)
    }

    /// An error for programs and people: `application/problem+json` (RFC 9457), with an `error` member that repeats
    /// `detail`.
    ///
    /// Its `type` is `about:blank`: it says no more than the status.
    pub fn problem(status: u16, detail: &str) -> Self {
        Self::problem_of("about:blank", status, detail)
    }

    /// As [`problem`](Self::problem), with a URI as its `type`, by which programs tell apart problems with the same
    /// status.
    pub fn problem_of(uri: &str, status: u16, detail: &str) -> Self {
        let title =
            StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
        let body = serde_json::json!({
            "type": uri,
            "title": title,
            "status": status,
            "detail": detail,
            "error": detail,
        });
        Self::new(status).with_header("content-type", "application/problem+json").with_body(body.to_string())
    }

    /// A streamed body. An error closes the connection early.
    pub fn stream(status: u16, stream: impl Stream<Item = Result<Vec<u8>, String>> + Send + 'static) -> Self {
        let mut response = Self::new(status);
        let stream = RawStream_TO::from_ptr(RBox::new(StreamAdapter::new(stream)), TD_Opaque);
        response.0.stream = ROption::RSome(stream);
        response
    }

    /// Adds a header line. The name is lower case; the value is visible ASCII with spaces and tabs.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        let value = match value.into() {
            Cow::Borrowed(value) => RCowStr::Borrowed(value.into()),
            Cow::Owned(value) => RCowStr::Owned(value.into()),
        };
        self.0.headers.push(RawHeader { name: RCowStr::Borrowed(name.into()), value });
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = body.into().into();
        self
    }

    /// Adds an ability that version 1 of the ABI does not have; see [`crate::extension`].
    #[must_use]
    pub fn with_extension(mut self, extension: RawExtension) -> Self {
        self.0.extensions.push(extension);
        self
    }
}

impl From<RawResponse> for Response {
    fn from(raw: RawResponse) -> Self {
        Self(raw)
    }
}

impl From<Response> for RawResponse {
    fn from(response: Response) -> Self {
        response.0
    }
}

impl fmt::Debug for Response {
    /// Neither body nor header values: they may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({}, {} bytes)", self.0.status, self.0.body.len())
    }
}
