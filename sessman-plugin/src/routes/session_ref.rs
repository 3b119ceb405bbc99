//! The session that a request is about, and how it was named.

use sessman::error::Error;
use sessman::id::SessionId;

use crate::candidates::Choice;
use crate::problem::Problem;
use crate::problem_type::ProblemType;

/// An id of a session, and where the request has it.
#[derive(Debug)]
pub(super) struct SessionRef {
    pub(super) id: SessionId,
    pub(super) source: Source,
}

/// Where the id of a session stands in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// In a parameter or in `X-Session-Id`.
    Explicit,
    Cookie,
}

impl SessionRef {
    /// An id that was given as such; `None` if no session can have it.
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

    /// The id that an answer may show beside the session. A cookie is hidden from the page's scripts; a body must not
    /// give it away.
    pub(super) fn shown<'i>(&self, id: &'i SessionId) -> Option<&'i SessionId> {
        (self.source == Source::Explicit).then_some(id)
    }
}

impl Source {
    /// A session id that was given and names nothing is a 404; a cookie that names nothing is nobody logged in.
    pub(super) fn problem(self, error: Error) -> Problem {
        match (self, error) {
            (Self::Cookie, Error::NotFound) => {
                Problem::unauthorized(ProblemType::SessionEnded, "the session has ended; log in again")
            }
            (_, error) => error.into(),
        }
    }
}

/// What is answered where no id was sent.
pub(super) fn absent() -> Problem {
    Problem::unauthorized(
        ProblemType::NoSessionId,
        "no session id; send it as session_id, as X-Session-Id or in the cookie",
    )
}

/// What is answered where the cookies do not say whose request it is.
pub(super) fn ambiguous() -> Problem {
    Problem::unauthorized(
        ProblemType::AmbiguousCookies,
        "the cookies name more than one session, so nobody is logged in; log out, and log in again",
    )
}
