//! A request together with the service that answers it.

use std::borrow::Cow;

use plugin_api::{Called, Level, Request, Secret};
use sessman::error::Error;
use sessman::id::{Handle, SessionId};
use sessman::sessions::{Credentials, Key};

use super::session_ref::{SessionRef, Source, absent};
use crate::candidates::Choice;
use crate::id_in_request::IdInRequest;
use crate::log::user;
use crate::parameters::{self, Body, Name, Parameters};
use crate::problem::Problem;
use crate::problem_type::ProblemType;
use crate::service::Service;

/// A request together with the service that answers it.
pub(super) struct Exchange<'s, 'a: 's> {
    pub(super) service: &'s Service,
    pub(super) request: Request<'a>,
    /// The plugin that calls, if it is not a client.
    pub(super) called: Option<Called>,
    /// The parameters that the route accepts.
    pub(super) accepts: &'static [Name],
    /// The parsed body if it is large; smaller ones are parsed on demand.
    pub(super) body: Option<Box<Body>>,
}

impl<'s, 'a> Exchange<'s, 'a> {
    /// A request to a route that accepts these parameters.
    pub(super) fn new(service: &'s Service, request: Request<'a>, accepts: &'static [Name]) -> Self {
        let called = request.called();
        Self { service, request, called, accepts, body: None }
    }
}

impl Exchange<'_, '_> {
    /// Logs an action of an administrator: handles and users, never ids.
    pub(super) fn audit(&self, act: &str) {
        self.note(Level::Info, &format!("admin: {act}"));
    }

    /// Logs that a rule prevented the creation of a session or a login.
    pub(super) fn audit_refusal(&self, error: &Error, user_id: Option<&str>) {
        let rule = match error {
            Error::LimitReached { .. } => "max_sessions_per_user",
            Error::TooMany { .. } => "new_rate",
            Error::OtherUser => "other_user",
            Error::Exists => "external_id",
            _ => return,
        };
        if self.service.access.audit {
            self.note(Level::Info, &format!("audit: a session was refused{} reason={rule}", user(user_id)));
        }
    }

    pub(super) fn note(&self, level: Level, what: &str) {
        let request = &self.request;
        let from = request.client_address().map_or_else(|| "-".to_owned(), |address| address.to_string());
        let by = self.called.as_ref().map(|called| format!(" by={}", called.instance)).unwrap_or_default();
        self.service.host.log(level, &format!("{what} from={from}{by} request={}", request.request_id()));
    }

    /// The credentials for this session.
    pub(super) fn credentials<'c>(
        &self,
        key: impl Into<Key<'c>>,
        user_id: Option<&'c str>,
    ) -> Credentials<'c> {
        let key = key.into();
        Credentials { key, user_id, address: self.request.client_address() }
    }

    /// The problem for a session that was not found. An unknown id counts as a guess only if it was looked up.
    pub(super) fn missed(&self, source: Source, error: Error) -> Problem {
        if matches!(error, Error::NotFound) && source != Source::Handle {
            self.request.brought_wrong(Secret::SessionId);
        }
        source.problem(error)
    }

    pub(super) fn parameters(&self) -> Result<Parameters, Problem> {
        let accepted = self.accepted();
        let body = self.body.as_deref().cloned().unwrap_or_else(|| Body::read(&self.request, &accepted));
        let service = self.service;
        let (cookie, ids_in_urls) = (service.cookie_name(), service.access.ids_in_urls);
        let parameters = Parameters::read(&self.request, body, cookie, &accepted, ids_in_urls)?;
        match self.called.as_ref().and_then(|called| called.session.as_deref()) {
            None => Ok(parameters),
            Some(handle) => self.about(handle, parameters),
        }
    }

    /// The parameters of a call of another plugin about the session with this handle.
    fn about(&self, handle: &str, parameters: Parameters) -> Result<Parameters, Problem> {
        if !self.accepts.contains(&Name::SessionId) {
            return Err(Problem::malformed("the call names a session, and this route is about none"));
        }
        if !matches!(parameters.session, IdInRequest::Absent) {
            return Err(Problem::malformed(
                "the call names a session by its handle, and another one by an id",
            ));
        }
        let session = Handle::parse(handle).map_or(IdInRequest::Explicit(None), IdInRequest::Handle);
        Ok(Parameters { session, ..parameters })
    }

    pub(super) fn accepted(&self) -> Cow<'static, [Name]> {
        parameters::accepted(self.accepts, self.request.method())
    }

    /// The lines of a header as one list (RFC 9110, section 5.3). An unreadable condition is an error, not an absent
    /// one.
    pub(super) fn list<'s>(&'s self, name: &'s str) -> Result<Option<Cow<'s, str>>, Problem> {
        let text = |line| {
            std::str::from_utf8(line).map_err(|_| Problem::malformed(format!("{name}: expected text")))
        };
        let mut lines = self.request.header_all(name).map(text);
        let Some(first) = lines.next().transpose()? else { return Ok(None) };
        lines
            .try_fold(Cow::Borrowed(first), |list, line| Ok(Cow::Owned(format!("{list}, {}", line?))))
            .map(Some)
    }

    /// The session that the request refers to, with its source, which decides how a missing session is answered.
    pub(super) async fn session(&self, id: IdInRequest) -> Result<SessionRef, Problem> {
        match Self::session_now(&id) {
            Some(session) => session,
            // Boxed, because few requests have several.
            None => Box::pin(self.chosen(id)).await,
        }
    }

    /// As [`session`](Self::session), if no lookup is needed for it.
    pub(super) fn session_now(id: &IdInRequest) -> Option<Result<SessionRef, Problem>> {
        match id {
            IdInRequest::Explicit(id) => Some(SessionRef::explicit(id.clone())),
            IdInRequest::Cookie(candidates) => candidates.choose_now().map(SessionRef::of_cookies),
            IdInRequest::Handle(handle) => Some(Ok(SessionRef::of_handle(*handle))),
            IdInRequest::Absent => Some(Err(absent())),
        }
    }

    pub(super) async fn chosen(&self, id: IdInRequest) -> Result<SessionRef, Problem> {
        match id {
            IdInRequest::Cookie(candidates) => {
                SessionRef::of_cookies(candidates.choose(self.service, &self.request).await?)
            }
            IdInRequest::Explicit(_) | IdInRequest::Handle(_) | IdInRequest::Absent => {
                SessionRef::of_cookies(Choice::None)
            }
        }
    }

    /// As [`session`](Self::session), for a write: a cookie is accepted only from a page of an allowed origin (CSRF).
    pub(super) async fn session_for_write(&self, id: IdInRequest) -> Result<SessionRef, Problem> {
        match self.session_for_write_now(&id)? {
            Some(session) => Ok(session),
            None => Box::pin(self.chosen(id)).await,
        }
    }

    /// As [`session_for_write`](Self::session_for_write), if no lookup is needed for it.
    pub(super) fn session_for_write_now(&self, id: &IdInRequest) -> Result<Option<SessionRef>, Problem> {
        if matches!(id, IdInRequest::Cookie(_)) {
            self.refuse_cross_site()?;
        }
        Self::session_now(id).transpose()
    }

    /// Rejects cross-site requests (CSRF): a page of another origin must not use or set a visitor's cookie.
    pub(super) fn refuse_cross_site(&self) -> Result<(), Problem> {
        if self.request.is_cross_site() {
            return Err(Problem::new(
                ProblemType::CrossSite,
                "a page of another origin may not use or set the session cookie; send the id as session_id",
            ));
        }
        Ok(())
    }

    /// Whether one of the request's cookies is this id.
    pub(super) fn cookie_is(&self, id: &SessionId, name: &str) -> bool {
        match IdInRequest::in_cookie(&self.request, Some(name)) {
            IdInRequest::Cookie(cookies) => cookies.ids().contains(id),
            IdInRequest::Explicit(_) | IdInRequest::Handle(_) | IdInRequest::Absent => false,
        }
    }

    /// Whether the request's cookies name this session, or no session at all. Not where a plugin names the session: it may be
    /// another user's.
    pub(super) fn cookie_may_be(&self, handle: Handle, name: &str) -> bool {
        if self.called.as_ref().is_some_and(|called| called.session.is_some()) {
            return false;
        }
        let IdInRequest::Cookie(cookies) = IdInRequest::in_cookie(&self.request, Some(name)) else {
            return true;
        };
        cookies.ids().is_empty() || cookies.ids().iter().any(|cookie| cookie.handle() == handle)
    }
}
