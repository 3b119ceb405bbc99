//! The routes of an instance.

use plugin_api::Class;
use plugin_api::abi::plugin::RawPluginBox;
use plugin_api::guard::guard;

use super::LoadError;
use super::path;

/// One route of an instance.
#[derive(Debug)]
pub(crate) struct Route {
    /// The full path; `*` at its end matches anything.
    pub(crate) path: String,
    pub(crate) methods: Vec<String>,
    pub(crate) class: Class,
    /// The value of the `Allow` header.
    pub(crate) allow: String,
}

/// Matches any method.
const ANY: &str = "*";
/// The methods in its `Allow` header.
const ANY_METHOD: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

impl Route {
    /// Whether the route accepts this method.
    pub(crate) fn takes(&self, method: &str) -> bool {
        self.methods.iter().any(|taken| taken == method || taken == ANY)
    }

    fn new(mount: &str, path: &str, methods: Vec<String>, class: Class) -> Self {
        let mut allowed: Vec<&str> = methods.iter().map(String::as_str).collect();
        if allowed.contains(&ANY) {
            allowed = ANY_METHOD.to_vec();
        }
        for (with, comes) in [(Some("GET"), "HEAD"), (None, "OPTIONS")] {
            if with.is_none_or(|with| allowed.contains(&with)) && !allowed.contains(&comes) {
                allowed.push(comes);
            }
        }
        let allow = allowed.join(", ");
        Self { path: path::join(mount, path), methods, class, allow }
    }

    /// Whether bodies are not read: a proxy that asks about another request may send that request's `Content-Length`
    /// without its body.
    pub(crate) fn ignores_bodies(&self) -> bool {
        self.class == Class::ForwardAuth
    }
}

/// The routes that a plugin registers, below this mount.
///
/// # Errors
/// There are none, or one has a class that this host does not know.
pub(super) fn listed(raw: &RawPluginBox, mount: &str) -> Result<Vec<Route>, LoadError> {
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
        assert_eq!(allow(&["GET", "*"]), "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }

    #[test]
    fn any_method_is_any() {
        let route = |methods: &[&str]| {
            Route::new(
                "/a",
                "b",
                methods.iter().map(|method| (*method).to_owned()).collect(),
                Class::ForwardAuth,
            )
        };
        for method in ["GET", "OPTIONS", "PROPFIND", "get", "*"] {
            assert!(route(&["GET", "*"]).takes(method), "{method}");
        }
        assert!(!route(&["GET"]).takes("POST"));
    }
}
