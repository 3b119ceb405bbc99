//! What the log says, in both formats, and what it never says.

use std::fs;

use e2e::pserve::{Pserve, Site, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};

const KEY: &str = "key-that-nobody-logs";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn site(format: &str) -> Site {
    let site = Site::new();
    site.plugin("libhello.so");
    site.write("sessman.json", r#"{ "backend": "memory" }"#);
    site.ini(&ini(format, "serve.log"));
    site
}

fn ini(format: &str, file: &str) -> String {
    format!(
        "[auth]\napikey={KEY}\nallow_query_key=true\n[log]\nlevel=debug\nformat={format}\nfile={file}\naccess=true\n\
         [plugin_parms]\nsessman=json=sessman.json\nhello=auth_type=none"
    )
}

/// Requests that carry ids and keys in every place they can stand in; returns the ids.
fn traffic(pserve: &Pserve) -> Vec<String> {
    let client = pserve.client();
    let keyed = client.with("X-Custom-Auth", KEY);
    let created =
        keyed.post("/sessman/new", json!({ "user": "ada", "data": { "card": "4111-1111" } })).expect(201);
    let id = created.member("session_id");
    keyed.get(&format!("/sessman/get?session_id={id}")).expect(200);
    client.get(&format!("/sessman/get?token={id}&apikey={KEY}")).expect(200);
    keyed.with("X-Session-Id", &id).get("/sessman/get").expect(200);
    keyed.with("Cookie", &format!("PS_SESSID={id}")).get("/sessman/get").expect(200);
    keyed.post("/sessman/update", json!({ "token": id, "data": { "card": "4111-1111" } })).expect(200);
    client.get(&format!("/sessman/{id}?apikey={KEY}")).expect(404);
    client.get(&format!("/{id}")).expect(404);
    client
        .with("Authorization", "Bearer wrong-key-that-nobody-logs")
        .post("/sessman/new", json!({}))
        .expect(401);
    client.send(&format!("X{}", &id[..8]), "/hello", "").expect(405);
    let rotated = keyed.post("/sessman/rotate", json!({ "token": id }));
    let second = rotated.json()["session_id"].as_str().map(str::to_owned);
    keyed.post("/sessman/end", json!({ "token": second.as_deref().unwrap_or(&id) })).expect(200);
    let mut ids = vec![id];
    ids.extend(second);
    ids
}

fn check_silence(log: &str, ids: &[String]) {
    let secrets = ["nobody-logs", "4111-1111", "wrong-key"];
    for secret in ids.iter().map(String::as_str).chain(secrets) {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    // The handle may be there; what follows it in an id may not.
    for id in ids {
        assert!(!log.contains(&id[16..]), "the secret of an id is in the log:\n{log}");
    }
}

#[test]
fn neither_format_tells_an_id_or_a_key() {
    for format in ["text", "json"] {
        let site = site(format);
        let pserve = site.start();
        let ids = traffic(&pserve);
        let file = site.path("serve.log");
        let log = || fs::read_to_string(&file).unwrap();
        eventually("the last request is logged", || log().contains("/sessman/end"));
        let text = log();
        check_silence(&text, &ids);
        let requests = text.lines().filter(|line| line.contains("microseconds")).count();
        assert_eq!(requests, 12, "{text}");
        assert!(pserve.stop().success());
        check_silence(&log(), &ids);
        check_silence(&fs::read_to_string(site.path("pserve.log")).unwrap(), &ids);
        if format == "json" {
            for line in log().lines() {
                let line: Value =
                    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
            }
        }
    }
}

/// The access line of the request with this id.
fn line_of(site: &Site, request: &str) -> Value {
    let mut found = Value::Null;
    eventually("the request is logged", || {
        let log = fs::read_to_string(site.path("serve.log")).unwrap();
        let mut lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        found =
            lines.find(|line| line["request"] == request && line["message"] == "request").unwrap_or_default();
        !found.is_null()
    });
    found
}

#[test]
fn an_access_line_says_who_what_how_long_and_how_it_ended() {
    let site = site("json");
    let pserve = site.start();
    let answer = pserve.client().get("/hello?name=x").expect(200);
    let line = line_of(&site, answer.header("x-request-id").unwrap());
    assert_eq!((&line["method"], &line["route"]), (&"GET".into(), &"/hello".into()));
    assert_eq!((&line["instance"], &line["status"]), (&"hello".into(), &200.into()));
    assert_eq!((&line["client"], &line["bytes"]), (&"127.0.0.1".into(), &answer.text.len().into()));
    assert!(line["microseconds"].is_u64() && line["trace"].is_null(), "{line}");
}

#[test]
fn a_request_id_is_made_or_taken_if_it_can_do_no_harm() {
    let site = site("json");
    let pserve = site.start();
    let client = pserve.client();
    let id = |answer: &e2e::http::Answer| answer.header("x-request-id").expect("an id").to_owned();
    let (one, two) = (id(&client.get("/hello")), id(&client.get("/nowhere").expect(404)));
    assert!(one != two && one.len() == 16, "{one} {two}");
    let given = "6f1c9d2e-of.a_proxy";
    assert_eq!(id(&client.with("X-Request-Id", given).get("/hello")), given);
    assert_eq!(line_of(&site, given)["route"], "/hello");
    for harmful in ["a b", "a\"}{", "a=1", &"x".repeat(65)] {
        let made = id(&client.with("X-Request-Id", harmful).get("/hello"));
        assert_eq!(made.len(), 16, "{harmful}: {made}");
        line_of(&site, &made);
    }
    // An answer of the host's own has one, too.
    assert_eq!(id(&client.with("X-Request-Id", given).get("/healthz").expect(200)), given);
}

#[test]
fn a_trace_is_logged_and_what_is_none_is_not() {
    let site = site("json");
    let pserve = site.start();
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let answer = pserve.client().with("traceparent", &parent).get("/hello").expect(200);
    assert_eq!(line_of(&site, answer.header("x-request-id").unwrap())["trace"], TRACE);
    for bad in
        [&parent[1..], "00-00000000000000000000000000000000-b7ad6b7169203331-01", &parent.to_uppercase()]
    {
        let answer = pserve.client().with("traceparent", bad).get("/hello").expect(200);
        let line = line_of(&site, answer.header("x-request-id").unwrap());
        assert!(line["trace"].is_null(), "{bad}: {line}");
    }
}

#[test]
fn a_reload_changes_file_and_format_and_opens_the_file_anew() {
    let site = site("text");
    let pserve = site.start();
    let read = |name: &str| fs::read_to_string(site.path(name)).unwrap_or_default();
    pserve.client().get("/hello").expect(200);
    eventually("the first file has it", || read("serve.log").contains("microseconds"));
    // As logrotate does it.
    fs::rename(site.path("serve.log"), site.path("old.log")).unwrap();
    pserve.signal(Signal::HUP);
    eventually("the file is there again", || site.path("serve.log").exists());
    eventually("and written to", || {
        pserve.client().get("/hello").expect(200);
        read("serve.log").contains("microseconds")
    });
    let old = read("old.log");

    site.ini(&ini("json", "other.log"));
    pserve.client().with("X-Custom-Auth", KEY).send("POST", "/reload/all", "").expect(200);
    pserve.client().get("/hello").expect(200);
    eventually("the new file has it", || read("other.log").contains("\"microseconds\":"));
    assert_eq!(read("old.log"), old);

    // A file that cannot be opened refuses the reload, and the log goes on.
    site.ini(&ini("text", "none/other.log"));
    let refused = pserve.client().with("X-Custom-Auth", KEY).send("POST", "/reload/all", "").expect(422);
    assert!(refused.member("error").contains("[log] file"), "{refused:?}");
    let answer = pserve.client().get("/hello").expect(200);
    let id = answer.header("x-request-id").unwrap();
    eventually("the log goes on", || read("other.log").contains(id));

    // Nor does a refused reload keep the file from being opened anew.
    fs::rename(site.path("other.log"), site.path("older.log")).unwrap();
    pserve.signal(Signal::HUP);
    eventually("why it was refused is in the new file", || read("other.log").contains("[log] file"));
}
