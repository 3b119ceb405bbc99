//! `end`: ends a session.

use plugin_api::Response;
use serde_json::json;

use super::Exchange;
use crate::problem::Problem;
use crate::{cookie, render};

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let (id, found) = exchange.presented_for_write(parameters.session)?;
    exchange
        .service
        .sessions
        .end(exchange.credentials(&id, parameters.user_id.as_deref()))
        .await
        .map_err(|error| found.problem(error))?;
    let response = render::answer(&json!({ "ended": true, "handle": id.handle().to_string() }));
    Ok(match &exchange.service.cookie {
        // Not the cookie of another session: a page may end one by its id while its visitor has a second.
        Some(cookie) if exchange.cookie_may_be(&id, &cookie.name) => {
            response.with_header("set-cookie", cookie::clear(cookie, &exchange.request))
        }
        _ => response,
    })
}
