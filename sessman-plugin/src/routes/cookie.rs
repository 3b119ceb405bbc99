//! The cookie of a session whose end was moved.

use plugin_api::Response;
use sessman::id::SessionId;
use sessman::record::Record;

use super::exchange::Exchange;
use crate::cookie;

/// Adds the cookie of a persistent session again, with its new end.
///
/// Only for an answer whose own write moved the end: that write succeeds only while the id is valid, so that no later answer
/// sets an id that `rotate` has replaced. Never for a cross-site request, whose page must not set cookies here.
pub(super) fn prolonged(
    exchange: &Exchange<'_, '_>,
    id: &SessionId,
    record: &Record,
    response: Response,
) -> Response {
    match &exchange.service.cookie {
        Some(cookie)
            if cookie::is_persistent(cookie, record)
                && !id.is_external()
                && !exchange.request.is_cross_site()
                && exchange.cookie_is(id, &cookie.name) =>
        {
            response.with_header("set-cookie", cookie::set(cookie, id, record, &exchange.request))
        }
        _ => response,
    }
}
