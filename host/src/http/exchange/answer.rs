//! An answer, and who gave it.

use hyper::Response;

use crate::http::control::metrics::RouteMetrics;
use crate::http::control::snapshot::{Snapshot, Target};
use crate::http::message::response::AnswerBody;

/// An answer, and for the log who gave it.
pub(super) struct Answer {
    pub(super) response: Response<AnswerBody>,
    pub(super) responder: Responder,
}

/// Who gave an answer.
#[derive(Clone, Copy)]
pub(super) enum Responder {
    /// The host, before anything else was known.
    Host,
    /// A route of the host's own.
    Control(&'static str),
    /// A route of an instance, or the host in its place.
    Route(Target),
}

impl Responder {
    /// Instance and route, this as it was registered, never as the client wrote it: that may hold an id or a key.
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

    /// Whether it is a route that reads no body.
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
    /// The host's own, before anything else was known.
    pub(super) fn of_host(response: Response<AnswerBody>) -> Self {
        Self { response, responder: Responder::Host }
    }
}
