//! `end`: ends a session.

use plugin_api::{Response, Secret};
use serde_json::json;
use sessman::error::Error;
use sessman::id::{Handle, SessionId};

use super::{Exchange, Found};
use crate::presented::{Candidates, Presented};
use crate::problem::Problem;
use crate::{cookie, render};

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let user_id = parameters.user_id.as_deref();
    let id = match parameters.session {
        Presented::Cookie(candidates) => return end_cookies(&exchange, candidates, user_id).await,
        session => exchange.presented(session).await?.0,
    };
    end(&exchange, &id, user_id).await.map_err(|error| exchange.missed(Found::Explicit, error))?;
    let response = answered(id.handle());
    Ok(match &exchange.service.cookie {
        // Not the cookie of another session: a page may end one by its id while its visitor has a second.
        Some(cookie) if exchange.cookie_may_be(&id, &cookie.name) => {
            response.with_header("set-cookie", cookie::clear(cookie, &exchange.request))
        }
        _ => response,
    })
}

/// Whoever logs out is to be out: each session that a cookie names is ended, and the cookie goes, though all of them
/// have ended before.
async fn end_cookies(
    exchange: &Exchange<'_, '_>,
    candidates: Candidates,
    user_id: Option<&str>,
) -> Result<Response, Problem> {
    exchange.refuse_cross_site()?;
    let (mut ended, mut missed) = (None, 0);
    for id in candidates.ids() {
        match end(exchange, id, user_id).await {
            Ok(()) => ended = ended.or(Some(id.handle())),
            Err(Error::NotFound) => missed += 1,
            // It may live: the cookie stays, to try again with.
            Err(error) => return Err(error.into()),
        }
    }
    let response = match ended {
        Some(handle) => answered(handle),
        None => {
            for _ in 0..missed {
                exchange.request.brought_wrong(Secret::SessionId);
            }
            Found::Cookie.problem(Error::NotFound).into()
        }
    };
    Ok(match &exchange.service.cookie {
        Some(cookie) => response.with_header("set-cookie", cookie::clear(cookie, &exchange.request)),
        None => response,
    })
}

async fn end(exchange: &Exchange<'_, '_>, id: &SessionId, user_id: Option<&str>) -> Result<(), Error> {
    exchange.service.sessions.end(exchange.credentials(id, user_id)).await
}

fn answered(handle: Handle) -> Response {
    render::answer(&json!({ "ended": true, "handle": handle.to_string() }))
}
