//! `rotate`: gives a session another id, and with a user logs that user in.

use plugin_api::{Caller, Response};

use super::{Exchange, Found};
use crate::problem::Problem;
use crate::{cookie, render};

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let cookie = exchange.service.cookie.as_ref();
    if cookie.is_some() {
        exchange.refuse_cross_site()?;
    }
    let parameters = exchange.parameters()?;
    if parameters.user_id.is_some() && exchange.request.caller() == Caller::Unkeyed {
        return Err(Problem::unauthorized("a login needs the API key; send it as Authorization: Bearer"));
    }
    let (id, found) = exchange.presented_for_write(parameters.session).await?;
    let (rotated, record) = exchange
        .service
        .sessions
        .rotate(exchange.credentials(&id, None), parameters.user_id.clone())
        .await
        .map_err(|error| {
            exchange.audit_refusal(&error, parameters.user_id.as_deref());
            exchange.missed(found, error)
        })?;
    let response = render::session(200, &record, (found == Found::Explicit).then_some(&rotated));
    Ok(match cookie {
        Some(cookie) if exchange.cookie_may_be(&id, &cookie.name) => {
            response.with_header("set-cookie", cookie::set(cookie, &rotated, &exchange.request))
        }
        _ => response,
    })
}
