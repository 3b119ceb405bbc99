//! `mine/end`: ends one session of the user whose session is used for the request, or all others (log out everywhere
//! else).

use plugin_api::{Class, Response};
use sessman::config::ClientAccess;
use sessman::error::Error;
use sessman::sessions::Ending;

use super::exchange::Exchange;
use super::spec::{Returns, Spec};
use crate::parameters::Name;
use crate::problem::Problem;
use crate::{cookie, render};

/// `mine/end`
pub(super) const ROUTE: Spec =
    Spec::new("mine/end", &["POST"], Class::Session, Returns::Ended, |exchange| Box::pin(answer(exchange)))
        .described("Ends one session of the session's user, or all others", &["endMySessions"])
        .opened_by(ClientAccess::Read)
        .accepts(&[Name::SessionId, Name::UserId, Name::Handle, Name::Others])
        .one_of(&[Name::Handle, Name::Others])
        .refuses(&[401, 403, 404]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let parameters = exchange.parameters()?;
    let session = exchange.session_for_write(parameters.session).await?;
    let ending = match (parameters.values.handle, parameters.values.others == Some(true)) {
        (Some(Some(handle)), false) => Ending::One(handle),
        (Some(None), false) => return Err(Error::NotFound.into()),
        (None, true) => Ending::Others,
        _ => return Err(Problem::malformed("send either the `handle` of a session, or others=true")),
    };
    let credentials = exchange.credentials(session.key(), parameters.values.user_id.as_deref());
    let ended = exchange
        .service
        .sessions
        .end_mine(credentials, ending)
        .await
        .map_err(|error| exchange.missed(session.source, error))?;
    if ended.is_empty() && ending != Ending::Others {
        return Err(Error::NotFound.into());
    }
    let response = render::ended(&ended);
    Ok(match &exchange.service.cookie {
        Some(cookie)
            if ended.contains(&session.handle())
                && exchange.cookie_may_be(session.handle(), &cookie.name) =>
        {
            response.with_header("set-cookie", cookie::clear(cookie, &exchange.request))
        }
        _ => response,
    })
}
