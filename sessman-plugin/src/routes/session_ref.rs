//! The session that a request refers to, and the source of its id.

use sessman::error::Error;
use sessman::id::{Handle, SessionId};
use sessman::sessions::Key;

use crate::candidates::Choice;
use crate::problem::Problem;
use crate::problem_type::ProblemType;

/// A session that a request names, and where it does.
#[derive(Debug)]
pub(super) struct SessionRef {
    name: SessionName,
    pub(super) source: Source,
}

#[derive(Debug)]
enum SessionName {
    Id(SessionId),
    Handle(Handle),
}

/// Where a request names a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// In a parameter or in `X-Session-Id`.
    Explicit,
    Cookie,
    /// In the call of another plugin, by the session's handle.
    Handle,
}

impl SessionRef {
    /// An id from a parameter or header; `None` if it is not well-formed.
    pub(super) fn explicit(id: Option<SessionId>) -> Result<Self, Problem> {
        Self::new(id, Source::Explicit)
    }

    /// The choice among the ids in cookies.
    pub(super) fn of_cookies(choice: Choice) -> Result<Self, Problem> {
        match choice {
            Choice::One(id) => Self::new(Some(id), Source::Cookie),
            Choice::None => Self::new(None, Source::Cookie),
            Choice::Several => Err(ambiguous()),
        }
    }

    /// The session that the call of another plugin is about.
    pub(super) fn of_handle(handle: Handle) -> Self {
        Self { name: SessionName::Handle(handle), source: Source::Handle }
    }

    fn new(id: Option<SessionId>, source: Source) -> Result<Self, Problem> {
        id.map(|id| Self { name: SessionName::Id(id), source }).ok_or_else(|| source.problem(Error::NotFound))
    }

    /// What names it to the engine.
    pub(super) fn key(&self) -> Key<'_> {
        match &self.name {
            SessionName::Id(id) => Key::Id(id),
            SessionName::Handle(handle) => Key::Handle(*handle),
        }
    }

    pub(super) fn handle(&self) -> Handle {
        self.key().handle()
    }

    /// Its id, if the request has it.
    pub(super) fn id(&self) -> Option<&SessionId> {
        match &self.name {
            SessionName::Id(id) => Some(id),
            SessionName::Handle(_) => None,
        }
    }

    /// Whether the request has an id that an application chose.
    pub(super) fn is_external(&self) -> bool {
        self.id().is_some_and(SessionId::is_external)
    }

    /// Its id, if an answer may show it.
    pub(super) fn shown(&self) -> Option<&SessionId> {
        self.id().filter(|_| self.may_show_ids())
    }

    /// Whether an answer may show the session's id. A cookie is hidden from the page's scripts (HttpOnly), so a body
    /// must not reveal its id.
    pub(super) fn may_show_ids(&self) -> bool {
        self.source != Source::Cookie
    }
}

impl Source {
    /// An explicit id without a session is a 404; a cookie without a session means that nobody is logged in.
    pub(super) fn problem(self, error: Error) -> Problem {
        match (self, error) {
            (Self::Cookie, Error::NotFound) => {
                Problem::unauthorized(ProblemType::SessionEnded, "the session has ended; log in again")
            }
            (_, error) => error.into(),
        }
    }
}

/// The problem if no id was sent.
pub(super) fn absent() -> Problem {
    Problem::unauthorized(
        ProblemType::NoSessionId,
        "no session id; send it as session_id, as X-Session-Id or in the cookie",
    )
}

/// The problem if the cookies are ambiguous.
pub(super) fn ambiguous() -> Problem {
    Problem::unauthorized(
        ProblemType::AmbiguousCookies,
        "the cookies name more than one session, so nobody is logged in; log out, and log in again",
    )
}
