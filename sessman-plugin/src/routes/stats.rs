//! `stats`: the number of sessions, of all or of those that match, and their age.

use plugin_api::{Class, Response};
use serde_json::{Value, json};
use sessman::error::Error;

use super::exchange::Exchange;
use super::filter;
use super::spec::{Returns, Spec};
use crate::problem::Problem;
use crate::render;

/// `stats`
pub(super) const ROUTE: Spec =
    Spec::new("stats", &["GET"], Class::Admin, Returns::Stats, |exchange| Box::pin(answer(exchange)))
        .described("How many sessions there are, or match, and how old they are", &["getStats"])
        .accepts(&filter::NAMES);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let filter = filter::of(&mut exchange.parameters()?.values);
    let sessions = &exchange.service.sessions;
    let (stats, is_complete) = match filter.is_empty() {
        true => (sessions.stats().await.map_err(Error::from)?, true),
        false => sessions.stats_of(&filter).await.map_err(Error::from)?,
    };
    let by_age = stats.by_age.iter().map(|class| {
        let below = class.below.map(|age| age.as_secs());
        json!({ "below_seconds": below, "sessions": class.sessions })
    });
    exchange.audit(format!("read the stats {}", filter::text(&filter)).trim_end());
    Ok(render::answer(&json!({
        "complete": is_complete,
        "total": stats.active + stats.expired,
        "active": stats.active,
        "expired": stats.expired,
        "by_age": by_age.collect::<Vec<Value>>(),
    })))
}
