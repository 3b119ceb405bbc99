//! Hostile requests: each has one clear answer, none is a 5xx, and nothing is changed by them.

use e2e::hostile::{MAX_BODY, cases};
use e2e::http::{Client, exchange, status};
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
        site.ini(&format!(
            "[limits]\nmax_body={MAX_BODY}\nheader_timeout=2\nrequest_timeout=3\n[plugin_parms]\nsessman=json=sessman.json"
        ));
        let pserve = site.start();
        let client = pserve.client();
        let id = client.post("/sessman/new", json!({ "user": "ada", "data": { "kept": true } })).expect(201);
        Self { id: id.member("session_id"), pserve, client, _site: site }
    }

    /// It lives, and the session is as it was.
    fn is_unharmed(&self) {
        let session = self.client.get(&format!("/sessman/get?token={}", self.id)).expect(200).json();
        assert_eq!((&session["version"], &session["data"]), (&json!(1), &json!({ "kept": true })));
        assert!(!self.pserve.log().contains("panicked"), "{}", self.pserve.log());
    }
}

#[test]
fn every_hostile_request_has_one_clear_answer() {
    let target = Target::new();
    for case in cases(&target.id) {
        let answer = exchange(target.pserve.address(), &case.request, case.may_close);
        assert!(!answer.contains("\"ended\":true"), "{}: {answer}", case.name);
        if answer.is_empty() {
            assert!(case.may_close, "{}: closed without an answer", case.name);
            continue;
        }
        let status = status(&answer).unwrap_or_else(|| panic!("{}: {answer:?}", case.name));
        assert!(case.statuses.contains(&status), "{}: {answer}", case.name);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let is_problem = head.contains("content-type: application/problem+json");
        assert!(status < 400 || is_problem && body.contains("\"error\":"), "{}: {answer}", case.name);
    }
    target.is_unharmed();
}

#[test]
fn requests_that_come_at_once_are_answered_in_their_order() {
    let target = Target::new();
    let get = format!("GET /sessman/get HTTP/1.1\r\nHost: localhost\r\nX-Session-Id: {}\r\n\r\n", target.id);
    // The answer to this one does not wait for its body.
    let refused = "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n1234";
    let last = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for (end, statuses) in
        [(last, vec![200, 200, 404, 200, 200]), ("no HTTP\r\n\r\n", vec![200, 200, 404, 200, 400])]
    {
        let requests = [&get, &get, refused, &get, end].concat();
        let answers = exchange(target.pserve.address(), requests.as_bytes(), false);
        let found: Vec<u16> =
            answers.match_indices("HTTP/1.1 ").filter_map(|(at, _)| status(&answers[at..])).collect();
        assert_eq!(found, statuses, "{answers}");
        assert_eq!(answers.matches("\"kept\":true").count(), 3, "{answers}");
    }
    // Many more than wait for each other.
    let many = format!("{}{last}", get.repeat(500));
    let answers = exchange(target.pserve.address(), many.as_bytes(), false);
    assert_eq!(
        (answers.matches("HTTP/1.1 200").count(), answers.matches("\"kept\":true").count()),
        (501, 500)
    );
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
