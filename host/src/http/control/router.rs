//! Matches a request's path to a route: exact paths first, then the longest prefix.

use std::collections::HashMap;

/// Paths reserved for the host, now or later: no instance may use them.
const RESERVED: &[&str] = &["healthz", "readyz", "plugins", "metrics", "reload", "load", "unload"];

/// A table of routes; `T` is the target of a path.
#[derive(Debug)]
pub(crate) struct Router<T> {
    exact: HashMap<String, T>,
    /// Routes that end in `*`, without it; the longest first.
    prefixes: Vec<(String, T)>,
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), prefixes: Vec::new() }
    }
}

/// A path that cannot be added to the table.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouteError {
    /// Another route uses it.
    #[error("the path {0} is taken by another instance; give one of them another `route_path`")]
    Taken(String),
    /// It is reserved for the host.
    #[error("the path {0} belongs to the host; give the instance another `route_path`")]
    Reserved(String),
}

impl<T> Router<T> {
    /// Checks whether `path` can be added.
    ///
    /// # Errors
    /// It is in use or reserved.
    pub(crate) fn check(&self, path: &str) -> Result<(), RouteError> {
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        if RESERVED.contains(&first) {
            return Err(RouteError::Reserved(path.to_owned()));
        }
        let taken = match path.strip_suffix('*') {
            Some(prefix) => self.prefixes.iter().any(|(other, _)| other == prefix),
            None => self.exact.contains_key(path),
        };
        if taken { Err(RouteError::Taken(path.to_owned())) } else { Ok(()) }
    }

    /// Adds a path that [`Router::check`] has accepted.
    pub(crate) fn add(&mut self, path: &str, target: T) {
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
    pub(crate) fn find(&self, path: &str) -> Option<&T> {
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

    fn router(paths: &[&'static str]) -> Router<&'static str> {
        let mut router = Router::default();
        for path in paths {
            router.check(path).unwrap();
            router.add(path, *path);
        }
        router
    }

    #[test]
    fn exact_before_prefix_and_the_longest_prefix_wins() {
        let router = router(&["/a/*", "/a/b/*", "/a/b", "/*"]);
        assert_eq!(router.find("/a/b"), Some(&"/a/b"));
        assert_eq!(router.find("/a/b/c"), Some(&"/a/b/*"));
        assert_eq!(router.find("/a/c"), Some(&"/a/*"));
        assert_eq!(router.find("/x"), Some(&"/*"));
    }

    #[test]
    fn paths_are_compared_as_they_are() {
        let router = router(&["/a/new"]);
        for path in ["/a/new/", "/A/new", "/a//new", "/a/n%65w", "/a", "", "a/new"] {
            assert_eq!(router.find(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_taken_or_reserved_is_refused() {
        let router = router(&["/a", "/b/*"]);
        assert_eq!(router.check("/a"), Err(RouteError::Taken("/a".into())));
        assert_eq!(router.check("/b/*"), Err(RouteError::Taken("/b/*".into())));
        assert_eq!(router.check("/healthz"), Err(RouteError::Reserved("/healthz".into())));
        assert_eq!(router.check("/reload/all"), Err(RouteError::Reserved("/reload/all".into())));
        assert_eq!(router.check("/a/healthz"), Ok(()));
    }
}
