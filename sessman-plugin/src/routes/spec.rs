//! What is said of a route, in one place: what answers it, and what its description says.

use std::future::Future;
use std::pin::Pin;

use plugin_api::{Class, Response, Route};
use sessman::config::ClientAccess;

use super::exchange::Exchange;
use crate::parameters::Name;
use crate::problem::Problem;

/// A route's answer, while it is being made.
pub(super) type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send + 'a>>;

/// What answers a route.
pub(super) type Handler = for<'s, 'a> fn(Exchange<'s, 'a>) -> Answer<'s>;

/// What answers a route where nothing has to be waited for.
type ImmediateHandler = for<'e, 's, 'a> fn(&'e Exchange<'s, 'a>) -> Option<Result<Response, Problem>>;

/// A route. `Spec::new` and what follows it are called in constants: one for each route, in its file.
pub(crate) struct Spec {
    pub(crate) route: Route,
    /// What its methods are called in the description, in their order. `*` has no name.
    pub(crate) operations: &'static [&'static str],
    /// What it does, in one line.
    pub(crate) summary: &'static str,
    /// With so much of `client_access` a live session's id opens it without a key.
    pub(crate) opened_by: Option<ClientAccess>,
    /// The parameters that it takes; any other is refused.
    pub(crate) accepts: &'static [Name],
    /// Those of them without which a request is malformed.
    pub(crate) requires: &'static [Name],
    /// Those of them of which a request has exactly one.
    pub(crate) one_of: &'static [Name],
    /// The condition that a request may have.
    pub(crate) condition: Option<Condition>,
    pub(crate) returns: Returns,
    /// Statuses of its problems besides those that every route of its class has.
    pub(crate) refusals: &'static [u16],
    pub(super) handler: Handler,
    /// For routes that are asked all the time.
    pub(super) immediate_handler: Option<ImmediateHandler>,
}

/// A condition of RFC 9110.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    IfMatch,
    IfNoneMatch,
}

/// What a route answers when all goes well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Returns {
    /// A session, with 201 where it has just begun.
    Session,
    NewSession,
    Validity,
    /// That the session ended.
    End,
    /// Nothing but headers.
    Principal,
    Page,
    /// Which sessions ended.
    Ended,
    Stats,
    Purged,
    Cleared,
    /// Server-sent events.
    Events,
    /// This description.
    OpenApi,
}

impl Spec {
    /// A route that takes no parameters.
    pub(super) const fn new(
        path: &'static str,
        methods: &'static [&'static str],
        class: Class,
        returns: Returns,
        handler: Handler,
    ) -> Self {
        Self {
            route: Route::new(path, methods, class),
            operations: &[],
            summary: "",
            opened_by: None,
            accepts: &[],
            requires: &[],
            one_of: &[],
            condition: None,
            returns,
            refusals: &[],
            handler,
            immediate_handler: None,
        }
    }

    /// The same route under another path.
    pub(super) const fn also(self, path: &'static str) -> Self {
        Self { route: Route::new(path, self.route.methods, self.route.class), ..self }
    }

    /// What it does, and what its methods are called.
    pub(super) const fn described(self, summary: &'static str, operations: &'static [&'static str]) -> Self {
        Self { summary, operations, ..self }
    }

    pub(super) const fn opened_by(self, access: ClientAccess) -> Self {
        Self { opened_by: Some(access), ..self }
    }

    pub(super) const fn accepts(self, accepts: &'static [Name]) -> Self {
        Self { accepts, ..self }
    }

    pub(super) const fn requires(self, requires: &'static [Name]) -> Self {
        Self { requires, ..self }
    }

    pub(super) const fn one_of(self, one_of: &'static [Name]) -> Self {
        Self { one_of, ..self }
    }

    pub(super) const fn on_condition(self, condition: Condition) -> Self {
        Self { condition: Some(condition), ..self }
    }

    pub(super) const fn refuses(self, refusals: &'static [u16]) -> Self {
        Self { refusals, ..self }
    }

    pub(super) const fn immediate(self, handler: ImmediateHandler) -> Self {
        Self { immediate_handler: Some(handler), ..self }
    }
}
