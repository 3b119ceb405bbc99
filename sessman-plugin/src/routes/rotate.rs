//! `rotate`: replaces a session's id (against session fixation), and with a user logs that user in.

use plugin_api::{Caller, Class, Response};
use sessman::config::ClientAccess;
use sessman::sessions::Rotation;

use super::amendment;
use super::exchange::Exchange;
use super::spec::{Returns, Spec, joined};
use crate::parameters::Name;
use crate::problem::Problem;
use crate::problem_type::ProblemType;
use crate::{cookie, render};

/// `rotate`. A login through it requires the key.
pub(super) const ROUTE: Spec =
    Spec::new("rotate", &["POST"], Class::Session, Returns::Session, |exchange| Box::pin(answer(exchange)))
        .described("Gives the session a new id; with user_id that user logs in", &["rotateSession"])
        .opened_by(ClientAccess::Read)
        .accepts(&joined::<8>(&[Name::SessionId, Name::UserId, Name::ExternalId], &amendment::NAMES))
        .refuses(&[401, 403, 404, 409, 413, 422]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let cookie = exchange.service.cookie.as_ref();
    if cookie.is_some() {
        exchange.refuse_cross_site()?;
    }
    let mut parameters = exchange.parameters()?;
    let amendment = amendment::of(&exchange, &mut parameters.values)?;
    let sets_id = parameters.values.user_id.is_some() || parameters.values.external_id.is_some();
    if sets_id && exchange.request.caller() == Caller::Unkeyed {
        return Err(Problem::unauthorized(
            ProblemType::KeyRequired,
            "a login and an external_id need the API key; send it as Authorization: Bearer",
        ));
    }
    let session = exchange.session_for_write(parameters.session).await?;
    if session.is_external() && exchange.request.caller() == Caller::Unkeyed {
        return Err(Problem::new(
            ProblemType::ExternalIdNeedsKey,
            "a session with an external_id is rotated with the API key alone; send it as Authorization: Bearer",
        ));
    }
    if session.id().is_none() && exchange.request.caller() == Caller::Unkeyed {
        return Err(Problem::unauthorized(
            ProblemType::KeyRequired,
            "a plugin that has no id of the session may rotate it with `calls=...:service` alone",
        ));
    }
    let rotation = Rotation {
        login: parameters.values.user_id.clone(),
        to: parameters.values.external_id.take(),
        amendment,
    };
    let (rotated, record) =
        exchange.service.sessions.rotate(exchange.credentials(session.key(), None), rotation).await.map_err(
            |error| {
                exchange.audit_refusal(&error, parameters.values.user_id.as_deref());
                exchange.missed(session.source, error)
            },
        )?;
    let response = render::session(200, &record, Some(&rotated).filter(|_| session.may_show_ids()));
    Ok(match cookie {
        // An id that the caller chose is passed to the client by the caller.
        Some(cookie) if !rotated.is_external() && exchange.cookie_may_be(session.handle(), &cookie.name) => {
            response.with_header("set-cookie", cookie::set(cookie, &rotated, &record, &exchange.request))
        }
        _ => response,
    })
}
