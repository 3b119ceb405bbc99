//! `calls=` of an instance: which others it may call, and what it may do there.

use plugin_api::Grant;

/// An instance that another one may call, and what it may do there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// The instance's name, in lower case.
    pub instance: String,
    /// What the caller may do.
    pub grant: Grant,
}

/// Reads `sessman`, `sessman:service` and lists of them, with commas or white space between.
///
/// # Errors
/// What is wrong with an entry.
pub(super) fn permissions(written: &[String]) -> Result<Vec<Permission>, String> {
    let separated = |text: &'_ str| text.replace(',', " ");
    let mut permissions: Vec<Permission> = Vec::new();
    for text in written.iter().map(|text| separated(text)) {
        for entry in text.split_whitespace() {
            let (instance, grant) = match entry.split_once(':') {
                None => (entry, Grant::Session),
                Some((instance, grant)) => (instance, self::grant(grant)?),
            };
            let instance = instance.to_lowercase();
            if instance.is_empty() {
                return Err("expected the name of an instance before `:`".to_owned());
            }
            if permissions.iter().any(|known| known.instance == instance) {
                return Err(format!("`{instance}` is there twice"));
            }
            permissions.push(Permission { instance, grant });
        }
    }
    if permissions.is_empty() {
        return Err("expected the name of an instance, such as `sessman` or `sessman:service`".to_owned());
    }
    Ok(permissions)
}

fn grant(text: &str) -> Result<Grant, String> {
    match text.to_ascii_lowercase().as_str() {
        "session" => Ok(Grant::Session),
        "service" => Ok(Grant::Service),
        "admin" => Ok(Grant::Admin),
        _ => Err(format!("`{text}`: expected session, service or admin")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_what_is_allowed_there() {
        let read = |written: &[&str]| {
            let written: Vec<String> = written.iter().map(|text| (*text).to_owned()).collect();
            permissions(&written).map(|read| {
                read.into_iter()
                    .map(|one| format!("{} {:?}", one.instance, one.grant))
                    .collect::<Vec<_>>()
                    .join(", ")
            })
        };
        assert_eq!(read(&["Sessman"]).unwrap(), "sessman Session");
        assert_eq!(read(&["a:service, b:ADMIN c"]).unwrap(), "a Service, b Admin, c Session");
        assert_eq!(read(&["a", "b:session"]).unwrap(), "a Session, b Session");
        for (wrong, named) in [
            ("", "expected"),
            (" , ", "expected"),
            ("a:root", "`root`"),
            (":admin", "before `:`"),
            ("a:", "``"),
            ("a,A:service", "twice"),
        ] {
            let error = read(&[wrong]).unwrap_err();
            assert!(error.contains(named), "{wrong}: {error}");
        }
    }
}
