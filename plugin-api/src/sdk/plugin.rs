//! The trait that a plugin implements.

use std::future::Future;

use crate::abi::plugin::{RawAuthentication, RawHealth};
use crate::extension::RawExtension;
use crate::{Host, Principal, Request, Response, Route};

/// A plugin. Life cycle: created from its configuration, activated, called for requests, deactivated, shut down.
///
/// Every call is guarded: one that panics is answered with 500, and the host survives. The futures are polled on the
/// host's threads. No tokio runtime of the host is available there: a plugin that needs one creates its own. A call
/// that blocks its thread delays other requests.
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

    /// Makes an instance and validates its configuration. It takes no lock, opens no file and connects to no server:
    /// it is also called just to validate a configuration.
    ///
    /// # Errors
    /// What is wrong with the configuration and how to fix it: one line per problem, without the values of secrets.
    fn prepare(host: Host) -> Result<Self, String>;

    /// The routes, the same in every call.
    fn routes(&self) -> Vec<Route>;

    /// Bits `abi::plugin::CAPABILITY_*`, the same in every call.
    fn capabilities(&self) -> u64 {
        0
    }

    /// Acquires what it needs to serve: files, locks, connections, threads. An unreachable server is not an error:
    /// report it in [`health`](Self::health) and keep retrying.
    fn activate(&self) -> impl Future<Output = Result<(), String>> + Send {
        async { Ok(()) }
    }

    /// Ends its streams, drains, and releases exclusive resources. It may be activated again.
    fn deactivate(&self) -> impl Future<Output = Result<(), String>> + Send {
        async { Ok(()) }
    }

    /// The last call before the instance is dropped.
    fn shutdown(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Whether [`handle_now`](Self::handle_now) may return answers; if false, it is never called.
    const ANSWERS_NOW: bool = false;

    /// Answers a request synchronously, where the answer is available without waiting. This saves the cost of a
    /// future. It must not block. `None` leaves the request to [`handle`](Self::handle), which must be able to answer
    /// every request.
    fn handle_now(&self, _request: Request<'_>) -> Option<Response> {
        None
    }

    /// Answers a request.
    fn handle(&self, request: Request<'_>) -> impl Future<Output = Response> + Send;

    /// Returns the user of the live session that the request carries. Only for plugins with `CAPABILITY_AUTHENTICATE`.
    ///
    /// # Errors
    /// The session could not be checked, for example because the store is unreachable.
    fn authenticate(
        &self,
        _request: Request<'_>,
    ) -> impl Future<Output = Result<Option<Principal>, Unavailable>> + Send {
        async { Ok(None) }
    }

    /// Whether it can serve now. The call should return within one second.
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

/// Whether a session is live could not be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// The health of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It can serve.
    Ready,
    /// It can serve some requests but not others, for this reason: one line without secrets. It still gets requests.
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
