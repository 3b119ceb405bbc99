//! CORS, as defined by the Fetch standard: preflight requests, and the headers that let a page read an answer.
//!
//! A preflight is an OPTIONS request, and is answered before the key is checked: browsers send none with it.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, HeaderValue, ORIGIN, VARY,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};

use crate::config::{Cors, Origins};

/// Headers that a page may send in addition to those that begin with `x-`.
const REQUEST_HEADERS: &[&str] = &[
    "accept",
    "accept-language",
    "authorization",
    "cache-control",
    "content-language",
    "content-type",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "last-event-id",
    "pragma",
    "range",
    "traceparent",
    "tracestate",
];
/// Headers that a page may read in addition to those that begin with `x-` and to those that it may always read.
const ANSWER_HEADERS: &[&str] =
    &["allow", "etag", "link", "location", "retry-after", "traceparent", "www-authenticate"];

/// Whether this is a preflight request.
pub(crate) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(ORIGIN)
        && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whether the page that caused this request may act as the browser's user: its origin is listed explicitly. `*` does
/// not count.
pub(crate) fn trusts_page(cors: Option<&Cors>, headers: &HeaderMap) -> bool {
    let Some(Cors { origins: Origins::Exact(origins), .. }) = cors else { return false };
    let is_listed =
        |origin: &HeaderValue| origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes());
    headers.contains_key(ORIGIN) && headers.get_all(ORIGIN).iter().all(is_listed)
}

/// Adds the CORS headers to an answer.
pub(crate) fn finish<B>(cors: &Cors, parts: &Parts, response: &mut Response<B>) {
    let status = response.status();
    let headers = response.headers_mut();
    // Remove the plugin's own headers: a second value would make the browser reject both.
    for name in [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_EXPOSE_HEADERS]
    {
        headers.remove(name);
    }
    let vary = if parts.method == Method::OPTIONS {
        "origin, access-control-request-method, access-control-request-headers"
    } else {
        "origin"
    };
    // Also without an Origin: a cache must not serve that answer to a page.
    headers.append(VARY, HeaderValue::from_static(vary));
    let Some(origin) = parts.headers.get(ORIGIN) else { return };
    match cors.origins {
        Origins::Any => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        Origins::Exact(_) if trusts_page(Some(cors), &parts.headers) => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        Origins::Exact(_) => return,
    }
    if !is_preflight(parts) {
        if let Some(names) = exposed(headers) {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names);
        }
        return;
    }
    // A preflight with any other answer is denied.
    if status != StatusCode::NO_CONTENT {
        return;
    }
    if let Some(methods) = headers.get(ALLOW).cloned() {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    if let Some(names) = sendable(&parts.headers) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, cors.max_age.as_secs().into());
}

/// The headers of an answer that a page may read. Listed one by one: `*` has no effect on requests with cookies.
fn exposed(headers: &HeaderMap) -> Option<HeaderValue> {
    let names = headers.keys().map(|name| name.as_str());
    join(names.filter(|name| ANSWER_HEADERS.contains(name) || name.starts_with("x-")))
}

/// The requested headers that a page may send. Never those that proxies set.
fn sendable(asked: &HeaderMap) -> Option<HeaderValue> {
    let lines = asked.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|line| line.to_str().ok());
    let is_plugins_own =
        |name: &str| name.starts_with("x-") && !name.starts_with("x-forwarded-") && name != "x-real-ip";
    join(
        lines
            .flat_map(|line| line.split(','))
            .map(|name| name.trim().to_ascii_lowercase())
            .filter(|name| REQUEST_HEADERS.contains(&name.as_str()) || is_plugins_own(name)),
    )
}

fn join(names: impl Iterator<Item: AsRef<str>>) -> Option<HeaderValue> {
    let mut text = String::new();
    for name in names {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(name.as_ref());
    }
    if text.is_empty() { None } else { HeaderValue::from_str(&text).ok() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::Request;

    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        let origins = match origins {
            ["*"] => Origins::Any,
            exact => Origins::Exact(exact.iter().map(ToString::to_string).collect()),
        };
        Cors { origins, max_age: Duration::from_secs(60) }
    }

    fn parts(method: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn answered(cors: &Cors, parts: &Parts, status: u16, headers: &[(&str, &str)]) -> HeaderMap {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let mut response = response.body(()).unwrap();
        finish(cors, parts, &mut response);
        response.headers().clone()
    }

    const PREFLIGHT: &[(&str, &str)] = &[
        ("origin", "https://a.test"),
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "content-type,X-Session-Id, x-forwarded-for,cookie2"),
    ];

    #[test]
    fn a_preflight_says_what_the_route_takes() {
        let cors = cors(&["https://a.test"]);
        let headers = answered(&cors, &parts("OPTIONS", PREFLIGHT), 204, &[("allow", "POST, PATCH")]);
        assert_eq!(headers["access-control-allow-origin"], "https://a.test");
        assert_eq!(headers["access-control-allow-credentials"], "true");
        assert_eq!(headers["access-control-allow-methods"], "POST, PATCH");
        assert_eq!(headers["access-control-allow-headers"], "content-type, x-session-id");
        assert_eq!(headers["access-control-max-age"], "60");
        assert_eq!(headers["vary"], "origin, access-control-request-method, access-control-request-headers");
        let refused = answered(&cors, &parts("OPTIONS", PREFLIGHT), 404, &[]);
        assert!(!refused.contains_key("access-control-allow-methods"));
    }

    #[test]
    fn other_origins_get_nothing() {
        let cors = cors(&["https://a.test"]);
        for origin in ["https://b.test", "http://a.test", "https://a.test:444", "https://A.test", "null", ""]
        {
            let headers = answered(&cors, &parts("GET", &[("origin", origin)]), 200, &[]);
            assert!(!headers.contains_key("access-control-allow-origin"), "{origin}");
            assert_eq!(headers["vary"], "origin");
        }
        let headers = answered(&cors, &parts("GET", &[]), 200, &[("vary", "accept")]);
        assert!(!headers.contains_key("access-control-allow-origin"));
        assert_eq!(headers.get_all("vary").iter().collect::<Vec<_>>(), ["accept", "origin"]);
    }

    #[test]
    fn errors_can_be_read_and_so_can_headers_that_are_there() {
        let sent =
            [("etag", "x"), ("x-request-id", "1"), ("set-cookie", "s"), ("access-control-allow-origin", "*")];
        let cors = cors(&["https://a.test"]);
        let headers = answered(&cors, &parts("GET", &[("origin", "https://a.test")]), 401, &sent);
        assert_eq!(headers["access-control-allow-origin"], "https://a.test");
        let mut exposed: Vec<_> =
            headers["access-control-expose-headers"].to_str().unwrap().split(", ").collect();
        exposed.sort_unstable();
        assert_eq!(exposed, ["etag", "x-request-id"]);
    }

    #[test]
    fn every_origin_is_never_together_with_cookies() {
        let any = cors(&["*"]);
        for origin in ["https://b.test", "null"] {
            let parts = parts("GET", &[("origin", origin)]);
            let headers = answered(&any, &parts, 200, &[]);
            assert_eq!(headers["access-control-allow-origin"], "*");
            assert!(!headers.contains_key("access-control-allow-credentials"));
            assert!(!trusts_page(Some(&any), &parts.headers));
        }
    }

    #[test]
    fn only_a_listed_origin_is_trusted() {
        let exact = cors(&["https://a.test"]);
        let trusts = |headers| trusts_page(Some(&exact), &parts("POST", headers).headers);
        assert!(trusts(&[("origin", "https://a.test")]));
        assert!(!trusts(&[]));
        assert!(!trusts(&[("origin", "https://a.test"), ("origin", "https://b.test")]));
        assert!(!trusts_page(None, &parts("POST", &[("origin", "https://a.test")]).headers));
    }
}
