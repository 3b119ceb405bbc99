//! `new`: begins a session.

use plugin_api::Response;
use sessman::data::Data;
use sessman::sessions::NewSession;

use super::Exchange;
use crate::parameters::Name;
use crate::problem::Problem;
use crate::{cookie, render};

/// Characters of a user agent that are worth keeping.
const MAX_USER_AGENT: usize = 512;

pub(super) async fn answer(exchange: Exchange<'_>) -> Result<Response, Problem> {
    let cookie = exchange.service.cookie.as_ref();
    if cookie.is_some() {
        exchange.refuse_cross_site()?;
    }
    let parameters = exchange.parameters(&[Name::UserId, Name::Data, Name::Metadata, Name::TtlSeconds])?;
    let new = NewSession {
        user_id: parameters.user_id,
        data: parameters.data.unwrap_or_else(Data::empty),
        metadata: metadata(&exchange, parameters.metadata),
        ttl: parameters.ttl,
    };
    let (id, record) = exchange.service.sessions.create(new).await?;
    let response = render::session(201, &record, Some(&id));
    Ok(match cookie {
        Some(cookie) => response.with_header("set-cookie", cookie::set(cookie, &id, &exchange.request)),
        None => response,
    })
}

/// What is known of the client: what the caller says, and where it says nothing, what the request shows.
fn metadata(exchange: &Exchange<'_>, given: Option<Data>) -> Data {
    let client_ip = exchange.request.client_address().map(|address| ("client_ip", address.to_string()));
    let user_agent = exchange.header("user-agent").map(|text| text.chars().take(MAX_USER_AGENT).collect());
    let user_agent = user_agent.map(|text| ("user_agent", text));
    given.unwrap_or_else(Data::empty).with_texts(client_ip.into_iter().chain(user_agent))
}
