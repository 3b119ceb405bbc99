//! `validate`: tells whether a session is live. A well-formed request gets a 200 either way.

use std::sync::Arc;

use plugin_api::{Class, Response, Secret};
use serde_json::json;
use sessman::config::ClientAccess;
use sessman::error::Error;
use sessman::record::Record;
use sessman::sessions::Key;

use super::exchange::Exchange;
use super::session_ref::absent;
use super::spec::{Returns, Spec};
use crate::candidates::Choice;
use crate::id_in_request::IdInRequest;
use crate::parameters::Name;
use crate::problem::Problem;
use crate::render;

/// `validate`
pub(super) const ROUTE: Spec =
    Spec::new("validate", &["GET", "POST"], Class::Session, Returns::Validity, |exchange| {
        Box::pin(answer(exchange))
    })
    .described("Whether the session lives", &["validateSession", "validateSessionWithBody"])
    .opened_by(ClientAccess::Read)
    .accepts(&[Name::SessionId, Name::UserId])
    .refuses(&[401]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let user_id = parameters.values.user_id.as_deref();
    let choice = match parameters.session {
        IdInRequest::Absent => return Err(absent()),
        IdInRequest::Handle(handle) => {
            return answered(
                exchange.service.sessions.get(exchange.credentials(Key::Handle(handle), user_id)).await,
            );
        }
        IdInRequest::Explicit(id) => id.map_or(Choice::None, Choice::One),
        IdInRequest::Cookie(candidates) => {
            Box::pin(candidates.choose(exchange.service, &exchange.request)).await?
        }
    };
    let found = match choice {
        Choice::One(id) => {
            let found = exchange.service.sessions.get(exchange.credentials(&id, user_id)).await;
            if matches!(found, Err(Error::NotFound)) {
                exchange.request.brought_wrong(Secret::SessionId);
            }
            found
        }
        Choice::None | Choice::Several => Err(Error::NotFound),
    };
    answered(found)
}

fn answered(found: Result<Arc<Record>, Error>) -> Result<Response, Problem> {
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
