//! `verify`: forward-auth. Tells a reverse proxy which user's session a request has, before it forwards the request.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use plugin_api::{Class, Request, Response};
use sessman::config::ClientAccess;

use sessman::config::VerifyKey;

use super::exchange::Exchange;
use super::session_ref::ambiguous;
use super::spec::{Returns, Spec};
use crate::principal::{self, Identity};
use crate::problem::Problem;
use crate::problem_type::ProblemType;

/// Characters of a user's name that are escaped in a header: all but the unreserved ones of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `verify`
pub(super) const ROUTE: Spec =
    Spec::new("verify", &["GET", "*"], Class::ForwardAuth, Returns::Principal, |exchange| {
        Box::pin(answer(exchange))
    })
    .described("Whose session the request carries, for a reverse proxy", &["verifySession"])
    .opened_by(ClientAccess::Read)
    .refuses(&[401, 403]);

/// The same at any path below it.
pub(super) const BELOW: Spec = ROUTE.also("verify/*").described(
    "As `verify`, for a proxy that puts the path of the request that it asks about behind it",
    &["verifySessionBelow"],
);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let request = &exchange.request;
    let principal = match principal::of(exchange.service, request).await? {
        Identity::User(principal) => principal,
        Identity::Nobody | Identity::Ambiguous
            if exchange.service.access.verify_preflight && is_preflight(request) =>
        {
            // Set explicitly, because some proxies keep the client's own header if the answer has none.
            let nobody = Response::new(200)
                .with_header("cache-control", "no-store")
                .with_header("x-session-user", "")
                .with_header("x-session-handle", "");
            return Ok(match &exchange.service.access.verify_key {
                Some(_) => nobody.with_header("x-session-signature", ""),
                None => nobody,
            });
        }
        Identity::Nobody => {
            return Err(Problem::unauthorized(
                ProblemType::NotLoggedIn,
                "no live session of a user; log in first",
            ));
        }
        Identity::Ambiguous => return Err(ambiguous()),
        Identity::CrossSite => {
            return Err(Problem::new(
                ProblemType::CrossSite,
                "a page of another origin may not use the session cookie; if it is one of this origin, let [proxy] trusted name \
                 the proxy that asks",
            ));
        }
    };
    let user = utf8_percent_encode(&principal.user_id, ESCAPED).to_string();
    let signature = exchange.service.access.verify_key.as_ref();
    let signature = signature.map(|key| signature_of(key, &user, &principal.handle));
    let response = Response::new(200)
        .with_header("cache-control", "no-store")
        .with_header("x-session-user", user)
        .with_header("x-session-handle", principal.handle);
    Ok(match signature {
        Some(signature) => response.with_header("x-session-signature", signature),
        None => response,
    })
}

/// `t=`, the Unix time of the signature in seconds, and `,v1=`, the HMAC of `time:user:handle` in hexadecimal digits.
/// No part contains a colon, so that text cannot be moved from one part to the next.
fn signature_of(key: &VerifyKey, user: &str, handle: &str) -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut text = format!("t={time},v1=");
    for byte in key.sign(&format!("{time}:{user}:{handle}")) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Whether this is a CORS preflight. Browsers send no cookie with it, and the actual request follows.
fn is_preflight(request: &Request<'_>) -> bool {
    request.method() == "OPTIONS"
        && request.header("origin").is_some()
        && request.header("access-control-request-method").is_some()
}
