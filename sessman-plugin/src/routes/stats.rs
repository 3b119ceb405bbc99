//! `stats`: the number of sessions, and their age.

use plugin_api::{Class, Response};
use serde_json::{Value, json};
use sessman::error::Error;

use super::exchange::Exchange;
use super::spec::{Returns, Spec};
use crate::problem::Problem;
use crate::render;

/// `stats`
pub(super) const ROUTE: Spec =
    Spec::new("stats", &["GET"], Class::Admin, Returns::Stats, |exchange| Box::pin(answer(exchange)))
        .described("How many sessions there are, and how old they are", &["getStats"]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    exchange.parameters()?;
    let stats = exchange.service.sessions.stats().await.map_err(Error::from)?;
    let by_age = stats.by_age.iter().map(|class| {
        let below = class.below.map(|age| age.as_secs());
        json!({ "below_seconds": below, "sessions": class.sessions })
    });
    exchange.audit("read the stats");
    Ok(render::answer(&json!({
        "total": stats.active + stats.expired,
        "active": stats.active,
        "expired": stats.expired,
        "by_age": by_age.collect::<Vec<Value>>(),
    })))
}
