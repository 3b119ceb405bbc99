//! `openapi.json`: the description of all routes.

use plugin_api::{Class, Response};

use super::exchange::Exchange;
use super::spec::{Handler, Returns, Spec};
use crate::openapi::{self, Instance};
use crate::parameters::Bounds;
use crate::problem::Problem;

/// `openapi.json`; its handler gets all routes.
pub(super) const fn route(handler: Handler) -> Spec {
    Spec::new("openapi.json", &["GET"], Class::Public, Returns::OpenApi, handler)
        .described("This description", &["getOpenApi"])
}

/// Describes these routes.
pub(super) async fn answer(exchange: Exchange<'_, '_>, routes: &[Spec]) -> Result<Response, Problem> {
    let service = &exchange.service;
    // The route is public, so the document is generated once and cached.
    let document = service.description.get_or_init(|| {
        let instance = Instance {
            cookie: service.cookie_name(),
            bounds: Bounds::of(service.sessions.rules()),
            mount: exchange.request.path().strip_suffix("/openapi.json").unwrap_or_default(),
        };
        openapi::document(routes, &instance).to_string()
    });
    Ok(Response::json(200, document.clone()).with_header("cache-control", "no-cache"))
}
