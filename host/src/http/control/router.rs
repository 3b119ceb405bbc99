//! The routes of all instances, and the paths that no instance may use.

use plugin_api::routing::Table;

/// Paths reserved for the host, now or later: no instance may use them.
const RESERVED: &[&str] = &["healthz", "readyz", "plugins", "metrics", "reload", "load", "unload"];

/// A table of routes; `T` is the target of a path.
#[derive(Debug)]
pub(crate) struct Router<T>(Table<T>);

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self(Table::default())
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
        if self.0.has(path) { Err(RouteError::Taken(path.to_owned())) } else { Ok(()) }
    }

    /// Adds a path that [`Router::check`] has accepted.
    pub(crate) fn add(&mut self, path: &str, target: T) {
        self.0.add(path, target);
    }

    /// The target of `path`, which is given as received in the request.
    pub(crate) fn find(&self, path: &str) -> Option<&T> {
        self.0.find(path)
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
    fn what_is_taken_or_reserved_is_refused() {
        let router = router(&["/a", "/b/*"]);
        assert_eq!(router.check("/a"), Err(RouteError::Taken("/a".into())));
        assert_eq!(router.check("/b/*"), Err(RouteError::Taken("/b/*".into())));
        assert_eq!(router.check("/healthz"), Err(RouteError::Reserved("/healthz".into())));
        assert_eq!(router.check("/reload/all"), Err(RouteError::Reserved("/reload/all".into())));
        assert_eq!(router.check("/a/healthz"), Ok(()));
    }
}
