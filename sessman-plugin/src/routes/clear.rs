//! `clear`: ends every session.

use plugin_api::Response;
use serde_json::json;

use super::Exchange;
use crate::problem::Problem;
use crate::render;

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    if !parameters.confirm {
        return Err(Problem::malformed("this ends every session; send confirm=yes if that is meant"));
    }
    let cleared = exchange.service.sessions.clear().await?;
    exchange.audit(&format!("cleared the store of {cleared} records"));
    Ok(render::answer(&json!({ "cleared": cleared })))
}
