//! What a request costs that a client makes as large as it may, in every part of it that the host reads.

use bytes::Bytes;
use growth::assert_linear;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request};
use plugin_api::Caller;
use plugin_api::abi::request::RawRequest as _;
use tokio::time::Instant;

use super::request::HostRequest;
use crate::config::{Config, Cors, Origins};
use crate::http::gate::cors;
use crate::http::gate::credentials::{take_body_key, take_query_key};
use crate::http::gate::proxy::{self, Peer};
use crate::http::message::header_size::MAX_HEADER_BYTES;
use crate::http::message::lines::Lines;
use crate::http::message::request_id::RequestId;
use crate::http::message::trace;

/// Bytes of a body; the largest has four times as many, the default of `max_body`.
const BODY: usize = 256 << 10;
/// Bytes of headers; the largest have four times as many, as HTTP/2 counts them.
const HEADERS: usize = MAX_HEADER_BYTES / 4;
/// What HTTP/2 counts beside name and value of a header.
const EACH: usize = 32;

fn joined(count: usize, separator: &str, part: impl Fn(usize) -> String) -> String {
    (0..count).map(part).collect::<Vec<_>>().join(separator)
}

#[test]
fn the_key_is_taken_out_of_a_body_in_time_that_grows_as_the_body() {
    type Case = (&'static str, bool, fn(usize) -> String);
    // With whether there is one.
    let cases: [Case; 8] = [
        ("members", true, |bytes| {
            format!("{{{},\"apikey\":\"k\"}}", joined(bytes / 12, ",", |n| format!("\"{n:06}\":1")))
        }),
        ("members with escapes in their names", true, |bytes| {
            format!("{{{},\"apikey\":\"k\"}}", joined(bytes / 16, ",", |n| format!("\"\\u000a{n:06}\":1")))
        }),
        ("keys", true, |bytes| format!("{{{}}}", joined(bytes / 13, ",", |_| "\"apikey\":\"k\"".into()))),
        ("a long key", true, |bytes| format!("{{\"apikey\":\"{}\"}}", "\\u0061".repeat(bytes / 6))),
        ("a long name", true, |bytes| format!("{{\"{}\":1,\"apikey\":1}}", "\\n".repeat(bytes / 2))),
        ("a long value", true, |bytes| {
            format!("{{\"apikey\":[{}]}}", joined(bytes / 2, ",", |_| "1".into()))
        }),
        ("what looks like one", false, |bytes| {
            format!("[{}]", joined(bytes / 9, ",", |_| "\"apikey\"".into()))
        }),
        ("a body that does not end", false, |bytes| joined(bytes / 13, ",", |_| "{\"apikey\":1".into())),
    ];
    for (what, found, body) in cases {
        assert_eq!(take_body_key(body(BODY).as_bytes()).is_some(), found, "{what}");
        assert_linear(what, BODY, body, |body| take_body_key(body.as_bytes()));
    }
}

#[test]
fn the_key_is_taken_out_of_a_query_in_time_that_grows_as_the_query() {
    type Case = (&'static str, bool, fn(usize) -> String);
    let cases: [Case; 4] = [
        ("parameters", true, |bytes| format!("{}&apikey=k", joined(bytes / 4, "&", |_| "a=b".into()))),
        ("keys", true, |bytes| joined(bytes / 11, "&", |_| "apikey=a+b".into())),
        ("escapes", true, |bytes| format!("{}=1&%61pikey=1", "%61".repeat(bytes / 3))),
        ("nothing", false, |bytes| format!("%{}", "&".repeat(bytes))),
    ];
    for (what, found, query) in cases {
        assert_eq!(take_query_key(&query(HEADERS)).is_some(), found, "{what}");
        assert_linear(what, HEADERS, query, |query| take_query_key(query));
    }
}

/// A request with these headers, of which HTTP/2 would count about `bytes`.
fn parts(bytes: usize, header: impl Fn(usize) -> (String, String)) -> Parts {
    let mut request = Request::builder().uri("/x").header("host", "a");
    let mut counted = 0;
    for n in 0.. {
        let (name, value) = header(n);
        counted += name.len() + value.len() + EACH;
        if counted > bytes {
            break;
        }
        request = request.header(name, value);
    }
    request.body(()).unwrap().into_parts().0
}

#[allow(clippy::type_complexity, reason = "a name and a maker")]
const SEVERAL: [(&str, fn(usize) -> (String, String)); 4] = [
    ("one name again and again", |_| ("cookie".into(), String::new())),
    ("other names", |n| (format!("x{n}"), String::new())),
    ("other names and one again and again", |n| {
        if n % 2 == 0 { ("cookie".into(), String::new()) } else { (format!("x{n}"), String::new()) }
    }),
    ("two names by turns", |n| (["cookie", "x"][n % 2].into(), String::new())),
];

#[test]
fn a_plugin_reads_all_headers_in_time_that_grows_as_their_number() {
    let id = RequestId::of(&HeaderMap::new());
    for (what, header) in SEVERAL {
        let input = |bytes| parts(bytes, header);
        let with = |parts: &Parts, read: &dyn Fn(&HostRequest<'_>) -> usize| {
            read(&HostRequest {
                parts,
                lines: Lines::default(),
                method: "GET",
                route: 0,
                below_mount: "",
                query: "",
                body: Bytes::new(),
                client: proxy::Client { address: None, scheme: "http", host: "", is_proxied: false },
                cors: None,
                caller: Caller::Open,
                principal: None,
                deadline: Instant::now(),
                id: &id,
                told: std::sync::OnceLock::new(),
                mount: None,
                called: None,
            })
        };
        let of_name = |request: &HostRequest<'_>| {
            (0..).map_while(|nth| request.header("cookie".into(), nth).into_option()).count()
        };
        let all = |request: &HostRequest<'_>| {
            (0..).map_while(|index| request.header_at(index).into_option()).count()
        };
        assert_eq!(with(&input(HEADERS), &all), input(HEADERS).headers.len(), "{what}");
        assert_eq!(
            with(&input(HEADERS), &of_name),
            input(HEADERS).headers.get_all("cookie").iter().count(),
            "{what}"
        );
        assert_linear(what, HEADERS, input, |parts| with(parts, &of_name));
        assert_linear(what, HEADERS, input, |parts| with(parts, &all));
    }
}

#[test]
fn what_the_host_itself_reads_of_headers_grows_as_they_do() {
    type Case = (&'static str, &'static str, fn(usize) -> String);
    let proxies = {
        let text = "[proxy]\ntrusted=list:10.0.0.0/8\n";
        Config::parse("p.ini", text.into(), Vec::new(), std::path::Path::new("/")).unwrap().proxies
    };
    let cors = Cors { origins: Origins::Any, max_age: std::time::Duration::ZERO };
    let peer = Peer { address: "10.0.0.1".parse().ok(), tls: false };
    let cases: [Case; 9] = [
        ("X-Forwarded-For", "x-forwarded-for", |bytes| joined(bytes / 9, ",", |_| "10.0.0.2".into())),
        ("X-Forwarded-Proto", "x-forwarded-proto", |bytes| joined(bytes / 5, ",", |_| "http".into())),
        ("Forwarded", "forwarded", |bytes| joined(bytes / 13, ",", |_| "for=10.0.0.2".into())),
        ("pairs of Forwarded", "forwarded", |bytes| joined(bytes / 4, ";", |n| format!("by{n}=a"))),
        ("quotes of Forwarded", "forwarded", |bytes| format!("for=\"{}\"", ",;".repeat(bytes / 2))),
        ("headers that a page wants to send", "access-control-request-headers", |bytes| {
            joined(bytes / 4, ",", |_| "x-a".into())
        }),
        ("an origin", "origin", |bytes| "http://a".repeat(bytes / 8)),
        ("a trace", "traceparent", |bytes| "00-".repeat(bytes / 3)),
        ("a request id", "x-request-id", |bytes| "a".repeat(bytes)),
    ];
    for (what, name, value) in cases {
        let input = |bytes| {
            let request = Request::builder().method("OPTIONS").uri("/x").header("host", "a");
            let request = request.header("access-control-request-method", "GET").header("origin", "http://b");
            request.header(name, value(bytes)).body(()).unwrap().into_parts().0
        };
        assert_linear(what, HEADERS, input, |parts| {
            let mut answer = hyper::Response::new(());
            *answer.status_mut() = hyper::StatusCode::NO_CONTENT;
            cors::finish(&cors, parts, &mut answer);
            let trace = trace::TraceId::take(&mut parts.headers.clone());
            let client = proxy::client(&proxies, peer, parts);
            (answer, trace.is_some(), client.is_ok(), RequestId::of(&parts.headers))
        });
    }
}
