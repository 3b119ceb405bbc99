//! `get`: reads a session.

use std::sync::Arc;

use plugin_api::Response;
use sessman::error::Error;
use sessman::id::SessionId;
use sessman::record::Record;
use sessman::sessions::Credentials;

use super::{Exchange, Found};
use crate::parameters::Parameters;
use crate::presented::Presented;
use crate::problem::Problem;
use crate::{etag, render};

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let question = Question::read(&exchange)?;
    let (id, from) = exchange.presented(question.session).await?;
    let asked = Asked { id, found: from, user_id: question.user_id };
    let found = exchange.service.sessions.get(asked.credentials(&exchange)).await;
    asked.answer(&exchange, found)
}

/// The answer where the session is at hand.
pub(super) fn answer_now(exchange: &Exchange<'_, '_>) -> Option<Result<Response, Problem>> {
    let asked = match Asked::read_now(exchange)? {
        Ok(asked) => asked,
        Err(problem) => return Some(Err(problem)),
    };
    let found = exchange.service.sessions.get_now(asked.credentials(exchange))?;
    Some(asked.answer(exchange, found))
}

/// Which session is asked for.
struct Asked {
    id: SessionId,
    found: Found,
    user_id: Option<String>,
}

/// What the request says.
struct Question {
    session: Presented,
    user_id: Option<String>,
}

impl Question {
    fn read(exchange: &Exchange<'_, '_>) -> Result<Self, Problem> {
        let Parameters { session, user_id, .. } = exchange.parameters()?;
        if user_id.is_some() && matches!(session, Presented::Nothing) {
            return Err(Problem::malformed("user_id alone names no session; send session_id, too"));
        }
        Ok(Self { session, user_id })
    }
}

impl Asked {
    /// `None` where sessions have to be looked at first.
    fn read_now(exchange: &Exchange<'_, '_>) -> Option<Result<Self, Problem>> {
        let Question { session, user_id } = match Question::read(exchange) {
            Ok(question) => question,
            Err(problem) => return Some(Err(problem)),
        };
        let presented = Exchange::presented_now(&session)?;
        Some(presented.map(|(id, found)| Self { id, found, user_id }))
    }

    fn credentials(&self, exchange: &Exchange<'_, '_>) -> Credentials<'_> {
        exchange.credentials(&self.id, self.user_id.as_deref())
    }

    fn answer(
        &self,
        exchange: &Exchange<'_, '_>,
        found: Result<Arc<Record>, Error>,
    ) -> Result<Response, Problem> {
        let record = found.map_err(|error| exchange.missed(self.found, error))?;
        if let Some(header) = exchange.list("if-none-match")? {
            let tag = etag::of(&record);
            if etag::none_match(&header, &tag)? {
                return Ok(Response::new(304)
                    .with_header("cache-control", "no-store")
                    .with_header("etag", tag));
            }
        }
        // A cookie is hidden from the page's scripts; the body must not give it away.
        let id = (self.found == Found::Explicit).then_some(&self.id);
        Ok(render::session(200, &record, id))
    }
}
