//! `update`: changes a session's data.

use plugin_api::{Caller, Response};
use sessman::id::SessionId;
use sessman::rules::UpdateMode;
use sessman::sessions::{Precondition, Update};

use super::{Exchange, Found};
use crate::problem::Problem;
use crate::{etag, render};

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let asked = Asked::read(&exchange).await?;
    let credentials = exchange.credentials(&asked.id, asked.user_id.as_deref());
    let updated = exchange.service.sessions.update(credentials, &asked.update, &asked.precondition).await;
    let record = updated.map_err(|error| exchange.missed(asked.found, error))?;
    Ok(render::session(200, &record, (asked.found == Found::Explicit).then_some(&asked.id)))
}

/// Which session is to be changed, and how.
struct Asked {
    id: SessionId,
    found: Found,
    user_id: Option<String>,
    update: Update,
    precondition: Precondition,
}

impl Asked {
    async fn read(exchange: &Exchange<'_, '_>) -> Result<Self, Problem> {
        let parameters = exchange.parameters()?;
        let (id, found) = exchange.presented_for_write(parameters.session).await?;
        // A framework keeps there whom it takes the visitor for.
        if id.is_external() && exchange.request.caller() == Caller::Unkeyed {
            return Err(Problem::new(
                403,
                "the data of a session with an external_id is changed with the API key alone; send it as Authorization: Bearer",
            ));
        }
        let data = parameters
            .data
            .ok_or_else(|| Problem::malformed("no data given; send the JSON body {\"data\": ...}"))?;
        let mode = match exchange.request.method() {
            "PATCH" => UpdateMode::Merge,
            _ => parameters.mode.unwrap_or(exchange.service.sessions.rules().update_mode),
        };
        let precondition = etag::precondition(exchange.list("if-match")?.as_deref())?;
        let update = Update::new(mode, data);
        Ok(Self { id, found, user_id: parameters.user_id, update, precondition })
    }
}
