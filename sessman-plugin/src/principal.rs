//! Whose live session a request carries, for a guard or a reverse proxy that asks before somebody else answers.

use plugin_api::{Principal, Request, Secret};
use sessman::error::Error;
use sessman::sessions::Credentials;

use crate::presented::{Choice, Presented};
use crate::service::Service;

/// What a request carries.
pub(crate) enum Carried {
    /// The live session of a user.
    Session(Principal),
    /// None, or an anonymous one.
    Nothing,
    /// Cookies of several, so that it is nobody's.
    Several,
    /// A cookie that a page of another origin had the browser send with what may change something.
    OfOtherOrigin,
}

impl Carried {
    /// The user, if there is one who may act.
    pub(crate) fn principal(self) -> Option<Principal> {
        match self {
            Self::Session(principal) => Some(principal),
            Self::Nothing | Self::Several | Self::OfOtherOrigin => None,
        }
    }
}

/// What `request` carries.
///
/// # Errors
/// The store's.
pub(crate) async fn of(service: &Service, request: &Request<'_>) -> Result<Carried, Error> {
    let id = match Presented::carried(request, service.cookie_name()) {
        Presented::Explicit(Some(id)) => id,
        // A page of another origin must not act with a visitor's cookie.
        Presented::Cookie(_) if !is_safe(request.method()) && request.is_cross_site() => {
            return Ok(Carried::OfOtherOrigin);
        }
        Presented::Cookie(candidates) => match Box::pin(candidates.choose(service, request)).await? {
            Choice::One(id) => id,
            Choice::None => return Ok(Carried::Nothing),
            Choice::Several => return Ok(Carried::Several),
        },
        Presented::Explicit(None) | Presented::Nothing => return Ok(Carried::Nothing),
    };
    match service
        .sessions
        .get(Credentials { id: &id, user_id: None, address: request.client_address() })
        .await
    {
        Ok(record) => Ok(match &record.user_id {
            Some(user_id) => {
                Carried::Session(Principal { user_id: user_id.clone(), handle: record.handle.to_string() })
            }
            None => Carried::Nothing,
        }),
        Err(Error::NotFound) => {
            request.brought_wrong(Secret::SessionId);
            Ok(Carried::Nothing)
        }
        Err(error) => Err(error),
    }
}

/// Whether the method asks for nothing to be changed (RFC 9110, section 9.2.1).
fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}
