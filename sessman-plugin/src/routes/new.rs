//! `new`: creates a session.

use std::net::IpAddr;

use plugin_api::{Caller, Class, Response};
use sessman::data::Data;
use sessman::labels::{LabelPatch, Labels};
use sessman::sessions::{NewSession, client_ip};

use super::exchange::Exchange;
use super::spec::{Returns, Spec};
use crate::parameters::Name;
use crate::problem::Problem;
use crate::{cookie, render};

/// Limit of a stored user agent, in characters.
const MAX_USER_AGENT: usize = 512;

/// `new`
pub(super) const ROUTE: Spec =
    Spec::new("new", &["POST"], Class::Service, Returns::NewSession, |exchange| Box::pin(answer(exchange)))
        .described("Begins a session", &["createSession"])
        .accepts(&[
            Name::UserId,
            Name::Data,
            Name::Metadata,
            Name::TtlSeconds,
            Name::IdleSeconds,
            Name::Persistent,
            Name::Labels,
            Name::ExternalId,
        ])
        .refuses(&[403, 409, 413, 422, 429]);

/// An alias.
pub(super) const LOGIN: Spec =
    ROUTE.also("login").described("Begins a session; another name of `new`", &["login"]);

async fn answer(exchange: Exchange<'_, '_>) -> Result<Response, Problem> {
    let new = asked(&exchange)?;
    let user_id = new.user_id.clone();
    let created = exchange.service.sessions.create(new).await;
    let (id, record) = created.inspect_err(|error| exchange.audit_refusal(error, user_id.as_deref()))?;
    let response = render::session(201, &record, Some(&id));
    Ok(match &exchange.service.cookie {
        // An id that the caller chose is passed to the client by the caller.
        Some(cookie) if !id.is_external() => {
            response.with_header("set-cookie", cookie::set(cookie, &id, &record, &exchange.request))
        }
        _ => response,
    })
}

/// Parses the initial values of the session.
fn asked(exchange: &Exchange<'_, '_>) -> Result<NewSession, Problem> {
    // Without a key, any page that a visitor of this machine opens could create an unlimited number of sessions.
    if exchange.service.cookie.is_some() || exchange.request.caller() == Caller::Open {
        exchange.refuse_cross_site()?;
    }
    let parameters = exchange.parameters()?;
    let given = parameters.values.metadata;
    Ok(NewSession {
        user_id: parameters.values.user_id,
        data: parameters.values.data.unwrap_or_else(Data::empty),
        address: address(exchange, given.as_ref()),
        metadata: metadata(exchange, given),
        ttl: parameters.values.ttl,
        idle: parameters.values.idle,
        persistent: parameters.values.persistent.unwrap_or(false),
        labels: labels(parameters.values.labels)?,
        id: parameters.values.external_id,
    })
}

/// The labels of a new session.
fn labels(given: Option<LabelPatch>) -> Result<Labels, Problem> {
    let labels = Labels::none().patched(&given.unwrap_or_default());
    labels.map_err(|error| Problem::malformed(format!("labels: {error}")))
}

/// The client's metadata: values from the caller, and otherwise those of the request.
fn metadata(exchange: &Exchange<'_, '_>, given: Option<Data>) -> Data {
    let client_ip = exchange.request.client_address().map(|address| ("client_ip", address.to_string()));
    let user_agent = exchange.request.header("user-agent").map(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        ("user_agent", text.chars().take(MAX_USER_AGENT).collect())
    });
    given.unwrap_or_else(Data::empty).with_texts(client_ip.into_iter().chain(user_agent))
}

/// The address whose share of `new_rate` is used; a caller with the key may name the address of its own client.
fn address(exchange: &Exchange<'_, '_>, given: Option<&Data>) -> Option<IpAddr> {
    let named = match exchange.request.caller() {
        Caller::Keyed => given.and_then(|metadata| client_ip(metadata).ok().flatten()),
        Caller::Open | Caller::Unkeyed => None,
    };
    named.or_else(|| exchange.request.client_address())
}
