//! `openapi.json`: the description of all routes.

use plugin_api::Response;

use super::Exchange;
use crate::openapi::{self, Instance};
use crate::problem::Problem;

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let service = &exchange.service;
    // Anybody may ask, so that it is made once.
    let document = service.description.get_or_init(|| {
        let instance = Instance {
            cookie: service.cookie_name(),
            max_ttl: service.sessions.rules().max_ttl,
            mount: exchange.request.path().strip_suffix("/openapi.json").unwrap_or_default(),
        };
        openapi::document(&instance).to_string()
    });
    Ok(Response::json(200, document.clone()).with_header("cache-control", "no-cache"))
}
