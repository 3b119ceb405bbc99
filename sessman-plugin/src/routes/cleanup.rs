//! `cleanup`: removes expired records now.

use plugin_api::{Class, Response};
use serde_json::json;

use super::exchange::Exchange;
use super::spec::{Returns, Spec};
use crate::problem::Problem;
use crate::render;

/// `cleanup`
pub(super) const ROUTE: Spec =
    Spec::new("cleanup", &["POST"], Class::Admin, Returns::Purged, |exchange| Box::pin(answer(exchange)))
        .described("Removes expired records now", &["removeExpiredSessions"]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    exchange.parameters()?;
    let purged = exchange.service.sessions.clean_up().await?;
    exchange.audit(&format!("removed {purged} expired records"));
    Ok(render::answer(&json!({ "purged": purged })))
}
