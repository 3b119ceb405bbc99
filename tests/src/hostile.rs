//! Hostile requests, byte by byte, and what may be answered to each.

/// A request as bytes on a new connection.
#[derive(Debug, Clone)]
pub struct Case {
    /// What is hostile about it.
    pub name: &'static str,
    /// Everything that is sent.
    pub request: Vec<u8>,
    /// The statuses that may be answered.
    pub statuses: &'static [u16],
    /// Whether the connection may be closed without an answer.
    pub may_close: bool,
}

/// Bytes that a body may have at most in a host that is to answer as listed here.
pub const MAX_BODY: usize = 400_000;

/// Every case; `id` is a session's, which none of them may change.
pub fn cases(id: &str) -> Vec<Case> {
    let mut cases = bodies();
    cases.extend(updates(id));
    cases.extend(lengths_and_chunks());
    cases.extend(smuggled(id));
    cases.extend(lines_and_headers());
    cases
}

fn case(name: &'static str, request: impl Into<Vec<u8>>, statuses: &'static [u16]) -> Case {
    Case { name, request: request.into(), statuses, may_close: false }
}

/// A well-formed request around a body.
fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn bodies() -> Vec<Case> {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(10_000), close.repeat(10_000));
    let data = |text: &str| format!(r#"{{"data":{text}}}"#).into_bytes();
    let many_keys: String = (0..500).map(|n| format!("\"k{n}\":1,")).collect();
    let bodies: Vec<(&'static str, Vec<u8>, &'static [u16])> = vec![
        ("empty", vec![], &[201]),
        ("white space", b" \r\n\t ".to_vec(), &[201]),
        ("half an object", b"{\"data\":".to_vec(), &[400]),
        ("two objects", b"{}{}".to_vec(), &[400]),
        ("a text", b"\"data\"".to_vec(), &[400]),
        ("a form", b"user=ada&data=1".to_vec(), &[400]),
        ("XML", b"<data/>".to_vec(), &[400]),
        ("not UTF-8", b"{\"data\":\"\xff\xfe\"}".to_vec(), &[400]),
        ("UTF-16", vec![0xff, 0xfe, b'{', 0, b'}', 0], &[400]),
        ("NUL bytes", vec![0; 1000], &[400]),
        ("a lone surrogate", data(r#""\ud800""#), &[400]),
        ("deep arrays", data(&deep("[", "]")), &[422]),
        ("deep objects", data(&deep("{\"a\":", "}").replace(":}", ":1}")), &[422]),
        ("deep and not closed", deep("[", "").into(), &[400]),
        ("a key twice", br#"{"data":1,"data":2}"#.to_vec(), &[400]),
        ("a key twice, escaped", br#"{"data":1,"d\u0061ta":2}"#.to_vec(), &[400]),
        ("a key twice within", data(r#"{"a":1,"b":{"c":1,"c":1}}"#), &[422]),
        ("1e400", data("1e400"), &[422]),
        ("-1e400", data("[-1e400]"), &[422]),
        ("an integer of 400 digits", data(&"9".repeat(400)), &[422]),
        ("NaN", data("NaN"), &[400]),
        ("many keys", format!("{{{many_keys}\"x\":1}}").into(), &[400]),
        ("too large", data(&format!("\"{}\"", "x".repeat(MAX_BODY))), &[413]),
        ("data too large", data(&format!("\"{}\"", "x".repeat(300_000))), &[413]),
        ("a user of 300 kB", format!(r#"{{"user":"{}"}}"#, "u".repeat(300_000)).into(), &[400]),
        ("a user with a line break", br#"{"user":"a\nb"}"#.to_vec(), &[400]),
        ("a user of another type", br#"{"user":{"$gt":""}}"#.to_vec(), &[400]),
    ];
    bodies
        .into_iter()
        .map(|(name, body, statuses)| case(name, post("/sessman/new", &body), statuses))
        .collect()
}

fn updates(id: &str) -> Vec<Case> {
    let update = |body: &[u8]| post(&format!("/sessman/update?session_id={id}"), body);
    vec![
        case("an update without a body", update(b""), &[400]),
        case("an update without data", update(b"{}"), &[400]),
        case("an update in a mode there is not", update(br#"{"data":1,"mode":"all"}"#), &[400]),
        case("an update of another's session", update(br#"{"data":1,"user":"eve"}"#), &[404]),
        case("an update of data not to be stored", update(br#"{"data":{"a":18446744073709551615}}"#), &[422]),
    ]
}

fn lengths_and_chunks() -> Vec<Case> {
    let post = |headers: &str, rest: &str| {
        let head = "POST /sessman/new HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
        format!("{head}{headers}\r\n\r\n{rest}")
    };
    let chunked = "Transfer-Encoding: chunked";
    let chunk = format!("186a0\r\n{}\r\n", "x".repeat(100_000));
    let mut cases = vec![
        case("chunked as it should be", post(chunked, "2\r\n{}\r\n0\r\n\r\n"), &[201]),
        case("chunks too large together", post(chunked, &format!("{}0\r\n\r\n", chunk.repeat(5))), &[413]),
        case("a length too large", post("Content-Length: 99999999", ""), &[413]),
    ];
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
        // The connection ends before the body does.
        ("a body cut short", "Content-Length: 10", "{}"),
        ("a chunk cut short", chunked, "a\r\n{}"),
    ] {
        cases.push(Case { may_close: true, ..case(name, post(headers, rest), &[400, 408]) });
    }
    cases
}

/// Requests with another one behind them, which would end the session if anything took it for one.
fn smuggled(id: &str) -> Vec<Case> {
    let end = format!("POST /sessman/end?session_id={id} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let behind = |headers: &str| {
        let head = format!("POST /sessman/validate?session_id=x HTTP/1.1\r\nHost: localhost\r\n{headers}");
        format!("{head}\r\n\r\n{:x}\r\n{end}", end.len())
    };
    let lengths = format!("Content-Length: {}\r\nContent-Length: 0", end.len());
    [
        ("a length and chunks", behind("Content-Length: 0\r\nTransfer-Encoding: chunked")),
        ("chunks and a length", behind("Transfer-Encoding: chunked\r\nContent-Length: 5")),
        ("two codings", behind("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity")),
        ("two lengths around a request", behind(&lengths)),
    ]
    .into_iter()
    .map(|(name, request)| Case { may_close: true, ..case(name, request, &[200, 400, 408]) })
    .collect()
}

fn lines_and_headers() -> Vec<Case> {
    let good = "GET /sessman/validate?session_id=x HTTP/1.1\r\nHost: localhost\r\nConnection: close";
    let with = |from: &str, to: &str| format!("{}\r\n\r\n", good.replace(from, to));
    vec![
        case("a good one", with("", ""), &[200]),
        case("two hosts", format!("{good}\r\nHost: localhost\r\n\r\n"), &[400]),
        case("no host", "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", &[400]),
        case("many headers", format!("{good}\r\n{}\r\n", "X-A: b\r\n".repeat(2_000)), &[431]),
        case("a long header", format!("{good}\r\nX-A: {}\r\n\r\n", "b".repeat(200_000)), &[431]),
        case("no HTTP", "hello\r\n\r\n", &[400]),
        case("TLS", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\r\n\r\n", &[400]),
        case("HTTP/3.0", "GET / HTTP/3.0\r\nHost: localhost\r\n\r\n", &[400]),
        case("a space in the target", with("session_id=x", "session_id=x y"), &[400]),
        case("a bad escape", with("session_id=x", "session_id=%zz"), &[400]),
        case("an escape cut short", with("session_id=x", "session_id=%4"), &[400]),
        case("an escape that is no UTF-8", with("session_id=x", "session_id=%ff"), &[400]),
        case("an unknown parameter", with("session_id", "sesion_id"), &[400]),
        case("two ids", with("session_id=x", "session_id=x&token=y"), &[400]),
        case("a long target", with("=x", &format!("={}", "x".repeat(100_000))), &[414, 431]),
    ]
}
