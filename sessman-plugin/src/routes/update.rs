//! `update`: changes a session's data.

use plugin_api::Response;
use sessman::rules::UpdateMode;
use sessman::sessions::Update;

use super::{Exchange, Found};
use crate::problem::Problem;
use crate::{etag, render};

pub(super) async fn answer(exchange: Exchange<'_>) -> Result<Response, Problem> {
    let is_patch = exchange.request.method() == "PATCH";
    let parameters = exchange.parameters()?;
    let (id, found) = exchange.presented_for_write(parameters.session)?;
    let data = parameters
        .data
        .ok_or_else(|| Problem::malformed("no data given; send the JSON body {\"data\": ...}"))?;
    let mode = match is_patch {
        true => UpdateMode::Merge,
        false => parameters.mode.unwrap_or(exchange.service.sessions.rules().update_mode),
    };
    let precondition = etag::precondition(exchange.header("if-match"))?;
    let record = exchange
        .service
        .sessions
        .update(
            exchange.credentials(&id, parameters.user_id.as_deref()),
            &Update::new(mode, data),
            &precondition,
        )
        .await
        .map_err(|error| found.problem(error))?;
    Ok(render::session(200, &record, (found == Found::Explicit).then_some(&id)))
}
