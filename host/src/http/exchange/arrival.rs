//! A request that has arrived.

use hyper::Request;
use hyper::http::request::Parts;
use tokio::time::Instant;

use crate::http::gate::proxy::Peer;
use crate::http::message::request_id::RequestId;
use crate::http::message::trace::TraceId;

/// A request that has arrived.
pub(super) struct Arrival<B> {
    pub(super) head: RequestHead,
    pub(super) body: B,
}

/// The part of a request before its body.
pub(super) struct RequestHead {
    pub(super) parts: Parts,
    pub(super) peer: Peer,
    pub(super) start: Instant,
    pub(super) id: RequestId,
    pub(super) trace: Option<TraceId>,
}

impl<B> Arrival<B> {
    /// Accepts the request: its deadline is counted from this moment.
    pub(super) fn new(request: Request<B>, peer: Peer) -> Self {
        let start = Instant::now();
        let (mut parts, body) = request.into_parts();
        let id = RequestId::of(&parts.headers);
        let trace = TraceId::take(&mut parts.headers);
        Self { head: RequestHead { parts, peer, start, id, trace }, body }
    }
}
