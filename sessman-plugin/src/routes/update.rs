//! `update`: changes a session's data.

use plugin_api::{Caller, Response};
use sessman::id::SessionId;
use sessman::rules::UpdateMode;
use sessman::sessions::{Precondition, Update};

use super::{Exchange, Found};
use crate::parameters::Parameters;
use crate::presented::Presented;
use crate::problem::Problem;
use crate::{etag, render};

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let asked = match exchange.presented_for_write_now(&parameters.session)? {
        Some(presented) => Asked::read(&exchange, parameters, presented)?,
        // Boxed, so that what the request says has no room in the future of all.
        None => Box::pin(Asked::read_several(&exchange, parameters)).await?,
    };
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
    async fn read_several(exchange: &Exchange<'_, '_>, mut parameters: Parameters) -> Result<Self, Problem> {
        let session = std::mem::replace(&mut parameters.session, Presented::Nothing);
        let presented = exchange.presented_for_write(session).await?;
        Self::read(exchange, parameters, presented)
    }

    fn read(
        exchange: &Exchange<'_, '_>,
        parameters: Parameters,
        (id, found): (SessionId, Found),
    ) -> Result<Self, Problem> {
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
