//! One instance of a plugin: its name, its mount, who may call it, its routes.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use abi_stable::std_types::{RResult, RString};
use async_ffi::BorrowingFfiFuture;
use plugin_api::Class;
use plugin_api::abi::plugin::{RawHealth, RawPluginBox};
use plugin_api::abi::request::RawRequestRef;
use plugin_api::abi::response::RawResponse;
use plugin_api::guard::{GuardedFuture, guard};

use super::LoadError;
use super::library::Library;
use super::services::Services;
use crate::config::InstanceConfig;
use crate::http::access::Access;
use crate::http::router;

/// For `activate`: it opens files, but does not wait for servers.
const ACTIVATE_LIMIT: Duration = Duration::from_secs(30);
/// For `health`.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);

/// One instance of a plugin.
pub(crate) struct Instance {
    pub(crate) name: String,
    /// The plugin's name.
    pub(crate) plugin: String,
    /// The plugin's version.
    pub(crate) version: String,
    /// Begins with `/`, does not end with it; empty is the root.
    pub(crate) mount: String,
    pub(crate) access: Access,
    pub(crate) routes: Vec<Route>,
    /// Requests that reached the plugin.
    pub(crate) requests: AtomicU64,
    state: AtomicU8,
    raw: RawPluginBox,
}

/// One route of an instance.
#[derive(Debug)]
pub(crate) struct Route {
    /// The full path; `*` at its end stands for anything.
    pub(crate) path: String,
    pub(crate) methods: Vec<String>,
    pub(crate) class: Class,
    /// What `Allow` says.
    pub(crate) allow: String,
}

impl Route {
    fn new(mount: &str, path: &str, methods: Vec<String>, class: Class) -> Self {
        let mut allowed: Vec<&str> = methods.iter().map(String::as_str).collect();
        for (with, comes) in [(Some("GET"), "HEAD"), (None, "OPTIONS")] {
            if with.is_none_or(|with| allowed.contains(&with)) && !allowed.contains(&comes) {
                allowed.push(comes);
            }
        }
        let allow = allowed.join(", ");
        Self { path: router::join(mount, path), methods, class, allow }
    }
}

/// Where in its life an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Prepared, not active.
    Prepared = 0,
    /// It serves.
    Ready = 1,
    /// It could not be activated.
    Failed = 2,
    /// It is being stopped.
    Draining = 3,
}

impl State {
    /// As `/plugins` says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Prepared => "loading",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Draining => "draining",
        }
    }
}

impl Instance {
    /// Prepares an instance of `library`.
    pub(crate) fn prepare(
        library: &Library,
        config: &InstanceConfig,
        access: Access,
        state_folder: &str,
    ) -> Result<Self, LoadError> {
        let services = Services {
            instance: config.name.clone(),
            parameters: config.parameters.clone(),
            state_folder: state_folder.to_owned(),
        };
        let raw = library.prepare(services.into_raw())?;
        let routes = routes(&raw, &config.mount)?;
        Ok(Self {
            name: config.name.clone(),
            plugin: library.name.clone(),
            version: library.version.clone(),
            mount: config.mount.clone(),
            access,
            routes,
            requests: AtomicU64::new(0),
            state: AtomicU8::new(State::Prepared as u8),
            raw,
        })
    }

    /// Where in its life it is.
    pub(crate) fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Prepared,
            1 => State::Ready,
            3 => State::Draining,
            _ => State::Failed,
        }
    }

    fn enter(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// Takes what it needs to serve. An instance that cannot is in [`State::Failed`] then.
    pub(crate) async fn activate(&self) -> Result<(), LoadError> {
        let activated = call(|| self.raw.activate(), ACTIVATE_LIMIT).await;
        self.enter(if activated.is_ok() { State::Ready } else { State::Failed });
        activated.map_err(|message| LoadError::Refused(format!("it cannot be activated: {message}")))
    }

    /// Ends its streams, drains, lets go of what is exclusive; then it is shut down. Within `limit` each.
    pub(crate) async fn stop(&self, limit: Duration) -> Result<(), String> {
        let was = self.state();
        self.enter(State::Draining);
        let deactivated =
            if was == State::Ready { call(|| self.raw.deactivate(), limit).await } else { Ok(()) };
        let down = call(|| self.raw.shutdown(), limit).await;
        deactivated.and(down)
    }

    /// Whether it can serve now, and why not.
    pub(crate) async fn health(&self) -> Result<(), String> {
        if self.state() != State::Ready {
            return Err(format!("it is {}", self.state().name()));
        }
        match call(|| self.raw.health(), HEALTH_LIMIT).await? {
            RawHealth { ready: true, .. } => Ok(()),
            RawHealth { detail, .. } => Err(detail.into_string()),
        }
    }

    /// Answers a request. The error is a panic of the plugin, in one line.
    pub(crate) async fn handle<'a>(&'a self, request: RawRequestRef<'a>) -> Result<RawResponse, String> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let future = guard(|| self.raw.handle(request)).map_err(|panic| panic.to_string())?;
        match GuardedFuture::new(future).await {
            Ok(RResult::ROk(response)) => Ok(response),
            Ok(RResult::RErr(message)) => Err(message.into_string()),
            Err(panic) => Err(panic.to_string()),
        }
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Instance({} of {}, {})", self.name, self.plugin, self.state().name())
    }
}

/// A call of the plugin's life, guarded and with a limit.
async fn call<'a, T: 'a>(
    make: impl FnOnce() -> BorrowingFfiFuture<'a, RResult<T, RString>>,
    limit: Duration,
) -> Result<T, String> {
    let future = guard(make).map_err(|panic| panic.to_string())?;
    match tokio::time::timeout(limit, GuardedFuture::new(future)).await {
        Ok(Ok(RResult::ROk(value))) => Ok(value),
        Ok(Ok(RResult::RErr(message))) => Err(message.into_string()),
        Ok(Err(panic)) => Err(panic.to_string()),
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

fn routes(raw: &RawPluginBox, mount: &str) -> Result<Vec<Route>, LoadError> {
    let listed = guard(|| raw.routes()).map_err(|panic| LoadError::Refused(panic.to_string()))?;
    if listed.is_empty() {
        return Err(LoadError::Refused("the plugin has no routes (or panicked when it was asked)".into()));
    }
    listed
        .into_iter()
        .map(|route| {
            let class = Class::from_number(route.class).ok_or_else(|| {
                LoadError::Refused(format!("route `{}` has a class this host does not know", route.path))
            })?;
            let methods = route.methods.into_iter().map(|method| method.to_uppercase()).collect();
            Ok(Route::new(mount, route.path.as_str(), methods, class))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(methods: &[&str]) -> String {
        Route::new("/a", "b", methods.iter().map(|method| (*method).to_owned()).collect(), Class::Public)
            .allow
    }

    #[test]
    fn head_comes_with_get_and_options_with_everything() {
        assert_eq!(allow(&["GET", "POST"]), "GET, POST, HEAD, OPTIONS");
        assert_eq!(allow(&["GET", "HEAD"]), "GET, HEAD, OPTIONS");
        assert_eq!(allow(&["POST"]), "POST, OPTIONS");
    }
}
