//! The body of a request to a plugin.

use bytes::Bytes;
use hyper::Version;
use hyper::body::Body;
use hyper::http::request::Parts;
use tokio::time::Instant;

use super::body::{BodyError, Reading};
use super::context::RequestContext;
use crate::config::Limits;
use crate::http::message::header_size::header_bytes;
use crate::http::message::untaken::STREAM_BYTES;

/// A request's body: read once, even if the request is retried.
pub(crate) struct RequestBody<'b, B> {
    body: &'b mut B,
    read: Option<Bytes>,
    pub(super) reading: Reading<'b>,
    is_headers_drawn: bool,
}

impl<'b, B: Body<Data = Bytes> + Unpin> RequestBody<'b, B> {
    /// Starts with nothing of `body` read.
    pub(crate) fn new(body: &'b mut B, limits: &Limits, received: &RequestContext<'b>) -> Self {
        let reading = Reading::new(limits.max_body, received.budget, received.client.address);
        Self { body, read: None, reading, is_headers_drawn: false }
    }

    /// Reserves memory for headers that wait for their body. Those of HTTP/1.1 are counted with the connection.
    pub(super) fn draw_headers(&mut self, parts: &Parts) -> Result<(), BodyError> {
        if parts.version != Version::HTTP_2 || self.is_headers_drawn {
            return Ok(());
        }
        self.is_headers_drawn = true;
        self.reading.draw(STREAM_BYTES + 2 * header_bytes(&parts.headers, &parts.uri))
    }

    /// Reads the whole body.
    ///
    /// # Errors
    /// It is too large for this client, not complete before the deadline, or there is no memory for it.
    pub(super) async fn read(&mut self, deadline: Instant) -> Result<Bytes, BodyError> {
        if let Some(bytes) = &self.read {
            return Ok(bytes.clone());
        }
        let bytes = self.reading.read(self.body, deadline).await?;
        self.reading.draw_for_work(bytes.len())?;
        self.read = Some(bytes.clone());
        Ok(bytes)
    }
}
