//! `validate`: says whether a session lives. A well-formed question gets a 200 either way.

use plugin_api::{Response, Secret};
use serde_json::json;
use sessman::error::Error;

use super::{Exchange, Found};
use crate::presented::{Choice, Presented};
use crate::problem::Problem;
use crate::render;

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let choice = match parameters.session {
        Presented::Nothing => return Err(Found::nowhere()),
        Presented::Explicit(id) => id.map_or(Choice::None, Choice::One),
        Presented::Cookie(candidates) => {
            Box::pin(candidates.choose(exchange.service, &exchange.request)).await?
        }
    };
    let found = match choice {
        Choice::One(id) => {
            let credentials = exchange.credentials(&id, parameters.user_id.as_deref());
            let found = exchange.service.sessions.get(credentials).await;
            if matches!(found, Err(Error::NotFound)) {
                exchange.request.brought_wrong(Secret::SessionId);
            }
            found
        }
        Choice::None | Choice::Several => Err(Error::NotFound),
    };
    match found {
        Ok(record) => Ok(render::answer(&json!({
            "valid": true,
            "handle": record.handle.to_string(),
            "user_id": record.user_id,
            "expires_at": record.expires_at.to_string(),
        }))),
        Err(Error::NotFound) => Ok(render::answer(&json!({ "valid": false }))),
        Err(error) => Err(error.into()),
    }
}
