//! `touch`: restarts a session's time to live.

use plugin_api::{Class, Response};
use sessman::config::ClientAccess;

use super::exchange::Exchange;
use super::spec::{Returns, Spec};
use crate::parameters::Name;
use crate::problem::Problem;
use crate::render;

/// `touch`
pub(super) const ROUTE: Spec =
    Spec::new("touch", &["POST"], Class::Session, Returns::Session, |exchange| Box::pin(answer(exchange)))
        .described("Restarts the session's time to live", &["touchSession"])
        .opened_by(ClientAccess::Read)
        .accepts(&[Name::SessionId, Name::UserId])
        .refuses(&[401, 403, 404]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let session = exchange.session_for_write(parameters.session).await?;
    let record = exchange
        .service
        .sessions
        .touch(exchange.credentials(&session.id, parameters.values.user_id.as_deref()))
        .await
        .map_err(|error| exchange.missed(session.source, error))?;
    Ok(render::session(200, &record, session.shown(&session.id)))
}
