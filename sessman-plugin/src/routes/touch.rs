//! `touch`: restarts a session's time to live.

use std::time::Instant;

use plugin_api::{Class, Response};
use sessman::config::ClientAccess;
use sessman::sessions::Precondition;

use super::amendment;
use super::cookie;
use super::exchange::Exchange;
use super::spec::{Returns, Spec, joined};
use crate::parameters::Name;
use crate::problem::Problem;
use crate::render;

/// `touch`
pub(super) const ROUTE: Spec =
    Spec::new("touch", &["POST"], Class::Session, Returns::Session, |exchange| Box::pin(answer(exchange)))
        .described("Restarts the session's time to live, and may change its terms", &["touchSession"])
        .opened_by(ClientAccess::Read)
        .accepts(&joined::<7>(&[Name::SessionId, Name::UserId], &amendment::NAMES))
        .refuses(&[401, 403, 404, 409, 413, 422]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let asked = Instant::now();
    let mut parameters = exchange.parameters()?;
    let amendment = amendment::of(&exchange, &mut parameters.values)?;
    let session = exchange.session_for_write(parameters.session).await?;
    let credentials = exchange.credentials(session.key(), parameters.values.user_id.as_deref());
    let sessions = &exchange.service.sessions;
    let touched = match amendment.is_empty() {
        true => sessions.touch(credentials).await,
        false => sessions.amend(credentials, None, &amendment, &Precondition::None).await,
    };
    let record = touched.map_err(|error| exchange.missed(session.source, error))?;
    let response = render::session(200, &record, session.shown());
    Ok(cookie::prolonged(&exchange, session.id(), &record, asked, response))
}
