//! Parses a request's parameters: from the query, a JSON body, and for the id also from a header or the cookie.
//!
//! Each parameter is one line of the [`table`]: its names, its type, its parser, and its OpenAPI schema.

mod body;
#[cfg(test)]
mod growth;
mod input;
mod known;
mod members;
mod query;
mod schemas;
mod table;
mod values;

use std::borrow::Cow;

use plugin_api::Request;
use sessman::id::SessionId;

pub(crate) use self::body::Body;
pub(crate) use self::schemas::{Bounds, HANDLE, PAGE};
pub(crate) use self::table::{Name, Values};

use self::input::Input;
use crate::id_in_request::{IdInRequest, header_ids};
use crate::problem::Problem;

/// The parameters of a request.
#[derive(Debug)]
pub(crate) struct Parameters {
    pub(crate) session: IdInRequest,
    /// The parameters that were sent; the session id is in [`session`](Self::session).
    pub(crate) values: Values,
}

impl Parameters {
    /// Parses the parameters of a route that accepts those in `accepted`. Any other is rejected.
    pub(crate) fn read(
        request: &Request<'_>,
        body: Body,
        cookie_name: Option<&str>,
        accepted: &[Name],
        ids_in_urls: bool,
    ) -> Result<Self, Problem> {
        let mut values = body.0?;
        add_query(&mut values, request.query(), accepted, ids_in_urls)?;
        if accepted.contains(&Name::SessionId) {
            for text in header_ids(request) {
                // Bytes that are not text are not an id, either.
                values.put(Name::SessionId, Input::Text(String::from_utf8_lossy(text)))?;
            }
        }
        let session = match values.session_id.take() {
            Some(text) => IdInRequest::Explicit(SessionId::read(&text)),
            None => IdInRequest::in_cookie(request, cookie_name),
        };
        Ok(Self { session, values })
    }
}

/// The parameters among `names` that a request with this method accepts. The body of a PATCH is the change itself
/// (RFC 7396), so that no other parameter can be in it, and none that is JSON beside it.
pub(crate) fn accepted(names: &'static [Name], method: &str) -> Cow<'static, [Name]> {
    let beside_a_patch =
        |name: &Name| !matches!(name, Name::Data | Name::Mode | Name::Metadata | Name::Labels);
    match method {
        "PATCH" => names.iter().copied().filter(beside_a_patch).collect(),
        _ => names.into(),
    }
}

fn add_query(values: &mut Values, query: &str, accepted: &[Name], ids_in_urls: bool) -> Result<(), Problem> {
    query::pairs(query).try_for_each(|(name, value)| {
        let name = known::find(&name?, accepted)?;
        if !ids_in_urls && matches!(name, Name::SessionId | Name::ExternalId) {
            let detail = "does not go into a URL here (ids_in_urls is false); send it in the JSON body, or as X-Session-Id";
            return Err(Problem::malformed(format!("{}: {detail}", name.text())));
        }
        values.put(name, Input::Text(Cow::Owned(value?)))
    })
}
