//! Detects cross-site requests (cross-site request forgery, CSRF).

use hyper::header::ORIGIN;
use hyper::http::request::Parts;

use super::cors;
use super::proxy::Client;
use crate::config::Cors;

/// Whether this is a cross-site request: sent by a browser for a page of another origin that CORS does not allow.
pub(crate) fn is_cross_site(parts: &Parts, client: &Client<'_>, cors: Option<&Cors>) -> bool {
    is_of_other_origin(parts, client.scheme, client.host) && !cors::trusts_page(cors, &parts.headers)
}

fn is_of_other_origin(parts: &Parts, scheme: &str, host: &str) -> bool {
    let mut sites = parts.headers.get_all("sec-fetch-site").iter().map(|value| value.as_bytes());
    match (sites.next(), sites.next()) {
        // The browser's own result of the comparison below, where a proxy may have changed the host. Pages cannot set
        // it.
        (Some(b"same-origin"), None) => return false,
        (None | Some(b"none"), None) => {}
        _ => return true,
    }
    let own = |origin: &[u8]| {
        let authority = origin.strip_prefix(scheme.as_bytes()).and_then(|rest| rest.strip_prefix(b"://"));
        authority.is_some_and(|authority| same_authority(scheme, authority, host.as_bytes()))
    };
    parts.headers.get_all(ORIGIN).iter().any(|origin| !own(origin.as_bytes()))
}

/// Browsers omit the default port in Origin; some clients include it in Host.
fn same_authority(scheme: &str, one: &[u8], other: &[u8]) -> bool {
    let default: &[u8] = if scheme == "https" { b":443" } else { b":80" };
    let plain = |authority: &[u8]| authority.strip_suffix(default).unwrap_or(authority).to_ascii_lowercase();
    plain(one) == plain(other)
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn cross_site_by_what_the_browser_says() {
        let cross = |headers: &[(&str, &str)]| is_of_other_origin(&parts(headers), "http", "me.test:6123");
        assert!(!cross(&[]));
        assert!(!cross(&[("sec-fetch-site", "same-origin")]));
        assert!(!cross(&[("sec-fetch-site", "none")]));
        assert!(cross(&[("sec-fetch-site", "cross-site")]));
        assert!(cross(&[("sec-fetch-site", "same-site")]));
        assert!(cross(&[("sec-fetch-site", "anything-else")]));
        assert!(cross(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")]));
        assert!(cross(&[("sec-fetch-site", "none"), ("origin", "http://other.test")]));
        assert!(!cross(&[("sec-fetch-site", "same-origin"), ("origin", "http://as-the-browser-saw.it")]));
        assert!(!cross(&[("origin", "http://me.test:6123")]));
        assert!(!cross(&[("origin", "http://ME.test:6123")]));
        for origin in ["https://me.test:6123", "http://me.test", "http://other.test:6123", "null", ""] {
            assert!(cross(&[("origin", origin)]), "{origin}");
        }
        assert!(!is_of_other_origin(&parts(&[("origin", "http://me.test")]), "http", "me.test:80"));
        let secure = |origin| is_of_other_origin(&parts(&[("origin", origin)]), "https", "me.test:443");
        assert!(!secure("https://me.test") && secure("http://me.test") && secure("https://me.test:80"));
    }
}
