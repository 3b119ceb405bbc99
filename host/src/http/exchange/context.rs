//! The context of a call to a plugin.

use std::sync::Arc;

use hyper::http::request::Parts;
use tokio::time::Instant;

use super::in_flight::Load;
use crate::budget::Budget;
use crate::http::gate::proxy::Client;
use crate::http::message::request_id::RequestId;

/// What is known about a request before it is passed to a plugin.
pub(crate) struct RequestContext<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) client: Client<'a>,
    pub(crate) id: &'a RequestId,
    pub(crate) deadline: Instant,
    pub(crate) load: &'a Load,
    pub(crate) budget: &'a Arc<Budget>,
}
