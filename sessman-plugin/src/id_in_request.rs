//! The session id in a request.

use plugin_api::Request;
use sessman::id::{Handle, SessionId};

use crate::candidates::{Candidates, read};
use crate::cookie::header;

/// The session id in a request, by its source.
#[derive(Debug, Clone)]
pub(crate) enum IdInRequest {
    /// In a parameter or in `X-Session-Id`; `None` if it is not a well-formed id.
    Explicit(Option<SessionId>),
    /// In cookies.
    Cookie(Candidates),
    /// There is no id: another plugin calls, and names the session by its handle.
    Handle(Handle),
    /// There is none.
    Absent,
}

impl IdInRequest {
    /// The id in `X-Session-Id` or the cookie. Used for requests that are answered elsewhere, whose query and body
    /// must not be parsed here.
    pub(crate) fn carried(request: &Request<'_>, cookie_name: Option<&str>) -> Self {
        let mut texts = header_ids(request);
        match (texts.next(), texts.next()) {
            (None, _) => Self::in_cookie(request, cookie_name),
            (Some(text), None) => Self::explicit(text),
            (Some(text), Some(second)) if text == second && texts.all(|other| other == text) => {
                Self::explicit(text)
            }
            // Only a single value: several would be as many guesses.
            _ => Self::Explicit(None),
        }
    }

    fn explicit(text: &[u8]) -> Self {
        Self::Explicit(read(text))
    }

    /// The ids in cookies of this name.
    pub(crate) fn in_cookie(request: &Request<'_>, cookie_name: Option<&str>) -> Self {
        let found = cookie_name.and_then(|name| Candidates::of(request, name));
        found.map_or(Self::Absent, Self::Cookie)
    }
}

/// All values of `X-Session-Id`.
pub(crate) fn header_ids<'r>(request: &'r Request<'_>) -> impl Iterator<Item = &'r [u8]> {
    request.header_all("x-session-id").map(header::trim)
}
