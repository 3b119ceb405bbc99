//! `touch`: lets a session's time to live begin again.

use plugin_api::Response;

use super::{Exchange, Found};
use crate::problem::Problem;
use crate::render;

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let (id, found) = exchange.presented_for_write(parameters.session).await?;
    let record = exchange
        .service
        .sessions
        .touch(exchange.credentials(&id, parameters.user_id.as_deref()))
        .await
        .map_err(|error| exchange.missed(found, error))?;
    Ok(render::session(200, &record, (found == Found::Explicit).then_some(&id)))
}
