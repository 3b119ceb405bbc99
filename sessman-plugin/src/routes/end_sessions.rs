//! `end-sessions`: ends the sessions with these handles.

use plugin_api::{Class, Response};

use super::exchange::Exchange;
use super::spec::{Returns, Spec};
use crate::parameters::Name;
use crate::problem::Problem;
use crate::render;

/// `end-sessions`
pub(super) const ROUTE: Spec =
    Spec::new("end-sessions", &["POST"], Class::Admin, Returns::Ended, |exchange| Box::pin(answer(exchange)))
        .described("Ends the sessions with these handles", &["endSessions"])
        .accepts(&[Name::Handles])
        .requires(&[Name::Handles]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let handles = parameters.values.handles.ok_or_else(|| Problem::malformed("no handles given"))?;
    let ended = exchange.service.sessions.end_handles(handles).await?;
    exchange.audit(&format!("ended sessions: {}", render::handles(&ended)));
    Ok(render::ended(&ended))
}
