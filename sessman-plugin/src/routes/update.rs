//! `update`: changes a session's data.

use std::time::Instant;

use plugin_api::{Caller, Class, Response};
use sessman::config::ClientAccess;
use sessman::rules::UpdateMode;
use sessman::sessions::{Amendment, Precondition, Update};

use super::amendment;
use super::cookie;
use super::exchange::Exchange;
use super::session_ref::SessionRef;
use super::spec::{Condition, Returns, Spec, joined};
use crate::id_in_request::IdInRequest;
use crate::parameters::{Name, Parameters, Values};
use crate::problem::Problem;
use crate::problem_type::ProblemType;
use crate::{etag, render};

/// `update`
pub(super) const ROUTE: Spec =
    Spec::new("update", &["POST", "PATCH"], Class::Session, Returns::Session, |exchange| {
        Box::pin(answer(exchange))
    })
    .described("Changes the session's data, terms, metadata and labels", &["updateSession", "patchSession"])
    .opened_by(ClientAccess::Write)
    .accepts(&joined::<9>(&[Name::SessionId, Name::UserId, Name::Data, Name::Mode], &amendment::NAMES))
    .on_condition(Condition::IfMatch)
    .refuses(&[401, 403, 404, 409, 412, 413, 422, 428]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let asked = Instant::now();
    let Parameters { session, values } = exchange.parameters()?;
    let change = match exchange.session_for_write_now(&session)? {
        Some(session) => Change::read(&exchange, values, session)?,
        // Boxed, so that the parsed request does not enlarge the common future.
        None => Box::pin(Change::read_chosen(&exchange, values, session)).await?,
    };
    let credentials = exchange.credentials(change.session.key(), change.user_id.as_deref());
    let sessions = &exchange.service.sessions;
    let Change { update, amendment, precondition, .. } = &change;
    let updated = match (update, amendment) {
        // Boxed separately, so that each allocation fits a size class that the allocator caches.
        (Some(update), None) => Box::pin(sessions.update(credentials, update, precondition)).await,
        (update, amendment) => {
            let amendment = amendment.as_deref().cloned().unwrap_or_default();
            sessions.amend(credentials, update.as_ref(), &amendment, precondition).await
        }
    };
    let record = updated.map_err(|error| exchange.missed(change.session.source, error))?;
    let response = render::session(200, &record, change.session.shown());
    Ok(cookie::prolonged(&exchange, change.session.id(), &record, asked, response))
}

/// The session to change, and the change.
struct Change {
    session: SessionRef,
    user_id: Option<String>,
    update: Option<Update>,
    /// Boxed, as most updates have none.
    amendment: Option<Box<Amendment>>,
    precondition: Precondition,
}

impl Change {
    async fn read_chosen(
        exchange: &Exchange<'_, '_>,
        values: Values,
        session: IdInRequest,
    ) -> Result<Self, Problem> {
        let session = exchange.session_for_write(session).await?;
        Self::read(exchange, values, session)
    }

    fn read(exchange: &Exchange<'_, '_>, mut values: Values, session: SessionRef) -> Result<Self, Problem> {
        // Frameworks store the visitor's identity there.
        if session.is_external() && exchange.request.caller() == Caller::Unkeyed {
            return Err(Problem::new(
                ProblemType::ExternalIdNeedsKey,
                "the data of a session with an external_id is changed with the API key alone; send it as Authorization: Bearer",
            ));
        }
        let amendment = amendment::of(exchange, &mut values)?;
        if values.data.is_none() && amendment.is_empty() {
            return Err(Problem::malformed("nothing to change given; send the JSON body {\"data\": ...}"));
        }
        let mode = match exchange.request.method() {
            "PATCH" => UpdateMode::Merge,
            _ => values.mode.unwrap_or(exchange.service.sessions.rules().update_mode),
        };
        let precondition = etag::precondition(exchange.list("if-match")?.as_deref())?;
        Ok(Self {
            session,
            user_id: values.user_id,
            update: values.data.map(|data| Update::new(mode, data)),
            amendment: (!amendment.is_empty()).then(|| Box::new(amendment)),
            precondition,
        })
    }
}
