//! `cleanup`: removes expired records now.

use plugin_api::Response;
use serde_json::json;

use super::Exchange;
use crate::problem::Problem;
use crate::render;

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    exchange.parameters()?;
    let purged = exchange.service.sessions.clean_up().await?;
    exchange.audit(&format!("removed {purged} expired records"));
    Ok(render::answer(&json!({ "purged": purged })))
}
