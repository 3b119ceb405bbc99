//! Hostile requests, byte by byte: each has one clear answer, none is a 5xx, and nothing is changed by them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use e2e::http::Client;
use e2e::pserve::{Pserve, Site};
use serde_json::json;

/// A host, a session in it, and the session as it is to stay.
struct Target {
    pserve: Pserve,
    client: Client,
    id: String,
    _site: Site,
}

impl Target {
    fn new() -> Self {
        let site = Site::new();
        site.write("sessman.json", "{}");
        site.ini("[limits]\nmax_body=400000\nheader_timeout=2\nrequest_timeout=3\n[plugin_parms]\nsessman=json=sessman.json");
        let pserve = site.start();
        let client = pserve.client();
        let id = client.post("/sessman/new", json!({ "user": "ada", "data": { "kept": true } })).expect(201);
        Self { id: id.member("session_id"), pserve, client, _site: site }
    }

    /// What comes back for these bytes, until the connection is closed.
    fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.pserve.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // The other side may have answered and closed before everything is sent.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a body, with everything else as it should be.
    fn body(&self, path: &str, body: &[u8]) -> String {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.raw(&[head.as_bytes(), body].concat())
    }

    /// It lives, and the session is as it was.
    fn is_unharmed(&self) {
        let session = self.client.get(&format!("/sessman/get?token={}", self.id)).expect(200).json();
        assert_eq!((&session["version"], &session["data"]), (&json!(1), &json!({ "kept": true })));
        assert!(!self.pserve.log().contains("panicked"), "{}", self.pserve.log());
    }
}

/// The status of an answer; an error of ours has a problem body.
#[track_caller]
fn status(answer: &str) -> u16 {
    let status: u16 =
        answer.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    if status >= 400 && !body.is_empty() {
        assert!(head.contains("content-type: application/problem+json"), "{answer}");
    }
    status
}

#[test]
fn bodies() {
    let target = Target::new();
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(10_000), close.repeat(10_000));
    let data = |text: &str| format!(r#"{{"data":{text}}}"#).into_bytes();
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("empty", vec![], 201),
        ("white space", b" \r\n\t ".to_vec(), 201),
        ("half an object", b"{\"data\":".to_vec(), 400),
        ("two objects", b"{}{}".to_vec(), 400),
        ("a text", b"\"data\"".to_vec(), 400),
        ("a form", b"user=ada&data=1".to_vec(), 400),
        ("XML", b"<data/>".to_vec(), 400),
        ("not UTF-8", b"{\"data\":\"\xff\xfe\"}".to_vec(), 400),
        ("UTF-16", vec![0xff, 0xfe, b'{', 0, b'}', 0], 400),
        ("NUL bytes", vec![0; 1000], 400),
        ("a lone surrogate", data(r#""\ud800""#), 400),
        ("deep arrays", data(&deep("[", "]")), 422),
        ("deep objects", data(&deep("{\"a\":", "}").replace(":}", ":1}")), 422),
        ("deep and not closed", deep("[", "").into_bytes(), 400),
        ("a key twice", br#"{"data":1,"data":2}"#.to_vec(), 400),
        ("a key twice, escaped", br#"{"data":1,"d\u0061ta":2}"#.to_vec(), 400),
        ("a key twice within", data(r#"{"a":1,"b":{"c":1,"c":1}}"#), 422),
        ("1e400", data("1e400"), 422),
        ("-1e400", data("[-1e400]"), 422),
        ("an integer of 400 digits", data(&"9".repeat(400)), 422),
        ("NaN", data("NaN"), 400),
        (
            "many keys",
            format!("{{{}\"x\":1}}", (0..500).map(|n| format!("\"k{n}\":1,")).collect::<String>()).into(),
            400,
        ),
        ("too large", data(&format!("\"{}\"", "x".repeat(400_000))), 413),
        ("data too large", data(&format!("\"{}\"", "x".repeat(300_000))), 413),
        ("a user of 300 kB", format!(r#"{{"user":"{}"}}"#, "u".repeat(300_000)).into(), 400),
        ("a user with a line break", br#"{"user":"a\nb"}"#.to_vec(), 400),
        ("an id of another type", br#"{"user":{"$gt":""}}"#.to_vec(), 400),
    ];
    for (name, body, expected) in cases {
        assert_eq!(status(&target.body("/sessman/new", &body)), expected, "{name}");
    }
    let update = format!("/sessman/update?session_id={}", target.id);
    for (name, body) in
        [("empty", &b""[..]), ("no data", b"{}"), ("wrong mode", br#"{"data":1,"mode":"all"}"#)]
    {
        assert_eq!(status(&target.body(&update, body)), 400, "{name}");
    }
    target.is_unharmed();
}

#[test]
fn lengths_and_chunks() {
    let target = Target::new();
    let post = |headers: &str, rest: &str| {
        let head = "POST /sessman/new HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
        target.raw(format!("{head}{headers}\r\n\r\n{rest}").as_bytes())
    };
    let chunked = "Transfer-Encoding: chunked";
    assert_eq!(status(&post(chunked, "2\r\n{}\r\n0\r\n\r\n")), 201);
    let chunk = format!("186a0\r\n{}\r\n", "x".repeat(100_000));
    assert_eq!(status(&post(chunked, &format!("{}0\r\n\r\n", chunk.repeat(5)))), 413);
    assert_eq!(status(&post("Content-Length: 99999999", "")), 413);
    for (name, headers, rest) in [
        ("a chunk size that is none", chunked, "zz\r\n{}\r\n0\r\n\r\n"),
        ("a chunk size that overflows", chunked, "fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
        ("a chunk longer than it says", chunked, "1\r\n{}\r\n0\r\n\r\n"),
        ("two lengths", "Content-Length: 2\r\nContent-Length: 3", "{} "),
        ("a length with a sign", "Content-Length: +2", "{}"),
        ("a negative length", "Content-Length: -2", "{}"),
        ("a length that overflows", "Content-Length: 99999999999999999999999", "{}"),
        ("chunked and not last", "Transfer-Encoding: chunked, gzip", "0\r\n\r\n"),
        ("an unknown coding", "Transfer-Encoding: xchunked", "0\r\n\r\n"),
        ("a space before the colon", "Transfer-Encoding : chunked", "0\r\n\r\n"),
        ("a folded line", "X-A: b\r\n c", ""),
        ("a NUL in a header", "X-A: b\0c", ""),
    ] {
        let answer = post(headers, rest);
        assert!(answer.is_empty() || status(&answer) == 400, "{name}: {answer}");
    }
    // Less than announced: the request times out or the connection is closed, and nothing is made of it.
    let answer = post("Content-Length: 10", "{}");
    assert!(answer.is_empty() || status(&answer) == 408, "{answer}");
    target.is_unharmed();
}

#[test]
fn one_request_cannot_hide_another() {
    let target = Target::new();
    let end = format!("POST /sessman/end?session_id={} HTTP/1.1\r\nHost: localhost\r\n\r\n", target.id);
    for headers in [
        "Content-Length: 0\r\nTransfer-Encoding: chunked".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity".to_owned(),
        "Transfer-Encoding: chunked\r\nContent-Length: 5".to_owned(),
        format!("Content-Length: {}\r\nContent-Length: 0", end.len()),
    ] {
        let head = format!("POST /sessman/validate?session_id=x HTTP/1.1\r\nHost: localhost\r\n{headers}");
        // Whatever is taken for the body, it is never taken for a body by one rule and for a request by the other.
        let answer =
            target.raw(format!("{head}\r\n\r\n{}\r\n{end}", format_args!("{:x}", end.len())).as_bytes());
        assert!(!answer.contains("\"ended\":true"), "{headers}: {answer}");
    }
    target.is_unharmed();
}

#[test]
fn request_lines_and_headers() {
    let target = Target::new();
    let good = "GET /sessman/validate?session_id=x HTTP/1.1\r\nHost: localhost\r\nConnection: close";
    assert_eq!(status(&target.raw(format!("{good}\r\n\r\n").as_bytes())), 200);
    for (name, request, expected) in [
        ("two hosts", format!("{good}\r\nHost: localhost\r\n\r\n"), 400),
        ("no host", "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), 400),
        ("many headers", format!("{good}\r\n{}\r\n", "X-A: b\r\n".repeat(2_000)), 431),
        ("a long header", format!("{good}\r\nX-A: {}\r\n\r\n", "b".repeat(200_000)), 431),
        ("no HTTP", "hello\r\n\r\n".to_owned(), 400),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\r\n\r\n".to_owned(), 400),
        ("HTTP/3.0", "GET / HTTP/3.0\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("a space in the target", good.replace("session_id=x", "session_id=x y") + "\r\n\r\n", 400),
        ("a bad escape", good.replace("session_id=x", "session_id=%zz") + "\r\n\r\n", 400),
        ("an escape cut short", good.replace("session_id=x", "session_id=%4") + "\r\n\r\n", 400),
        ("an escape that is no UTF-8", good.replace("session_id=x", "session_id=%ff") + "\r\n\r\n", 400),
        ("an unknown parameter", good.replace("session_id", "sesion_id") + "\r\n\r\n", 400),
        ("two ids", good.replace("session_id=x", "session_id=x&token=y") + "\r\n\r\n", 400),
        ("a long target", good.replace("=x", &format!("={}", "x".repeat(100_000))) + "\r\n\r\n", 414),
    ] {
        let answer = target.raw(request.as_bytes());
        let found = status(&answer);
        assert!(found == expected || (expected == 414 && found == 431), "{name}: {answer}");
    }
    target.is_unharmed();
}

#[test]
fn ids_of_every_shape_but_the_right_one() {
    let target = Target::new();
    let id = &target.id;
    let flipped = format!("{}{}", &id[..47], if id.ends_with('A') { "B" } else { "A" });
    for wrong in [
        "",
        "x",
        &id[..47],
        &format!("{id}A"),
        &id.to_lowercase(),
        &id[16..],
        &id[..16],
        &flipped,
        &"=".repeat(48),
        &"%00".repeat(48),
        &"%2e%2e%2f".repeat(6),
        &"%C3%A4".repeat(24),
        &"A".repeat(5_000),
        "null",
        "undefined",
    ] {
        target.client.get(&format!("/sessman/get?session_id={wrong}")).expect(404);
        target.client.send("POST", &format!("/sessman/end?session_id={wrong}"), "").expect(404);
        target.client.post("/sessman/update", json!({ "session_id": wrong, "data": 1 })).expect(404);
    }
    target.is_unharmed();
}

#[test]
fn methods_and_routes() {
    let target = Target::new();
    let routes = [
        ("new", "POST"),
        ("login", "POST"),
        ("get", "GET, POST"),
        ("profile", "GET, POST"),
        ("update", "POST, PATCH"),
        ("touch", "POST"),
        ("validate", "GET, POST"),
        ("end", "POST, DELETE"),
        ("logout", "POST, DELETE"),
    ];
    for (route, allowed) in routes {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "get"] {
            if allowed.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let answer = target.client.send(method, &format!("/sessman/{route}"), "").expect(405);
            assert!(answer.header("allow").unwrap().starts_with(allowed), "{method} {route}: {answer:?}");
        }
        let options = target.client.send("OPTIONS", &format!("/sessman/{route}"), "").expect(204);
        assert!(options.header("allow").unwrap().starts_with(allowed));
    }
    let head = target.client.send("HEAD", &format!("/sessman/get?session_id={}", target.id), "").expect(200);
    assert_eq!(head.text, "");
    for path in [
        "/",
        "/sessman",
        "/sessman/",
        "/sessman/get/",
        "/sessman//get",
        "/SESSMAN/get",
        "/sessman/%67et",
        "/sessman/../sessman/get",
        "/sessman/get;x",
        "/nowhere/get",
        "/plugins/x",
    ] {
        let error = target.client.get(path).expect(404).member("error");
        assert!(error.contains("/sessman/"), "{path}: {error}");
    }
    target.is_unharmed();
}
