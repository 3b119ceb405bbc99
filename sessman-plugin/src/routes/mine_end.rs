//! `mine/end`: ends one of the sessions of the user whose session asks, or all others.

use plugin_api::Response;
use sessman::error::Error;
use sessman::sessions::Ending;

use super::Exchange;
use crate::problem::Problem;
use crate::{cookie, render};

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let (id, found) = exchange.presented_for_write(parameters.session).await?;
    let ending = match (parameters.handle, parameters.others) {
        (Some(Some(handle)), false) => Ending::One(handle),
        (Some(None), false) => return Err(Error::NotFound.into()),
        (None, true) => Ending::Others,
        _ => return Err(Problem::malformed("send either the `handle` of a session, or others=true")),
    };
    let credentials = exchange.credentials(&id, parameters.user_id.as_deref());
    let ended = exchange
        .service
        .sessions
        .end_mine(credentials, ending)
        .await
        .map_err(|error| exchange.missed(found, error))?;
    if ended.is_empty() && ending != Ending::Others {
        return Err(Error::NotFound.into());
    }
    let response = render::ended(&ended);
    Ok(match &exchange.service.cookie {
        Some(cookie) if ended.contains(&id.handle()) && exchange.cookie_may_be(&id, &cookie.name) => {
            response.with_header("set-cookie", cookie::clear(cookie, &exchange.request))
        }
        _ => response,
    })
}
