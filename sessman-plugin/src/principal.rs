//! Whose live session a request carries, for a guard or a reverse proxy that asks before somebody else answers.

use plugin_api::{Principal, Request, Secret};
use sessman::error::Error;
use sessman::sessions::Credentials;

use crate::candidates::Choice;
use crate::id_in_request::IdInRequest;
use crate::service::Service;

/// Who a request is from.
pub(crate) enum Identity {
    /// A user, who has a live session.
    User(Principal),
    /// No live session, or an anonymous one.
    Nobody,
    /// Cookies of several live sessions, so that it cannot be told.
    Ambiguous,
    /// A cookie that a page of another origin had the browser send with what may change something.
    CrossSite,
}

impl Identity {
    /// The user, if there is one who may act.
    pub(crate) fn principal(self) -> Option<Principal> {
        match self {
            Self::User(principal) => Some(principal),
            Self::Nobody | Self::Ambiguous | Self::CrossSite => None,
        }
    }
}

/// Who `request` is from.
///
/// # Errors
/// The store's.
pub(crate) async fn of(service: &Service, request: &Request<'_>) -> Result<Identity, Error> {
    let id = match IdInRequest::carried(request, service.cookie_name()) {
        IdInRequest::Explicit(Some(id)) => id,
        // A page of another origin must not act with a visitor's cookie.
        IdInRequest::Cookie(_) if !is_safe(request.method()) && request.is_cross_site() => {
            return Ok(Identity::CrossSite);
        }
        IdInRequest::Cookie(candidates) => match Box::pin(candidates.choose(service, request)).await? {
            Choice::One(id) => id,
            Choice::None => return Ok(Identity::Nobody),
            Choice::Several => return Ok(Identity::Ambiguous),
        },
        IdInRequest::Explicit(None) | IdInRequest::Absent => return Ok(Identity::Nobody),
    };
    match service
        .sessions
        .get(Credentials { id: &id, user_id: None, address: request.client_address() })
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

/// Whether the method asks for nothing to be changed (RFC 9110, section 9.2.1).
fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}
