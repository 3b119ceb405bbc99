//! `openapi.json`: the description of all routes.

use plugin_api::Response;

use super::Exchange;
use crate::openapi::{self, Instance};
use crate::problem::Problem;

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let service = &exchange.service;
    // Made once: anybody may ask for it, and it takes as long as hundreds of other answers. The path is always the same.
    let document = service.openapi.get_or_init(|| {
        let path = exchange.request.path();
        let mount = path.strip_suffix("/openapi.json").unwrap_or_default();
        let (cookie, max_ttl) = (service.cookie_name(), service.sessions.rules().max_ttl);
        openapi::document(&Instance { cookie, max_ttl, mount }).to_string()
    });
    Ok(Response::json(200, document.as_str()).with_header("cache-control", "no-cache"))
}
