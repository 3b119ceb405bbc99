//! The routes, one file each. A new one is a file and a line in [`ROUTES`].

mod cleanup;
mod clear;
mod end;
mod end_sessions;
mod end_user;
mod events;
mod get;
mod list;
mod mine;
mod mine_end;
mod new;
mod openapi;
mod rotate;
mod stats;
mod touch;
mod update;
mod validate;
mod verify;

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use plugin_api::{Caller, Class, Level, Request, Response, Route, Secret};
use sessman::config::{AccessConfig, ClientAccess};
use sessman::data::large::LARGE;
use sessman::error::Error;
use sessman::id::SessionId;
use sessman::sessions::Credentials;

use crate::cookie::header;
use crate::log::user;
use crate::parameters::{self, Body, Name, Parameters};
use crate::presented::{Choice, Presented};
use crate::problem::Problem;
use crate::service::Service;

/// A route's answer, while it is being made.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send + 'a>>;

/// A route's answer where nothing has to be waited for.
type Now = for<'e, 's, 'a> fn(&'e Exchange<'s, 'a>) -> Option<Result<Response, Problem>>;

/// A route, what answers it, and what its documentation says: one place, so that they cannot differ.
pub(crate) struct Spec {
    pub(crate) route: Route,
    /// With so much of `client_access` a live session's id opens it without a key.
    pub(crate) opened_by: Option<ClientAccess>,
    /// The parameters that it takes; any other is refused.
    pub(crate) accepts: &'static [Name],
    /// What it does, in one line.
    pub(crate) summary: &'static str,
    pub(crate) returns: Returns,
    /// Statuses of its problems besides those that every route of its class has.
    pub(crate) refusals: &'static [u16],
    answer: for<'s, 'a> fn(Exchange<'s, 'a>) -> Answer<'s>,
    /// For routes that are asked all the time.
    answer_now: Option<Now>,
}

/// What a route answers when all goes well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Returns {
    /// A session, with 201 where it has just begun.
    Session,
    NewSession,
    Validity,
    /// That the session ended.
    End,
    /// Nothing but headers.
    Principal,
    Page,
    /// Which sessions ended.
    Ended,
    Stats,
    Purged,
    Cleared,
    /// Server-sent events.
    Events,
    /// This description.
    OpenApi,
}

macro_rules! spec {
    (
        $path:literal, [$($method:literal),*], $class:ident $(($opened_by:ident))?, $answer:ident,
        [$($name:ident),*] -> $returns:ident, [$($refusal:literal),*], $summary:literal $(, $now:expr)?
    ) => {
        Spec {
            route: Route::new($path, &[$($method),*], Class::$class),
            opened_by: [$(Some(ClientAccess::$opened_by),)? None][0],
            accepts: &[$(Name::$name),*],
            summary: $summary,
            returns: Returns::$returns,
            refusals: &[$($refusal),*],
            answer: |exchange| Box::pin($answer::answer(exchange)),
            answer_now: [$(Some($now as Now),)? None][0],
        }
    };
}

/// Every route. `login`, `profile` and `logout` are other names for `new`, `get` and `end`.
#[rustfmt::skip]
pub(crate) static ROUTES: [Spec; 22] = [
    spec!("new", ["POST"], Service, new, [UserId, Data, Metadata, TtlSeconds, ExternalId] -> NewSession,
        [403, 409, 413, 422, 429], "Begins a session"),
    spec!("login", ["POST"], Service, new, [UserId, Data, Metadata, TtlSeconds, ExternalId] -> NewSession,
        [403, 409, 413, 422, 429], "Begins a session; another name of `new`"),
    spec!("get", ["GET", "POST"], Session(Read), get, [SessionId, UserId] -> Session,
        [401, 404], "The session", get::answer_now),
    spec!("profile", ["GET", "POST"], Session(Read), get, [SessionId, UserId] -> Session,
        [401, 404], "The session; another name of `get`", get::answer_now),
    spec!("update", ["POST", "PATCH"], Session(Write), update, [SessionId, UserId, Data, Mode] -> Session,
        [401, 403, 404, 409, 412, 413, 422, 428], "Changes the session's data"),
    spec!("touch", ["POST"], Session(Read), touch, [SessionId, UserId] -> Session,
        [401, 403, 404], "Lets the session's time to live begin again"),
    spec!("validate", ["GET", "POST"], Session(Read), validate, [SessionId, UserId] -> Validity,
        [401], "Whether the session lives"),
    spec!("end", ["POST", "DELETE"], Session(Read), end, [SessionId, UserId] -> End,
        [401, 403, 404], "Ends the session"),
    spec!("logout", ["POST", "DELETE"], Session(Read), end, [SessionId, UserId] -> End,
        [401, 403, 404], "Ends the session; another name of `end`"),
    spec!("verify", ["GET", "*"], ForwardAuth(Read), verify, [] -> Principal,
        [401, 403], "Whose session the request carries, for a reverse proxy"),
    // A login with it is for who has the key.
    spec!("rotate", ["POST"], Session(Read), rotate, [SessionId, UserId] -> Session,
        [401, 403, 404, 409], "Gives the session a new id; with user_id that user logs in"),
    spec!("mine", ["GET"], Session(Read), mine, [SessionId, UserId, Cursor, Limit] -> Page,
        [401, 404], "The sessions of the session's user"),
    spec!("mine/end", ["POST"], Session(Read), mine_end, [SessionId, UserId, Handle, Others] -> Ended,
        [401, 403, 404], "Ends one session of the session's user, or all others"),
    spec!("list", ["GET"], Admin, list, [UserId, Cursor, Limit] -> Page, [], "All sessions, or a user's"),
    spec!("end-user", ["POST"], Admin, end_user, [UserId] -> Ended, [], "Ends all sessions of a user"),
    spec!("end-sessions", ["POST"], Admin, end_sessions, [Handles] -> Ended, [], "Ends the sessions with these handles"),
    spec!("stats", ["GET"], Admin, stats, [] -> Stats, [], "How many sessions there are, and how old they are"),
    spec!("cleanup", ["POST"], Admin, cleanup, [] -> Purged, [], "Removes expired records now"),
    spec!("clear", ["POST"], Admin, clear, [Confirm] -> Cleared, [], "Ends every session"),
    spec!("events", ["GET"], Admin, events, [] -> Events, [], "What happens to sessions, as server-sent events"),
    spec!("openapi.json", ["GET"], Public, openapi, [] -> OpenApi, [], "This description"),
    // The last, as it is there only where it is configured.
    spec!("verify/*", ["GET", "*"], ForwardAuth(Read), verify, [] -> Principal,
        [401, 403], "As `verify`, for a proxy that puts the path of the request that it asks about behind it"),
];

/// Those that are there.
pub(crate) fn registered(access: &AccessConfig) -> &'static [Spec] {
    match access.verify_prefix {
        true => &ROUTES,
        false => &ROUTES[..ROUTES.len() - 1],
    }
}

/// A request and the service that answers it.
pub(crate) struct Exchange<'s, 'a: 's> {
    service: &'s Service,
    spec: &'static Spec,
    request: Request<'a>,
    /// What a large body says; others are read where somebody asks.
    body: Option<Box<Body>>,
}

/// Answers a request.
pub(crate) async fn answer(service: &Service, request: Request<'_>) -> Response {
    let Some(spec) = ROUTES.get(request.route()) else {
        return Problem::new(404, "no such route").into();
    };
    let mut exchange = Exchange { service, spec, request, body: None };
    if let Err(problem) = exchange.admit() {
        return problem.into();
    }
    if exchange.request.body().len() >= LARGE && !spec.accepts.is_empty() {
        let reading = Body::read_apart(&exchange.request, exchange.accepted());
        exchange.body = Some(Box::new(Box::pin(reading).await));
    }
    (spec.answer)(exchange).await.unwrap_or_else(Response::from)
}

/// Answers a request, if that can be done on the spot.
pub(crate) fn answer_now(service: &Service, request: Request<'_>) -> Option<Response> {
    let spec = ROUTES.get(request.route())?;
    let answer_now = spec.answer_now.filter(|_| service.sessions.has_records_at_hand())?;
    let exchange = Exchange { service, spec, request, body: None };
    let answer = match exchange.admit() {
        Ok(()) => answer_now(&exchange)?,
        Err(problem) => Err(problem),
    };
    Some(answer.unwrap_or_else(Response::from))
}

impl Exchange<'_, '_> {
    /// Whether the caller may ask at all. The host has asked for the key where the class is `Service`.
    fn admit(&self) -> Result<(), Problem> {
        let (access, spec) = (&self.service.access, self.spec);
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
        // One value: a request is one guess.
        let mut sent = self.request.header_all("x-admin-key");
        match (sent.next(), sent.next()) {
            (None, _) => return Err(Problem::not_admin()),
            (Some(key), None) if keys.accept(header::trim(key)) => return Ok(()),
            _ => {}
        }
        if !self.request.brought_wrong(Secret::AdminKey)
            && let Some(times) = self.service.wrong_admin_keys.is_due()
        {
            self.note(Level::Warn, &format!("a wrong X-Admin-Key was sent requests={times}"));
        }
        Err(Problem::not_admin())
    }

    /// Writes down what an administrator did: handles and users, never ids.
    fn audit(&self, act: &str) {
        self.note(Level::Info, &format!("admin: {act}"));
    }

    /// Writes down that a session was not begun, or nobody logged in with it, by a rule.
    fn audit_refusal(&self, error: &Error, user_id: Option<&str>) {
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

    fn note(&self, level: Level, what: &str) {
        let request = &self.request;
        let from = request.client_address().map_or_else(|| "-".to_owned(), |address| address.to_string());
        self.service.host.log(level, &format!("{what} from={from} request={}", request.request_id()));
    }

    /// What opens the session with this id.
    fn credentials<'c>(&self, id: &'c SessionId, user_id: Option<&'c str>) -> Credentials<'c> {
        Credentials { id, user_id, address: self.request.client_address() }
    }

    /// Why the session that was asked for is not there. Only who looked for one has missed it.
    fn missed(&self, found: Found, error: Error) -> Problem {
        if matches!(error, Error::NotFound) {
            self.request.brought_wrong(Secret::SessionId);
        }
        found.problem(error)
    }

    fn parameters(&self) -> Result<Parameters, Problem> {
        let accepted = self.accepted();
        let body = self.body.as_deref().cloned().unwrap_or_else(|| Body::read(&self.request, &accepted));
        let service = self.service;
        Parameters::read(&self.request, body, service.cookie_name(), &accepted, service.access.ids_in_urls)
    }

    fn accepted(&self) -> Cow<'static, [Name]> {
        parameters::accepted(self.spec.accepts, self.request.method())
    }

    /// The lines of a header as one list (RFC 9110, section 5.3). A condition that cannot be read is not none.
    fn list<'s>(&'s self, name: &'s str) -> Result<Option<Cow<'s, str>>, Problem> {
        let text = |line| {
            std::str::from_utf8(line).map_err(|_| Problem::malformed(format!("{name}: expected text")))
        };
        let mut lines = self.request.header_all(name).map(text);
        let Some(first) = lines.next().transpose()? else { return Ok(None) };
        lines
            .try_fold(Cow::Borrowed(first), |list, line| Ok(Cow::Owned(format!("{list}, {}", line?))))
            .map(Some)
    }

    /// The id that was presented, and how a session that it does not name is answered.
    async fn presented(&self, session: Presented) -> Result<(SessionId, Found), Problem> {
        match Self::presented_now(&session) {
            Some(presented) => presented,
            // Boxed, because few requests have several.
            None => Box::pin(self.chosen(session)).await,
        }
    }

    /// As [`presented`](Self::presented), if no session has to be looked at for it.
    fn presented_now(session: &Presented) -> Option<Result<(SessionId, Found), Problem>> {
        match session {
            Presented::Explicit(id) => Some(Found::Explicit.or_nobody(id.clone())),
            Presented::Cookie(candidates) => candidates.choose_now().map(Found::chosen),
            Presented::Nothing => Some(Err(Found::nowhere())),
        }
    }

    async fn chosen(&self, session: Presented) -> Result<(SessionId, Found), Problem> {
        match session {
            Presented::Cookie(candidates) => {
                Found::chosen(candidates.choose(self.service, &self.request).await?)
            }
            Presented::Explicit(_) | Presented::Nothing => Found::chosen(Choice::None),
        }
    }

    /// As [`presented`](Self::presented), for a write: one that rides on a cookie must come from a page of ours.
    async fn presented_for_write(&self, session: Presented) -> Result<(SessionId, Found), Problem> {
        match self.presented_for_write_now(&session)? {
            Some(presented) => Ok(presented),
            None => Box::pin(self.chosen(session)).await,
        }
    }

    /// As [`presented_for_write`](Self::presented_for_write), if no session has to be looked at for it.
    fn presented_for_write_now(&self, session: &Presented) -> Result<Option<(SessionId, Found)>, Problem> {
        if matches!(session, Presented::Cookie(_)) {
            self.refuse_cross_site()?;
        }
        Self::presented_now(session).transpose()
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

    /// Whether the request's cookies name this session, or no session at all.
    fn cookie_may_be(&self, id: &SessionId, name: &str) -> bool {
        let Presented::Cookie(cookies) = Presented::in_cookie(&self.request, Some(name)) else { return true };
        cookies.ids().is_empty() || cookies.ids().iter().any(|cookie| cookie.handle() == id.handle())
    }
}

/// Where the id of a session was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Explicit,
    Cookie,
}

impl Found {
    /// The id, if there is one that a session can have.
    fn or_nobody(self, id: Option<SessionId>) -> Result<(SessionId, Self), Problem> {
        id.map(|id| (id, self)).ok_or_else(|| self.problem(Error::NotFound))
    }

    /// What is answered where no id was sent.
    fn nowhere() -> Problem {
        Problem::unauthorized("no session id; send it as session_id, as X-Session-Id or in the cookie")
    }

    fn chosen(choice: Choice) -> Result<(SessionId, Self), Problem> {
        match choice {
            Choice::One(id) => Ok((id, Self::Cookie)),
            Choice::None => Self::Cookie.or_nobody(None),
            Choice::Several => Err(Self::several()),
        }
    }

    /// What is answered where the cookies do not say whose request it is.
    fn several() -> Problem {
        Problem::unauthorized(
            "the cookies name more than one session, so nobody is logged in; log out, and log in again",
        )
    }

    /// A session id that was given and names nothing is a 404; a cookie that names nothing is nobody logged in.
    fn problem(self, error: Error) -> Problem {
        match (self, error) {
            (Self::Cookie, Error::NotFound) => Problem::unauthorized("the session has ended; log in again"),
            (_, error) => error.into(),
        }
    }
}
