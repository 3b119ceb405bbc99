//! `list`: sessions of all users, or of one.

use plugin_api::Response;
use sessman::store::Listing;

use super::Exchange;
use crate::problem::Problem;
use crate::render;

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let user_id = parameters.user_id.as_deref();
    let listing = Listing { user_id, after: parameters.cursor, limit: parameters.limit };
    let page = exchange.service.sessions.list(listing).await.map_err(sessman::error::Error::from)?;
    exchange.audit(&match user_id {
        Some(user_id) => format!("listed {} sessions of {user_id:?}", page.items.len()),
        None => format!("listed {} sessions", page.items.len()),
    });
    Ok(render::page(&page, None))
}
