//! `list`: sessions of all users, or of one.

use plugin_api::{Class, Response};
use sessman::store::Listing;

use super::exchange::Exchange;
use super::spec::{Returns, Spec};
use crate::parameters::{Name, PAGE};
use crate::problem::Problem;
use crate::render;

/// `list`
pub(super) const ROUTE: Spec =
    Spec::new("list", &["GET"], Class::Admin, Returns::Page, |exchange| Box::pin(answer(exchange)))
        .described("All sessions, or a user's", &["listSessions"])
        .accepts(&[Name::UserId, Name::Cursor, Name::Limit]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let user_id = parameters.values.user_id.as_deref();
    let listing = Listing {
        user_id,
        after: parameters.values.cursor,
        limit: parameters.values.limit.unwrap_or(PAGE),
        label: None,
    };
    let page = exchange.service.sessions.list(listing).await.map_err(sessman::error::Error::from)?;
    exchange.audit(&match user_id {
        Some(user_id) => format!("listed {} sessions of {user_id:?}", page.items.len()),
        None => format!("listed {} sessions", page.items.len()),
    });
    Ok(render::page(&page, None))
}
