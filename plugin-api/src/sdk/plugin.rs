//! The trait that a plugin implements.

use std::future::Future;

use crate::abi::plugin::{RawAuthentication, RawHealth};
use crate::extension::RawExtension;
use crate::{Host, Principal, Request, Response, Route};

/// A plugin: made from its configuration, started, asked, stopped.
///
/// Every call is guarded: one that panics answers 500 and the host lives. The futures are polled on the host's
/// threads, and no tokio runtime of the host is visible there: a plugin that needs one brings its own. A call that
/// blocks its thread holds up other requests.
///
/// ```
/// use plugin_api::{Class, Host, Plugin, Request, Response, Route};
///
/// struct Greeter { greeting: String }
///
/// impl Plugin for Greeter {
///     const NAME: &'static str = "greeter";
///     const VERSION: &'static str = "1.0.0";
///
///     fn prepare(host: Host) -> Result<Self, String> {
///         Ok(Self { greeting: format!("hello from {}", host.instance()) })
///     }
///
///     fn routes(&self) -> Vec<Route> {
///         vec![Route::new("", &["GET"], Class::Public)]
///     }
///
///     async fn handle(&self, _request: Request<'_>) -> Response {
///         Response::text(200, self.greeting.clone())
///     }
/// }
/// ```
pub trait Plugin: Sized + Send + Sync + 'static {
    /// The name that configuration uses.
    const NAME: &'static str;
    /// The plugin's own version, for people; usually `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;

    /// Makes an instance and checks its configuration. It takes no lock, opens no file and reaches no server: it
    /// is also called only to see whether a configuration is good.
    ///
    /// # Errors
    /// What is wrong with the configuration and what to do, a line a problem, without values of secrets.
    fn prepare(host: Host) -> Result<Self, String>;

    /// The routes, the same at every call.
    fn routes(&self) -> Vec<Route>;

    /// Bits `abi::plugin::CAPABILITY_*`, the same at every call.
    fn capabilities(&self) -> u64 {
        0
    }

    /// Takes what it needs to serve: files, locks, connections, threads. A server that is away is no error: say so
    /// in [`health`](Self::health) and go on trying.
    fn activate(&self) -> impl Future<Output = Result<(), String>> + Send {
        async { Ok(()) }
    }

    /// Ends its streams, drains, and lets go of what is exclusive. It may be activated again.
    fn deactivate(&self) -> impl Future<Output = Result<(), String>> + Send {
        async { Ok(()) }
    }

    /// The last call before it is dropped.
    fn shutdown(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Whether [`handle_now`](Self::handle_now) has answers; without it nobody asks.
    const ANSWERS_NOW: bool = false;

    /// Answers a request on the spot, where nothing has to be waited for: it saves what a future costs, and must not block.
    /// `None` leaves the request to [`handle`](Self::handle), which must be able to answer every one.
    fn handle_now(&self, _request: Request<'_>) -> Option<Response> {
        None
    }

    /// Answers a request.
    fn handle(&self, request: Request<'_>) -> impl Future<Output = Response> + Send;

    /// Says whose live session the request carries. Only for plugins with `CAPABILITY_AUTHENTICATE`.
    ///
    /// # Errors
    /// It cannot be said now.
    fn authenticate(
        &self,
        _request: Request<'_>,
    ) -> impl Future<Output = Result<Option<Principal>, Unavailable>> + Send {
        async { Ok(None) }
    }

    /// Whether it can serve now. Answer within a second.
    fn health(&self) -> impl Future<Output = Health> + Send {
        async { Health::Ready }
    }

    /// Metrics in Prometheus text format.
    fn metrics(&self) -> impl Future<Output = String> + Send {
        async { String::new() }
    }

    /// An OpenAPI 3.1 document as JSON, with paths relative to the mount.
    fn openapi(&self) -> impl Future<Output = Option<String>> + Send {
        async { None }
    }

    /// An ability that version 1 of the ABI does not have; see [`crate::extension`].
    fn extension(&self, _id: &str, _version: u32) -> Option<RawExtension> {
        None
    }
}

/// It cannot be said now whether a session lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// How an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It can serve.
    Ready,
    /// It can serve some requests, and others not, for this reason: one line without secrets. It goes on being asked.
    ReadyInPart(String),
    /// It cannot, for this reason: one line without secrets.
    NotReady(String),
}

impl From<Health> for RawHealth {
    fn from(health: Health) -> Self {
        match health {
            Health::Ready => Self { ready: true, detail: Default::default() },
            Health::ReadyInPart(detail) => Self { ready: true, detail: detail.into() },
            Health::NotReady(detail) => Self { ready: false, detail: detail.into() },
        }
    }
}

impl From<Result<Option<Principal>, Unavailable>> for RawAuthentication {
    fn from(found: Result<Option<Principal>, Unavailable>) -> Self {
        let (outcome, principal) = match found {
            Ok(None) => (0, Principal::default()),
            Ok(Some(principal)) => (1, principal),
            Err(Unavailable) => (2, Principal::default()),
        };
        Self { outcome, user_id: principal.user_id.into(), handle: principal.handle.into() }
    }
}
