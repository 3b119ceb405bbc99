//! `new`: begins a session.

use plugin_api::Response;
use serde_json::{Map, Value};
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
        metadata: metadata(&exchange, parameters.metadata)?,
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
fn metadata(exchange: &Exchange<'_>, given: Option<Data>) -> Result<Data, Problem> {
    let mut members = match given.map(|data| data.to_value()) {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    if let Some(address) = exchange.request.client_address()
        && !members.contains_key("client_ip")
    {
        members.insert("client_ip".to_owned(), address.to_string().into());
    }
    if let Some(user_agent) = exchange.header("user-agent")
        && !members.contains_key("user_agent")
    {
        let user_agent: String = user_agent.chars().take(MAX_USER_AGENT).collect();
        members.insert("user_agent".to_owned(), user_agent.into());
    }
    Data::from_value(&Value::Object(members))
        .map_err(|error| Problem::from(sessman::error::Error::from(error)))
}
