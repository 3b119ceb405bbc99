//! The routes, one file each. A new one is a file and a line in [`ROUTES`].
//!
//! A route's file contains its [`Spec`], with its full description, and its handler, which gets an [`exchange`]: a
//! request together with the service. [`admission`] authorizes the caller, and [`session_ref`] identifies the session.

mod admission;
mod amendment;
mod cleanup;
mod clear;
mod cookie;
mod end;
mod end_sessions;
mod end_user;
mod events;
mod exchange;
mod filter;
mod get;
mod list;
mod mine;
mod mine_end;
mod new;
mod openapi;
mod rotate;
mod session_ref;
mod spec;
mod stats;
mod touch;
mod update;
mod validate;
mod verify;

use plugin_api::{Request, Response};
use sessman::config::AccessConfig;
use sessman::data::large::LARGE;

pub(crate) use self::spec::{Condition, Returns, Spec};

use self::exchange::Exchange;
use crate::parameters::Body;
use crate::problem::Problem;
use crate::problem_type::ProblemType;
use crate::service::Service;

/// Every route. `login`, `profile` and `logout` are other names for `new`, `get` and `end`.
pub(crate) static ROUTES: [Spec; 22] = [
    new::ROUTE,
    new::LOGIN,
    get::ROUTE,
    get::PROFILE,
    update::ROUTE,
    touch::ROUTE,
    validate::ROUTE,
    end::ROUTE,
    end::LOGOUT,
    verify::ROUTE,
    rotate::ROUTE,
    mine::ROUTE,
    mine_end::ROUTE,
    list::ROUTE,
    end_user::ROUTE,
    end_sessions::ROUTE,
    stats::ROUTE,
    cleanup::ROUTE,
    clear::ROUTE,
    events::ROUTE,
    openapi::route(|exchange| Box::pin(openapi::answer(exchange, &ROUTES))),
    // Last, because it is only registered if configured.
    verify::BELOW,
];

/// The routes that are registered with this configuration.
pub(crate) fn registered(access: &AccessConfig) -> &'static [Spec] {
    match access.verify_prefix {
        true => &ROUTES,
        false => &ROUTES[..ROUTES.len() - 1],
    }
}

/// Answers a request.
pub(crate) async fn answer(service: &Service, request: Request<'_>) -> Response {
    let Some(spec) = ROUTES.get(request.route()) else {
        return Problem::new(ProblemType::NoRoute, "no such route").into();
    };
    let mut exchange = Exchange::new(service, request, spec.accepts);
    if let Err(problem) = exchange.admit(spec) {
        return problem.into();
    }
    exchange.audit_call(spec);
    if exchange.request.body().len() >= LARGE && !spec.accepts.is_empty() {
        let reading = Body::read_apart(&exchange.request, exchange.accepted());
        exchange.body = Some(Box::new(Box::pin(reading).await));
    }
    (spec.handler)(exchange).await.unwrap_or_else(Response::from)
}

/// Answers a request, if that is possible without waiting.
pub(crate) fn answer_now(service: &Service, request: Request<'_>) -> Option<Response> {
    let spec = ROUTES.get(request.route())?;
    let handler = spec.immediate_handler.filter(|_| service.sessions.has_records_at_hand())?;
    let exchange = Exchange::new(service, request, spec.accepts);
    let answer = match exchange.admit(spec) {
        Ok(()) => handler(&exchange)?,
        Err(problem) => Err(problem),
    };
    Some(answer.unwrap_or_else(Response::from))
}
