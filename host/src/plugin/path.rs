//! Paths of routes.

/// The full path of a plugin's route.
pub(crate) fn join(mount: &str, route: &str) -> String {
    match route.trim_start_matches('/') {
        "" if mount.is_empty() => "/".to_owned(),
        "" => mount.to_owned(),
        route => format!("{mount}/{route}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joining_mount_and_route() {
        assert_eq!(join("/s", "new"), "/s/new");
        assert_eq!(join("/s", "/new"), "/s/new");
        assert_eq!(join("/s", ""), "/s");
        assert_eq!(join("", "new"), "/new");
        assert_eq!(join("", "/"), "/");
    }
}
