//! `mine`: the sessions of the user whose session asks.

use plugin_api::Response;

use super::Exchange;
use crate::problem::Problem;
use crate::render;

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let (id, found) = exchange.presented(parameters.session).await?;
    let credentials = exchange.credentials(&id, parameters.user_id.as_deref());
    let (own, page) = exchange
        .service
        .sessions
        .mine(credentials, parameters.cursor, parameters.limit)
        .await
        .map_err(|error| exchange.missed(found, error))?;
    Ok(render::page(&page, Some(own.handle)))
}
