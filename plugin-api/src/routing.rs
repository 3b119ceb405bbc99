//! How a host finds the route of a request: for hosts, and for tests that stand in for one.
//!
//! Matching is here, once, so that a test of a plugin sees the routes as clients do.

use std::collections::HashMap;

use crate::Class;
use crate::abi::plugin::RawPluginBox;
use crate::guard::guard;

/// Matches any method.
const ANY: &str = "*";
/// The methods in its `Allow` header.
const ANY_METHOD: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// One route of an instance.
#[derive(Debug)]
pub struct MountedRoute {
    /// The full path; `*` at its end matches anything.
    pub path: String,
    /// Upper case; `*` matches any method.
    pub methods: Vec<String>,
    /// Who may call it.
    pub class: Class,
    /// The value of the `Allow` header.
    pub allow: String,
}

impl MountedRoute {
    /// The method that the plugin sees: `GET` for a HEAD if the route does not list HEAD. `None` if the route does not
    /// accept the method: OPTIONS is then answered with 204, any other method with 405, both with `Allow`.
    pub fn seen_method<'m>(&self, method: &'m str) -> Option<&'m str> {
        if self.takes(method) {
            return Some(method);
        }
        (method == "HEAD" && self.takes("GET")).then_some("GET")
    }

    /// Whether bodies are not read: a proxy that asks about another request may send that request's `Content-Length`
    /// without its body.
    pub fn ignores_bodies(&self) -> bool {
        self.class == Class::ForwardAuth
    }

    fn takes(&self, method: &str) -> bool {
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
        Self { path: join(mount, path), methods, class, allow }
    }
}

/// The routes that a plugin lists, below this mount, in its order.
///
/// # Errors
/// One line: there are none, or one has a class that this version does not know.
pub fn listed(plugin: &RawPluginBox, mount: &str) -> Result<Vec<MountedRoute>, String> {
    let listed = guard(|| plugin.routes()).map_err(|panic| panic.to_string())?;
    if listed.is_empty() {
        return Err("the plugin has no routes (or panicked when it was asked)".to_owned());
    }
    let mounted = listed.into_iter().map(|route| {
        let class = Class::from_number(route.class)
            .ok_or_else(|| format!("route `{}` has a class this host does not know", route.path))?;
        let methods = route.methods.into_iter().map(|method| method.to_uppercase()).collect();
        Ok(MountedRoute::new(mount, route.path.as_str(), methods, class))
    });
    mounted.collect()
}

/// The full path of a plugin's route.
fn join(mount: &str, route: &str) -> String {
    match route.trim_start_matches('/') {
        "" if mount.is_empty() => "/".to_owned(),
        "" => mount.to_owned(),
        route => format!("{mount}/{route}"),
    }
}

/// The part of a raw path below the mount, without a leading slash.
pub fn below<'p>(mount: &str, path: &'p str) -> &'p str {
    path.strip_prefix(mount).unwrap_or(path).trim_start_matches('/')
}

/// Finds the route of a path: exact paths first, then the longest prefix. `T` is the target of a path.
#[derive(Debug)]
pub struct Table<T> {
    exact: HashMap<String, T>,
    /// Routes that end in `*`, without it; the longest first.
    prefixes: Vec<(String, T)>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), prefixes: Vec::new() }
    }
}

impl<T> Table<T> {
    /// Whether a route uses exactly this path, `*` at its end included.
    pub fn has(&self, path: &str) -> bool {
        match path.strip_suffix('*') {
            Some(prefix) => self.prefixes.iter().any(|(other, _)| other == prefix),
            None => self.exact.contains_key(path),
        }
    }

    /// Adds a path that the table does not have.
    pub fn add(&mut self, path: &str, target: T) {
        match path.strip_suffix('*') {
            Some(prefix) => {
                let at = self.prefixes.partition_point(|(other, _)| other.len() >= prefix.len());
                self.prefixes.insert(at, (prefix.to_owned(), target));
            }
            None => {
                self.exact.insert(path.to_owned(), target);
            }
        }
    }

    /// The target of `path`, which is given as received in the request.
    pub fn find(&self, path: &str) -> Option<&T> {
        self.exact.get(path).or_else(|| {
            self.prefixes
                .iter()
                .find(|(prefix, _)| path.starts_with(prefix.as_str()))
                .map(|(_, target)| target)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(methods: &[&str]) -> MountedRoute {
        let methods = methods.iter().map(|method| (*method).to_owned()).collect();
        MountedRoute::new("/a", "b", methods, Class::ForwardAuth)
    }

    #[test]
    fn head_comes_with_get_and_options_with_everything() {
        let allow = |methods: &[&str]| route(methods).allow;
        assert_eq!(allow(&["GET", "POST"]), "GET, POST, HEAD, OPTIONS");
        assert_eq!(allow(&["GET", "HEAD"]), "GET, HEAD, OPTIONS");
        assert_eq!(allow(&["POST"]), "POST, OPTIONS");
        assert_eq!(allow(&["GET", "*"]), "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }

    #[test]
    fn any_method_is_any() {
        for method in ["GET", "OPTIONS", "PROPFIND", "get", "*"] {
            assert_eq!(route(&["GET", "*"]).seen_method(method), Some(method));
        }
        assert_eq!(route(&["GET"]).seen_method("POST"), None);
    }

    #[test]
    fn a_head_is_seen_as_a_get_unless_the_route_lists_it() {
        assert_eq!(route(&["GET"]).seen_method("HEAD"), Some("GET"));
        assert_eq!(route(&["GET", "HEAD"]).seen_method("HEAD"), Some("HEAD"));
        assert_eq!(route(&["POST"]).seen_method("HEAD"), None);
    }

    #[test]
    fn joining_mount_and_route() {
        assert_eq!(join("/s", "new"), "/s/new");
        assert_eq!(join("/s", "/new"), "/s/new");
        assert_eq!(join("/s", ""), "/s");
        assert_eq!(join("", "new"), "/new");
        assert_eq!(join("", "/"), "/");
        assert_eq!((below("/s", "/s/a/b"), below("/s", "/s"), below("", "/a")), ("a/b", "", "a"));
    }

    fn table(paths: &[&'static str]) -> Table<&'static str> {
        let mut table = Table::default();
        for path in paths {
            assert!(!table.has(path));
            table.add(path, *path);
            assert!(table.has(path));
        }
        table
    }

    #[test]
    fn exact_before_prefix_and_the_longest_prefix_wins() {
        let table = table(&["/a/*", "/a/b/*", "/a/b", "/*"]);
        assert_eq!(table.find("/a/b"), Some(&"/a/b"));
        assert_eq!(table.find("/a/b/c"), Some(&"/a/b/*"));
        assert_eq!(table.find("/a/c"), Some(&"/a/*"));
        assert_eq!(table.find("/x"), Some(&"/*"));
    }

    #[test]
    fn paths_are_compared_as_they_are() {
        let table = table(&["/a/new"]);
        for path in ["/a/new/", "/A/new", "/a//new", "/a/n%65w", "/a", "", "a/new"] {
            assert_eq!(table.find(path), None, "{path}");
        }
    }
}
