//! `end-user`: ends all sessions of a user.

use plugin_api::Response;

use super::Exchange;
use crate::problem::Problem;
use crate::render;

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let user_id = parameters.user_id.ok_or_else(|| Problem::malformed("no user_id given"))?;
    let ended = exchange.service.sessions.end_user(user_id.clone()).await?;
    exchange.audit(&format!("ended all sessions of {user_id:?}: {}", render::handles(&ended)));
    Ok(render::ended(&ended))
}
