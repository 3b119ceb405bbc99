//! The parameters with which a request changes a session's terms, metadata and labels.

use plugin_api::Caller;
use sessman::sessions::Amendment;

use super::exchange::Exchange;
use crate::parameters::{Name, Values};
use crate::problem::Problem;
use crate::problem_type::ProblemType;

/// What a route accepts that can set them.
pub(super) const NAMES: [Name; 5] =
    [Name::TtlSeconds, Name::IdleSeconds, Name::Persistent, Name::Metadata, Name::Labels];

/// What the request sets beside data and user.
///
/// # Errors
/// It sets something, and has a session's id alone: a visitor must not decide how long a session lasts.
pub(super) fn of(exchange: &Exchange<'_, '_>, values: &mut Values) -> Result<Amendment, Problem> {
    let amendment = Amendment {
        ttl: values.ttl.take(),
        idle: values.idle.take(),
        persistent: values.persistent.take(),
        metadata: values.metadata.take(),
        labels: values.labels.take(),
    };
    if exchange.request.caller() == Caller::Unkeyed && !amendment.is_empty() {
        return Err(Problem::unauthorized(
            ProblemType::KeyRequired,
            "ttl_seconds, idle_seconds, persistent, metadata and labels need the API key; send it as Authorization: Bearer",
        ));
    }
    Ok(amendment)
}
