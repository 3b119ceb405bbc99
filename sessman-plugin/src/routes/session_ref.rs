//! The session that a request refers to, and the source of its id.

use sessman::error::Error;
use sessman::id::SessionId;

use crate::candidates::Choice;
use crate::problem::Problem;
use crate::problem_type::ProblemType;

/// A session id and its source.
#[derive(Debug)]
pub(super) struct SessionRef {
    pub(super) id: SessionId,
    pub(super) source: Source,
}

/// The source of a session id in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// In a parameter or in `X-Session-Id`.
    Explicit,
    Cookie,
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

    fn new(id: Option<SessionId>, source: Source) -> Result<Self, Problem> {
        id.map(|id| Self { id, source }).ok_or_else(|| source.problem(Error::NotFound))
    }

    /// The id to show in an answer. A cookie is hidden from the page's scripts (HttpOnly), so a body must not reveal
    /// its id.
    pub(super) fn shown<'i>(&self, id: &'i SessionId) -> Option<&'i SessionId> {
        (self.source == Source::Explicit).then_some(id)
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
