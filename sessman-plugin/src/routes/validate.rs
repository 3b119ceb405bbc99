//! `validate`: says whether a session lives. A well-formed question gets a 200 either way.

use plugin_api::Response;
use serde_json::json;
use sessman::error::Error;

use super::Exchange;
use crate::parameters::Presented;
use crate::problem::Problem;
use crate::render;

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let found = match parameters.session {
        Presented::Explicit(None) | Presented::Cookie(None) => Err(Error::NotFound),
        session => {
            let (id, _) = exchange.presented(session)?;
            let credentials = exchange.credentials(&id, parameters.user_id.as_deref());
            exchange.service.sessions.get(credentials).await
        }
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
