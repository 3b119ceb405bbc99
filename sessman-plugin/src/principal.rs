//! Whose live session a request carries, for a guard or a reverse proxy that asks before somebody else answers.

use plugin_api::{Principal, Request, Secret};
use sessman::error::Error;
use sessman::sessions::Credentials;

use crate::presented::{Choice, Presented};
use crate::service::Service;

/// The user of the live session that `request` carries; `None` where there is none, or an anonymous one.
///
/// # Errors
/// The store's.
pub(crate) async fn of(service: &Service, request: &Request<'_>) -> Result<Option<Principal>, Error> {
    let id = match Presented::carried(request, service.cookie_name()) {
        Presented::Explicit(Some(id)) => id,
        // A page of another origin must not act with a visitor's cookie.
        Presented::Cookie(candidates) if is_safe(request.method()) || !request.is_cross_site() => {
            match Box::pin(candidates.choose(service, request)).await? {
                Choice::One(id) => id,
                Choice::None | Choice::Several => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    match service
        .sessions
        .get(Credentials { id: &id, user_id: None, address: request.client_address() })
        .await
    {
        Ok(record) => Ok(record
            .user_id
            .as_ref()
            .map(|user_id| Principal { user_id: user_id.clone(), handle: record.handle.to_string() })),
        Err(Error::NotFound) => {
            request.brought_wrong(Secret::SessionId);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether the method asks for nothing to be changed (RFC 9110, section 9.2.1).
fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}
