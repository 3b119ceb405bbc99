//! Authenticates a request by its live session, for a session guard or for a reverse proxy (forward-auth).

use plugin_api::{Principal, Request, Secret};
use sessman::error::Error;
use sessman::sessions::{Credentials, Key};

use crate::candidates::Choice;
use crate::id_in_request::IdInRequest;
use crate::service::Service;

/// The identity of a request's sender.
pub(crate) enum Identity {
    /// A user with a live session.
    User(Principal),
    /// No live session, or an anonymous one.
    Nobody,
    /// Cookies of several live sessions, so that the user is ambiguous.
    Ambiguous,
    /// A cross-site request with a cookie and an unsafe method.
    CrossSite,
}

impl Identity {
    /// The authenticated user, if there is one.
    pub(crate) fn principal(self) -> Option<Principal> {
        match self {
            Self::User(principal) => Some(principal),
            Self::Nobody | Self::Ambiguous | Self::CrossSite => None,
        }
    }
}

/// Identifies the sender of `request`.
///
/// # Errors
/// Those of the store.
pub(crate) async fn of(service: &Service, request: &Request<'_>) -> Result<Identity, Error> {
    let id = match IdInRequest::carried(request, service.cookie_name()) {
        IdInRequest::Explicit(Some(id)) => id,
        // CSRF: a page of another origin must not act with a visitor's cookie.
        IdInRequest::Cookie(_) if !is_safe(request.method()) && request.is_cross_site() => {
            return Ok(Identity::CrossSite);
        }
        IdInRequest::Cookie(candidates) => match Box::pin(candidates.choose(service, request)).await? {
            Choice::One(id) => id,
            Choice::None => return Ok(Identity::Nobody),
            Choice::Several => return Ok(Identity::Ambiguous),
        },
        // No call of a plugin is answered here.
        IdInRequest::Explicit(None) | IdInRequest::Handle(_) | IdInRequest::Absent => {
            return Ok(Identity::Nobody);
        }
    };
    match service
        .sessions
        .get(Credentials { key: Key::Id(&id), user_id: None, address: request.client_address() })
        .await
    {
        Ok(record) => Ok(match &record.user_id {
            Some(user_id) => {
                Identity::User(Principal { user_id: user_id.clone(), handle: record.handle.to_string() })
            }
            None => Identity::Nobody,
        }),
        Err(Error::NotFound) => {
            request.brought_wrong(Secret::SessionId);
            Ok(Identity::Nobody)
        }
        Err(error) => Err(error),
    }
}

/// Whether the method is safe, so that it changes nothing (RFC 9110, section 9.2.1).
fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}
