//! `mine`: the sessions of the user whose session is used for the request.

use plugin_api::{Class, Response};
use sessman::config::ClientAccess;

use super::exchange::Exchange;
use super::spec::{Returns, Spec};
use crate::parameters::{Name, PAGE};
use crate::problem::Problem;
use crate::render;

/// `mine`
pub(super) const ROUTE: Spec =
    Spec::new("mine", &["GET"], Class::Session, Returns::Page, |exchange| Box::pin(answer(exchange)))
        .described("The sessions of the session's user", &["listMySessions"])
        .opened_by(ClientAccess::Read)
        .accepts(&[Name::SessionId, Name::UserId, Name::Cursor, Name::Limit])
        .refuses(&[401, 404]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let session = exchange.session(parameters.session).await?;
    let credentials = exchange.credentials(session.key(), parameters.values.user_id.as_deref());
    let (own, page) = exchange
        .service
        .sessions
        .mine(credentials, parameters.values.cursor, parameters.values.limit.unwrap_or(PAGE))
        .await
        .map_err(|error| exchange.missed(session.source, error))?;
    Ok(render::page(&page, Some(own.handle)))
}
