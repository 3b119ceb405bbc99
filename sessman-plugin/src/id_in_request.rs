//! The session id in a request.

use plugin_api::Request;
use sessman::id::SessionId;

use crate::candidates::{Candidates, read};
use crate::cookie::header;

/// The session id in a request, by where it stands.
#[derive(Debug, Clone)]
pub(crate) enum IdInRequest {
    /// As a parameter or in `X-Session-Id`; `None` if no session can have it.
    Explicit(Option<SessionId>),
    /// In cookies.
    Cookie(Candidates),
    /// Nowhere.
    Absent,
}

impl IdInRequest {
    /// The id that a request carries besides what it says: in `X-Session-Id` or the cookie. Query and body of a request
    /// that somebody else answers are not ours to read.
    pub(crate) fn carried(request: &Request<'_>, cookie_name: Option<&str>) -> Self {
        let mut texts = header_ids(request);
        match (texts.next(), texts.next()) {
            (None, _) => Self::in_cookie(request, cookie_name),
            (Some(text), None) => Self::explicit(text),
            (Some(text), Some(second)) if text == second && texts.all(|other| other == text) => {
                Self::explicit(text)
            }
            // One value a place: several would be as many guesses.
            _ => Self::Explicit(None),
        }
    }

    fn explicit(text: &[u8]) -> Self {
        Self::Explicit(read(text))
    }

    /// What the cookies of this name come to.
    pub(crate) fn in_cookie(request: &Request<'_>, cookie_name: Option<&str>) -> Self {
        let found = cookie_name.and_then(|name| Candidates::of(request, name));
        found.map_or(Self::Absent, Self::Cookie)
    }
}

/// Each value of `X-Session-Id`.
pub(crate) fn header_ids<'r>(request: &'r Request<'_>) -> impl Iterator<Item = &'r [u8]> {
    request.header_all("x-session-id").map(header::trim)
}
