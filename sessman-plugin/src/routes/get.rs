//! `get`: reads a session.

use std::sync::Arc;

use plugin_api::{Class, Response};
use sessman::config::ClientAccess;
use sessman::error::Error;
use sessman::record::Record;

use super::exchange::Exchange;
use super::session_ref::SessionRef;
use super::spec::{Condition, Returns, Spec};
use crate::id_in_request::IdInRequest;
use crate::parameters::{Name, Parameters};
use crate::problem::Problem;
use crate::{etag, render};

/// `get`
pub(super) const ROUTE: Spec =
    Spec::new("get", &["GET", "POST"], Class::Session, Returns::Session, |exchange| {
        Box::pin(answer(exchange))
    })
    .described("The session", &["getSession", "getSessionWithBody"])
    .opened_by(ClientAccess::Read)
    .accepts(&[Name::SessionId, Name::UserId])
    .on_condition(Condition::IfNoneMatch)
    .refuses(&[401, 404])
    .immediate(answer_now);

/// An alias.
pub(super) const PROFILE: Spec = ROUTE
    .also("profile")
    .described("The session; another name of `get`", &["getProfile", "getProfileWithBody"]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let Question { session, user_id } = Question::read(&exchange)?;
    let session = exchange.session(session).await?;
    let found = exchange.service.sessions.get(exchange.credentials(session.key(), user_id.as_deref())).await;
    render(&exchange, &session, found)
}

/// The answer, if the session is cached.
fn answer_now(exchange: &Exchange<'_, '_>) -> Option<Result<Response, Problem>> {
    let Question { session, user_id } = match Question::read(exchange) {
        Ok(question) => question,
        Err(problem) => return Some(Err(problem)),
    };
    let session = match Exchange::session_now(&session)? {
        Ok(session) => session,
        Err(problem) => return Some(Err(problem)),
    };
    let found = exchange.service.sessions.get_now(exchange.credentials(session.key(), user_id.as_deref()))?;
    Some(render(exchange, &session, found))
}

/// The parsed request.
struct Question {
    session: IdInRequest,
    user_id: Option<String>,
}

impl Question {
    fn read(exchange: &Exchange<'_, '_>) -> Result<Self, Problem> {
        let Parameters { session, values } = exchange.parameters()?;
        if values.user_id.is_some() && matches!(session, IdInRequest::Absent) {
            return Err(Problem::malformed("user_id alone names no session; send session_id, too"));
        }
        Ok(Self { session, user_id: values.user_id })
    }
}

fn render(
    exchange: &Exchange<'_, '_>,
    session: &SessionRef,
    found: Result<Arc<Record>, Error>,
) -> Result<Response, Problem> {
    let record = found.map_err(|error| exchange.missed(session.source, error))?;
    if let Some(header) = exchange.list("if-none-match")? {
        let tag = etag::of(&record);
        if etag::none_match(&header, &tag)? {
            return Ok(Response::new(304).with_header("cache-control", "no-store").with_header("etag", tag));
        }
    }
    Ok(render::session(200, &record, session.shown()))
}
