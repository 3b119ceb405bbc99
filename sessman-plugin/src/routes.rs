//! The routes, one file each. A new one is a file and a line in [`ROUTES`].

mod cleanup;
mod clear;
mod end;
mod end_sessions;
mod end_user;
mod get;
mod list;
mod mine;
mod mine_end;
mod new;
mod rotate;
mod stats;
mod touch;
mod update;
mod validate;
mod verify;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use plugin_api::{Caller, Class, Level, Request, Response, Route};
use sessman::config::ClientAccess;
use sessman::error::Error;
use sessman::id::SessionId;
use sessman::sessions::Credentials;

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
pub(crate) static ROUTES: [Spec; 19] = [
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
    // A login with it is for who has the key.
    spec!("rotate", ["POST"], Session(Read), rotate),
    spec!("mine", ["GET"], Session(Read), mine),
    spec!("mine/end", ["POST"], Session(Read), mine_end),
    spec!("list", ["GET"], Admin, list),
    spec!("end-user", ["POST"], Admin, end_user),
    spec!("end-sessions", ["POST"], Admin, end_sessions),
    spec!("stats", ["GET"], Admin, stats),
    spec!("cleanup", ["POST"], Admin, cleanup),
    spec!("clear", ["POST"], Admin, clear),
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
    let exchange = Exchange { service, request };
    if let Err(problem) = exchange.admit(spec) {
        return problem.into();
    }
    (spec.answer)(exchange).await.unwrap_or_else(Response::from)
}

impl Exchange<'_> {
    /// Whether the caller may ask at all. The host has asked for the key where the class is `Service`.
    fn admit(&self, spec: &Spec) -> Result<(), Problem> {
        let access = &self.service.access;
        match (spec.route.class, self.request.caller()) {
            (Class::Admin, _) => self.admit_admin(),
            (class, Caller::Unkeyed)
                if spec.opened_by.is_some_and(|needed| access.client_access < needed) =>
            {
                Err(Problem::unauthorized(match class {
                    Class::ForwardAuth => "this route needs the API key; send it as X-Custom-Auth",
                    _ => "this route needs the API key; send it as Authorization: Bearer",
                }))
            }
            // Whoever asks would take the user of such a session for someone who logged in.
            (Class::ForwardAuth, Caller::Open) if !access.allow_open_login => Err(Problem::new(
                403,
                "there is no key, so anybody may create a session for any user: set a key, or allow_open_login",
            )),
            _ => Ok(()),
        }
    }

    fn admit_admin(&self) -> Result<(), Problem> {
        let Some(keys) = &self.service.access.admin_keys else {
            return Err(Problem::new(403, "there is no admin_key, so nobody may use this route"));
        };
        if self.request.header_all("x-admin-key").any(|key| keys.accept(key.trim_ascii())) {
            return Ok(());
        }
        if self.request.header("x-admin-key").is_some() {
            self.note(Level::Warn, "a wrong X-Admin-Key was sent");
        }
        Err(Problem::not_admin())
    }

    /// Writes down what an administrator did: handles and users, never ids.
    fn audit(&self, act: &str) {
        self.note(Level::Info, &format!("admin: {act}"));
    }

    fn note(&self, level: Level, what: &str) {
        let request = &self.request;
        let from = request.client_address().map_or_else(|| "-".to_owned(), |address| address.to_string());
        self.service.host.log(level, &format!("{what} from={from} request={}", request.request_id()));
    }

    /// What opens the session with this id.
    fn credentials<'c>(&self, id: &'c SessionId, user_id: Option<&'c str>) -> Credentials<'c> {
        Credentials { id, user_id, address: self.request.client_address() }
    }

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
        SessionId::read(&text).is_none_or(|cookie| cookie.handle() == id.handle())
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
