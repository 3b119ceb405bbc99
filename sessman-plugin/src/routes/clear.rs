//! `clear`: ends every session.

use plugin_api::{Class, Response};
use serde_json::json;

use super::exchange::Exchange;
use super::spec::{Returns, Spec};
use crate::parameters::Name;
use crate::problem::Problem;
use crate::render;

/// `clear`
pub(super) const ROUTE: Spec =
    Spec::new("clear", &["POST"], Class::Admin, Returns::Cleared, |exchange| Box::pin(answer(exchange)))
        .described("Ends every session", &["clearSessions"])
        .accepts(&[Name::Confirm])
        .requires(&[Name::Confirm]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    if parameters.values.confirm != Some(true) {
        return Err(Problem::malformed("this ends every session; send confirm=yes if that is meant"));
    }
    let cleared = exchange.service.sessions.clear().await?;
    exchange.audit(&format!("cleared the store of {cleared} records"));
    Ok(render::answer(&json!({ "cleared": cleared })))
}
