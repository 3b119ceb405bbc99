//! `end-sessions`: ends the sessions with these handles.

use plugin_api::Response;

use super::Exchange;
use crate::problem::Problem;
use crate::render;

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let handles = parameters.handles.ok_or_else(|| Problem::malformed("no handles given"))?;
    let ended = exchange.service.sessions.end_handles(handles).await?;
    exchange.audit(&format!("ended sessions: {}", render::handles(&ended)));
    Ok(render::ended(&ended))
}
