//! The routes, one file each. A new one is a file and a line in [`ROUTES`].

mod end;
mod get;
mod new;
mod touch;
mod update;
mod validate;
mod verify;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use plugin_api::{Caller, Class, Request, Response, Route};
use sessman::config::{AccessConfig, ClientAccess};
use sessman::error::Error;
use sessman::id::SessionId;

use crate::cookie;
use crate::parameters::{Parameters, Presented};
use crate::problem::Problem;
use crate::service::Service;

/// A route's answer, while it is being made.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send + 'a>>;

/// A route and what answers it.
pub(crate) struct Spec {
    pub(crate) route: Route,
    /// With so much of `client_access` a live session's id opens it without a key.
    opened_by: Option<ClientAccess>,
    answer: for<'a> fn(Exchange<'a>) -> Answer<'a>,
}

macro_rules! spec {
    ($path:literal, [$($method:literal),*], $class:ident $(($opened_by:ident))?, $answer:ident) => {
        Spec {
            route: Route::new($path, &[$($method),*], Class::$class),
            opened_by: [$(Some(ClientAccess::$opened_by),)? None][0],
            answer: |exchange| Box::pin($answer::answer(exchange)),
        }
    };
}

/// Every route. `login`, `profile` and `logout` are other names for `new`, `get` and `end`.
pub(crate) static ROUTES: [Spec; 10] = [
    spec!("new", ["POST"], Service, new),
    spec!("login", ["POST"], Service, new),
    spec!("get", ["GET", "POST"], Session(Read), get),
    spec!("profile", ["GET", "POST"], Session(Read), get),
    spec!("update", ["POST", "PATCH"], Session(Write), update),
    spec!("touch", ["POST"], Session(Read), touch),
    spec!("validate", ["GET", "POST"], Session(Read), validate),
    spec!("end", ["POST", "DELETE"], Session(Read), end),
    spec!("logout", ["POST", "DELETE"], Session(Read), end),
    spec!("verify", ["GET"], ForwardAuth(Read), verify),
];

/// A request and the service that answers it.
pub(crate) struct Exchange<'a> {
    service: Arc<Service>,
    request: Request<'a>,
}

/// Answers a request.
pub(crate) async fn answer(service: Arc<Service>, request: Request<'_>) -> Response {
    let Some(spec) = ROUTES.get(request.route()) else {
        return Problem::new(404, "no such route").into();
    };
    if let Err(problem) = spec.admit(request.caller(), service.access) {
        return problem.into();
    }
    (spec.answer)(Exchange { service, request }).await.unwrap_or_else(Response::from)
}

impl Spec {
    /// Whether the caller may ask at all. The host has asked for the key where the class is `Service`.
    fn admit(&self, caller: Caller, access: AccessConfig) -> Result<(), Problem> {
        match (caller, self.opened_by) {
            (Caller::Unkeyed, Some(needed)) if access.client_access < needed => {
                Err(Problem::unauthorized(match self.route.class {
                    Class::ForwardAuth => "this route needs the API key; send it as X-Custom-Auth",
                    _ => "this route needs the API key; send it as Authorization: Bearer",
                }))
            }
            // Whoever asks would take the user of such a session for someone who logged in.
            (Caller::Open, _) if self.route.class == Class::ForwardAuth && !access.allow_open_login => {
                Err(Problem::new(
                    403,
                    "there is no key, so anybody may create a session for any user: set a key, or allow_open_login",
                ))
            }
            _ => Ok(()),
        }
    }
}

impl Exchange<'_> {
    fn parameters(&self, accepted: &[crate::parameters::Name]) -> Result<Parameters, Problem> {
        Parameters::read(&self.request, self.service.cookie_name(), accepted)
    }

    /// A header with text in it.
    fn header(&self, name: &str) -> Option<&str> {
        self.request.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The id that was presented, and how a session that it does not name is answered.
    fn presented(&self, session: Presented) -> Result<(SessionId, Found), Problem> {
        match session {
            Presented::Explicit(Some(id)) => Ok((id, Found::Explicit)),
            Presented::Cookie(Some(id)) => Ok((id, Found::Cookie)),
            Presented::Explicit(None) => Err(Found::Explicit.problem(Error::NotFound)),
            Presented::Cookie(None) => Err(Found::Cookie.problem(Error::NotFound)),
            Presented::Nothing => Err(Problem::unauthorized(
                "no session id; send it as session_id, as X-Session-Id or in the cookie",
            )),
        }
    }

    /// As [`presented`](Self::presented), for a write: one that rides on a cookie must come from a page of ours.
    fn presented_for_write(&self, session: Presented) -> Result<(SessionId, Found), Problem> {
        let (id, found) = self.presented(session)?;
        if found == Found::Cookie {
            self.refuse_cross_site()?;
        }
        Ok((id, found))
    }

    /// A page of another origin must not use, or set, a visitor's cookie.
    fn refuse_cross_site(&self) -> Result<(), Problem> {
        if self.request.is_cross_site() {
            return Err(Problem::new(
                403,
                "a page of another origin may not use or set the session cookie; send the id as session_id",
            ));
        }
        Ok(())
    }

    /// Whether the request's cookie names this session, or no session at all.
    fn cookie_may_be(&self, id: &SessionId, name: &str) -> bool {
        let Some(text) = cookie::value(&self.request, name) else { return true };
        SessionId::parse(&text).is_none_or(|cookie| cookie.handle() == id.handle())
    }
}

/// Where the id of a session was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Explicit,
    Cookie,
}

impl Found {
    /// A session id that was given and names nothing is a 404; a cookie that names nothing is nobody logged in.
    fn problem(self, error: Error) -> Problem {
        match (self, error) {
            (Self::Cookie, Error::NotFound) => Problem::unauthorized("the session has ended; log in again"),
            (_, error) => error.into(),
        }
    }
}
