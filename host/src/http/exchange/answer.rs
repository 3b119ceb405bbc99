//! An answer and its source.

use hyper::Response;

use crate::http::control::metrics::RouteMetrics;
use crate::http::control::snapshot::{Snapshot, Target};
use crate::http::message::response::AnswerBody;

/// An answer, with its source for the log.
pub(super) struct Answer {
    pub(super) response: Response<AnswerBody>,
    pub(super) responder: Responder,
}

/// The source of an answer.
#[derive(Clone, Copy)]
pub(super) enum Responder {
    /// The host, before the request was matched to a route.
    Host,
    /// One of the host's own routes.
    Control(&'static str),
    /// A route of an instance; the answer is the instance's, or the host's on its behalf.
    Route(Target),
}

impl Responder {
    /// Instance and route. The route is given as registered, never as the client wrote it: a client's path may hold an
    /// id or a key.
    pub(super) fn names(self, snapshot: &Snapshot) -> (&str, &str) {
        match self {
            Self::Host => ("-", "-"),
            Self::Control(route) => ("-", route),
            Self::Route(target) => match snapshot.target(target) {
                Some((mount, route)) => (&mount.instance.name, &route.path),
                None => ("-", "-"),
            },
        }
    }

    /// Whether the route ignores request bodies.
    pub(super) fn ignores_bodies(self, snapshot: &Snapshot) -> bool {
        let Self::Route(target) = self else { return false };
        snapshot.target(target).is_some_and(|(_, route)| route.ignores_bodies())
    }

    /// The counters of an instance's route.
    pub(super) fn counters(self, snapshot: &Snapshot) -> Option<&RouteMetrics> {
        match self {
            Self::Route(target) => snapshot.counters(target),
            Self::Host | Self::Control(_) => None,
        }
    }
}

impl Answer {
    /// An answer of the host, before the request was matched to a route.
    pub(super) fn of_host(response: Response<AnswerBody>) -> Self {
        Self { response, responder: Responder::Host }
    }
}
