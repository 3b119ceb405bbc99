//! The definition of a route: its handler, and its description.

use std::future::Future;
use std::pin::Pin;

use plugin_api::{Class, Response, Route};
use sessman::config::ClientAccess;

use super::exchange::Exchange;
use crate::parameters::Name;
use crate::problem::Problem;

/// The future of a route's answer.
pub(super) type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send + 'a>>;

/// A route's handler.
pub(super) type Handler = for<'s, 'a> fn(Exchange<'s, 'a>) -> Answer<'s>;

/// A handler for answers that need no waiting.
type ImmediateHandler = for<'e, 's, 'a> fn(&'e Exchange<'s, 'a>) -> Option<Result<Response, Problem>>;

/// A route. `Spec::new` and its builder methods are called in constants: one for each route, in its file.
pub(crate) struct Spec {
    pub(crate) route: Route,
    /// The operation names of its methods in the description, in order. `*` has none.
    pub(crate) operations: &'static [&'static str],
    /// What it does, in one line.
    pub(crate) summary: &'static str,
    /// The level of `client_access` from which on a live session's id authorizes without a key.
    pub(crate) opened_by: Option<ClientAccess>,
    /// The accepted parameters; any other is rejected.
    pub(crate) accepts: &'static [Name],
    /// The required parameters.
    pub(crate) requires: &'static [Name],
    /// Parameters of which a request must have exactly one.
    pub(crate) one_of: &'static [Name],
    /// The conditional header that it supports.
    pub(crate) condition: Option<Condition>,
    pub(crate) returns: Returns,
    /// Statuses of its problems, in addition to those of every route of its class.
    pub(crate) refusals: &'static [u16],
    pub(super) handler: Handler,
    /// For frequently used routes.
    pub(super) immediate_handler: Option<ImmediateHandler>,
}

/// A conditional header of RFC 9110.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    IfMatch,
    IfNoneMatch,
}

/// The successful answer of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Returns {
    /// A session, with 201 if it was just created.
    Session,
    NewSession,
    Validity,
    /// Confirmation that the session ended.
    End,
    /// Only headers.
    Principal,
    Page,
    /// The sessions that ended.
    Ended,
    /// These, or what an end by filter would end.
    EndedOrPreview,
    Stats,
    Purged,
    Cleared,
    /// Server-sent events.
    Events,
    /// This description.
    OpenApi,
}

impl Spec {
    /// A route without parameters.
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

    /// The same route at another path.
    pub(super) const fn also(self, path: &'static str) -> Self {
        Self { route: Route::new(path, self.route.methods, self.route.class), ..self }
    }

    /// Sets the summary, and the operation names of its methods.
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

/// Two lists of parameters in one: for what several routes accept alike.
pub(super) const fn joined<const N: usize>(one: &[Name], other: &[Name]) -> [Name; N] {
    assert!(one.len() + other.len() == N, "all of both, and no other");
    let mut names = [Name::SessionId; N];
    let mut at = 0;
    while at < N {
        names[at] = if at < one.len() { one[at] } else { other[at - one.len()] };
        at += 1;
    }
    names
}
