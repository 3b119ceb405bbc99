//! `get`: reads a session.

use plugin_api::Response;

use super::{Exchange, Found};
use crate::parameters::Presented;
use crate::problem::Problem;
use crate::{etag, render};

pub(super) async fn answer(exchange: Exchange<'_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    if parameters.user_id.is_some() && matches!(parameters.session, Presented::Nothing) {
        return Err(Problem::malformed("user_id alone names no session; send session_id, too"));
    }
    let (id, found) = exchange.presented(parameters.session)?;
    let record = exchange
        .service
        .sessions
        .get(exchange.credentials(&id, parameters.user_id.as_deref()))
        .await
        .map_err(|error| found.problem(error))?;
    if let Some(header) = exchange.header("if-none-match") {
        let tag = etag::of(&record);
        if etag::none_match(header, &tag)? {
            return Ok(Response::new(304).with_header("cache-control", "no-store").with_header("etag", tag));
        }
    }
    // A cookie is hidden from the page's scripts; the body must not give it away.
    let id = (found == Found::Explicit).then_some(&id);
    Ok(render::session(200, &record, id))
}
