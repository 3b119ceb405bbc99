//! A request that has come.

use hyper::Request;
use hyper::http::request::Parts;
use tokio::time::Instant;

use crate::http::gate::proxy::Peer;
use crate::http::message::request_id::RequestId;
use crate::http::message::trace::TraceId;

/// A request that has come.
pub(super) struct Arrival<B> {
    pub(super) head: RequestHead,
    pub(super) body: B,
}

/// What came of a request before its body.
pub(super) struct RequestHead {
    pub(super) parts: Parts,
    pub(super) peer: Peer,
    pub(super) start: Instant,
    pub(super) id: RequestId,
    pub(super) trace: Option<TraceId>,
}

impl<B> Arrival<B> {
    /// Takes it in: from now on its time runs.
    pub(super) fn new(request: Request<B>, peer: Peer) -> Self {
        let start = Instant::now();
        let (mut parts, body) = request.into_parts();
        let id = RequestId::of(&parts.headers);
        let trace = TraceId::take(&mut parts.headers);
        Self { head: RequestHead { parts, peer, start, id, trace }, body }
    }
}
