//! `end`: ends a session.

use plugin_api::{Class, Response, Secret};
use serde_json::json;
use sessman::config::{ClientAccess, CookieConfig};
use sessman::error::Error;
use sessman::id::Handle;
use sessman::sessions::Key;

use super::exchange::Exchange;
use super::session_ref::Source;
use super::spec::{Returns, Spec};
use crate::candidates::Candidates;
use crate::id_in_request::IdInRequest;
use crate::parameters::Name;
use crate::problem::Problem;
use crate::{cookie, render};

/// `end`
pub(super) const ROUTE: Spec =
    Spec::new("end", &["POST", "DELETE"], Class::Session, Returns::End, |exchange| {
        Box::pin(answer(exchange))
    })
    .described("Ends the session", &["endSession", "deleteSession"])
    .opened_by(ClientAccess::Read)
    .accepts(&[Name::SessionId, Name::UserId])
    .refuses(&[401, 403, 404]);

/// An alias.
pub(super) const LOGOUT: Spec = ROUTE
    .also("logout")
    .described("Ends the session; another name of `end`", &["logout", "logoutWithDelete"]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let user_id = parameters.values.user_id.as_deref();
    let session = match parameters.session {
        IdInRequest::Cookie(candidates) => return end_cookies(&exchange, candidates, user_id).await,
        session => exchange.session(session).await?,
    };
    let ended = end(&exchange, session.key(), user_id).await;
    ended.map_err(|error| exchange.missed(session.source, error))?;
    let response = answered(session.handle());
    Ok(match &exchange.service.cookie {
        // Keep the cookie of another session: a page may end a session by its id while its visitor has a second one.
        Some(cookie) if exchange.cookie_may_be(session.handle(), &cookie.name) => {
            cleared(&exchange, cookie, response)
        }
        _ => response,
    })
}

/// Ends every session that a cookie names, and deletes the cookie, even if all of them had ended before. After a
/// logout the user must be logged out.
async fn end_cookies(
    exchange: &Exchange<'_, '_>,
    candidates: Candidates,
    user_id: Option<&str>,
) -> Result<Response, Problem> {
    exchange.refuse_cross_site()?;
    let (mut ended, mut missed) = (None, 0);
    for id in candidates.ids() {
        match end(exchange, Key::Id(id), user_id).await {
            Ok(()) => ended = ended.or(Some(id.handle())),
            Err(Error::NotFound) => missed += 1,
            // The session may still be live: keep the cookie for a retry.
            Err(error) => return Err(error.into()),
        }
    }
    let response = match ended {
        Some(handle) => answered(handle),
        None => {
            for _ in 0..missed {
                exchange.request.brought_wrong(Secret::SessionId);
            }
            Source::Cookie.problem(Error::NotFound).into()
        }
    };
    Ok(match &exchange.service.cookie {
        Some(cookie) => cleared(exchange, cookie, response),
        None => response,
    })
}

/// Deletes the browser's cookie, and where that is configured all that it keeps of the site.
fn cleared(exchange: &Exchange<'_, '_>, cookie: &CookieConfig, response: Response) -> Response {
    let response = response.with_header("set-cookie", cookie::clear(cookie, &exchange.request));
    match cookie.clear_site_data {
        true => response.with_header("clear-site-data", "\"cache\", \"cookies\", \"storage\""),
        false => response,
    }
}

async fn end(exchange: &Exchange<'_, '_>, key: Key<'_>, user_id: Option<&str>) -> Result<(), Error> {
    exchange.service.sessions.end(exchange.credentials(key, user_id)).await
}

fn answered(handle: Handle) -> Response {
    render::answer(&json!({ "ended": true, "handle": handle.to_string() }))
}
