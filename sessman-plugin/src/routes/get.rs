//! `get`: reads a session.

use std::sync::Arc;

use plugin_api::Response;
use sessman::error::Error;
use sessman::id::SessionId;
use sessman::record::Record;
use sessman::sessions::Credentials;

use super::{Exchange, Found};
use crate::parameters::Presented;
use crate::problem::Problem;
use crate::{etag, render};

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let asked = Asked::read(&exchange)?;
    let found = exchange.service.sessions.get(asked.credentials(&exchange)).await;
    asked.answer(&exchange, found)
}

/// The answer where the session is at hand.
pub(super) fn answer_now(exchange: &Exchange<'_, '_>) -> Option<Result<Response, Problem>> {
    let asked = match Asked::read(exchange) {
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

impl Asked {
    fn read(exchange: &Exchange<'_, '_>) -> Result<Self, Problem> {
        let parameters = exchange.parameters()?;
        if parameters.user_id.is_some() && matches!(parameters.session, Presented::Nothing) {
            return Err(Problem::malformed("user_id alone names no session; send session_id, too"));
        }
        let (id, found) = exchange.presented(parameters.session)?;
        Ok(Self { id, found, user_id: parameters.user_id })
    }

    fn credentials(&self, exchange: &Exchange<'_, '_>) -> Credentials<'_> {
        exchange.credentials(&self.id, self.user_id.as_deref())
    }

    fn answer(
        &self,
        exchange: &Exchange<'_, '_>,
        found: Result<Arc<Record>, Error>,
    ) -> Result<Response, Problem> {
        let record = found.map_err(|error| self.found.problem(error))?;
        if let Some(header) = exchange.header("if-none-match") {
            let tag = etag::of(&record);
            if etag::none_match(header, &tag)? {
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
