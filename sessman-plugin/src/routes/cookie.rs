//! The cookie of a session whose end was moved.

use std::time::{Duration, Instant};

use plugin_api::Response;
use sessman::id::SessionId;
use sessman::record::Record;

use super::exchange::Exchange;
use crate::cookie;

/// An answer that is later than this says nothing of the cookie: meanwhile a `rotate` may have been answered, whose new id it
/// would replace in the browser.
const LATE: Duration = Duration::from_millis(250);

/// Adds the cookie of a persistent session again, with its new end.
///
/// Only for an answer whose own write moved the end, to a request that came at `asked`: that write succeeds only while the id
/// is valid, so a request after a `rotate` sets no old id. Answers that overtake each other are the exception: two
/// connections of a browser have no order. So a late answer leaves the cookie to the next one. Never for a cross-site
/// request, whose page must not set cookies here.
pub(super) fn prolonged(
    exchange: &Exchange<'_, '_>,
    id: Option<&SessionId>,
    record: &Record,
    asked: Instant,
    response: Response,
) -> Response {
    match (&exchange.service.cookie, id) {
        (Some(cookie), Some(id))
            if cookie::is_persistent(cookie, record)
                && asked.elapsed() < LATE
                && !id.is_external()
                && !exchange.request.is_cross_site()
                && exchange.cookie_is(id, &cookie.name) =>
        {
            response.with_header("set-cookie", cookie::set(cookie, id, record, &exchange.request))
        }
        _ => response,
    }
}
