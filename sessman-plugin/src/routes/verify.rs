//! `verify`: tells a reverse proxy whose session the request has that it is about to pass on.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use plugin_api::Response;

use super::Exchange;
use crate::principal;
use crate::problem::Problem;

/// What a user's name keeps of itself in a header: the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let principal = principal::of(exchange.service, &exchange.request).await?;
    let principal =
        principal.ok_or_else(|| Problem::unauthorized("no live session of a user; log in first"))?;
    Ok(Response::new(200)
        .with_header("cache-control", "no-store")
        .with_header("x-session-user", utf8_percent_encode(&principal.user_id, ESCAPED).to_string())
        .with_header("x-session-handle", principal.handle))
}
