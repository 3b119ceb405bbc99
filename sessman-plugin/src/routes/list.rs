//! `list`: sessions of all users, or those that match.

use plugin_api::{Class, Response};

use super::exchange::Exchange;
use super::filter;
use super::spec::{Returns, Spec, joined};
use crate::parameters::{Name, PAGE};
use crate::problem::Problem;
use crate::render;

/// `list`
pub(super) const ROUTE: Spec =
    Spec::new("list", &["GET"], Class::Admin, Returns::Page, |exchange| Box::pin(answer(exchange)))
        .described("All sessions, or those that match", &["listSessions"])
        .accepts(&joined::<10>(&filter::NAMES, &[Name::Cursor, Name::Limit]));

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let mut values = exchange.parameters()?.values;
    let filter = filter::of(&mut values);
    let sessions = &exchange.service.sessions;
    let page = sessions.search(&filter, values.cursor, values.limit.unwrap_or(PAGE)).await;
    let page = page.map_err(sessman::error::Error::from)?;
    exchange.audit(format!("listed {} sessions {}", page.items.len(), filter::text(&filter)).trim_end());
    Ok(render::page(&page, None))
}
