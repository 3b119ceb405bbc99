//! What a plugin answered.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use plugin_api::Secret;
use plugin_api::abi::response::RawHeader;
use serde_json::Value;

use crate::Failure;

/// An answer, with its whole body. Headers are those of the plugin: the host adds its own, such as `date`.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: HeaderMap,
    pieces: Vec<Vec<u8>>,
    body: Vec<u8>,
    wrong: Vec<Secret>,
}

impl Answer {
    /// Checked as the host does.
    pub(crate) fn new(
        status: u16,
        raw: impl IntoIterator<Item = RawHeader>,
        pieces: Vec<Vec<u8>>,
        wrong: Vec<Secret>,
    ) -> Result<Self, Failure> {
        let is_status = (200..600).contains(&status) && StatusCode::from_u16(status).is_ok();
        let not_http = |what: String| Failure::NotHttp(what);
        if !is_status {
            return Err(not_http(format!("status {status}")));
        }
        let mut headers = HeaderMap::new();
        for RawHeader { name, value } in raw {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| not_http(format!("`{name}` is no header name")))?;
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| not_http(format!("the value of header `{name}`")))?;
            headers.append(name, value);
        }
        // These have no body by definition.
        let pieces = if matches!(status, 204 | 304) { Vec::new() } else { pieces };
        Ok(Self { status, headers, body: pieces.concat(), pieces, wrong })
    }

    /// The answer to HEAD.
    pub(crate) fn without_body(self) -> Self {
        Self { pieces: Vec::new(), body: Vec::new(), ..self }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The answer, if it has this status.
    ///
    /// # Panics
    /// It has another one; the message shows the body.
    pub fn expect(self, status: u16) -> Self {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "another status than expected; the body: {body}");
        self
    }

    /// The first value of the header with this name, in any case; `None` as well if it is not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All headers, names in lower case.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The pieces of a streamed body; a body that was not streamed is one piece.
    pub fn pieces(&self) -> &[Vec<u8>] {
        &self.pieces
    }

    /// The body as text.
    ///
    /// # Panics
    /// It is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is not JSON; the message shows the body.
    pub fn json(&self) -> Value {
        let body = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {body}"))
    }

    /// The kinds of wrong secrets that the plugin reported by `Request::brought_wrong`, in that order.
    pub fn wrong_secrets(&self) -> &[Secret] {
        &self.wrong
    }
}
