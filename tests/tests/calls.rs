//! Plugins that call instances of the same host, and tasks of plugins.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use e2e::http::Client;
use e2e::pages::{self, Page};
use e2e::pserve::{Pserve, Site, eventually};
use serde_json::{Value, json};

const KEY: &str = "[auth]\napikey=the-key-of-the-tests\n";

fn keyed(pserve: &Pserve) -> Client {
    pserve.client().with("X-Custom-Auth", "the-key-of-the-tests")
}

fn site(parms: &str) -> Site {
    let site = Site::new();
    site.plugin("libvisits.so");
    site.plugin("libcaller.so");
    site.ini(&format!("{KEY}[network]\nport=0\nthreads=2\n[plugin_parms]\n{parms}\n"));
    site
}

/// A client with a live session of this user, and the session.
fn logged_in(pserve: &Pserve, user: &str) -> (Client, Value) {
    let session = keyed(pserve)
        .post("/sessman/new", json!({ "user_id": user, "data": { "theme": "dark" } }))
        .expect(201)
        .json();
    let id = session["session_id"].as_str().unwrap();
    (pserve.client().with("Cookie", &format!("PS_SESSID={id}")), session)
}

/// What comes of a call that the instance at `path` makes.
fn call(client: &Client, path: &str, call: &Value) -> Value {
    client.post(path, call.clone()).expect(200).json()
}

#[test]
fn a_plugin_counts_visits_in_the_session_of_its_user() {
    let site = site("sessman=backend=memory&audit=true\nvisits=auth_type=session&calls=sessman");
    let pserve = site.start();
    pserve.client().get("/visits").expect(401);
    let (ada, session) = logged_in(&pserve, "ada & co, \u{e9}");
    let (bob, _) = logged_in(&pserve, "bob");
    for visit in 1..=3 {
        let answer = ada.get("/visits").expect(200).json();
        assert_eq!(answer, json!({ "user": "ada & co, \u{e9}", "visits": visit }));
    }
    assert_eq!(bob.get("/visits").expect(200).json()["visits"], 1);
    let id = session["session_id"].as_str().unwrap();
    let read = keyed(&pserve).with("X-Session-Id", id).get("/sessman/get").expect(200).json();
    assert_eq!(read["data"], json!({ "theme": "dark", "visits": 3 }));
    assert_eq!((&read["handle"], &read["version"]), (&session["handle"], &json!(4)));
    // Logged out by the plugin: nobody else is, and the log names the plugin.
    ada.post("/visits/leave", json!({})).expect(204);
    pserve.wait_for_log(&format!(
        "audit: a plugin calls end handle={} from=127.0.0.1 by=visits",
        session["handle"].as_str().unwrap()
    ));
    assert!(!pserve.log().contains("calls update"));
    ada.get("/visits").expect(401);
    bob.get("/visits").expect(200);
    let metrics = keyed(&pserve).get("/metrics").expect(200).text;
    let line = "pserve_plugin_calls_total{plugin_instance=\"visits\",to=\"sessman\",outcome=\"answered\"} ";
    assert!(metrics.lines().any(|found| found.starts_with(line)), "{metrics}");
}

#[test]
fn two_hundred_visits_at_once_while_what_they_need_is_reloaded() {
    const SESSIONS: usize = 100;
    const AT_ONCE: usize = 200;
    const EACH: usize = 5;
    let site = site("sessman=\nvisits=auth_type=session&calls=sessman");
    let pserve = site.start();
    let sessions: Vec<Client> = (0..SESSIONS).map(|n| logged_in(&pserve, &format!("u{n}")).0).collect();
    let (failed, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let visitors: Vec<_> = (0..AT_ONCE)
            .map(|n| {
                let (session, failed) = (sessions[n % SESSIONS].clone(), &failed);
                scope.spawn(move || {
                    for _ in 0..EACH {
                        let answer = session.try_send("GET", "/visits", "");
                        if !answer.is_ok_and(|answer| answer.status == 200) {
                            failed.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                })
            })
            .collect();
        let reloads = scope.spawn(|| {
            let mut reloads = 0;
            while !is_over.load(Ordering::SeqCst) {
                for name in ["sessman", "visits"] {
                    keyed(&pserve).post(&format!("/reload/{name}"), json!({})).expect(200);
                    reloads += 1;
                }
            }
            reloads
        });
        for visitor in visitors {
            visitor.join().unwrap();
        }
        is_over.store(true, Ordering::SeqCst);
        assert!(reloads.join().unwrap() >= 2);
    });
    assert_eq!(failed.load(Ordering::SeqCst), 0, "{}", pserve.log());
    // Each of them was counted, although two came to each session at once.
    for session in &sessions {
        assert_eq!(session.get("/visits").expect(200).json()["visits"], AT_ONCE / SESSIONS * EACH + 1);
    }
    assert!(pserve.stop().success());
}

/// Route, what the call sends, and whether it is answered with (session, service, admin).
const ROUTES: [(&str, &str, [bool; 3]); 9] = [
    ("GET", "validate", [true, true, true]),
    ("POST", "new", [false, true, true]),
    ("GET", "list", [false, false, true]),
    ("GET", "stats", [false, false, true]),
    ("POST", "end-user?user_id=nobody", [false, false, true]),
    ("POST", "cleanup", [false, false, true]),
    ("POST", "clear", [false, false, true]),
    ("GET", "events", [false, false, true]),
    ("GET", "verify", [false, false, false]),
];

#[test]
fn an_instance_may_do_what_its_line_says_and_nothing_else() {
    let site = site(
        "sessman=backend=memory\n\
         as-session=plugin=caller&auth_type=none&calls=sessman\n\
         as-service=plugin=caller&auth_type=none&calls=sessman:service\n\
         as-admin=plugin=caller&auth_type=none&calls=sessman:admin\n\
         as-nobody=plugin=caller&auth_type=none",
    );
    let pserve = site.start();
    let client = pserve.client();
    for (method, path, allowed) in ROUTES {
        let told = json!({ "instance": "sessman", "method": method, "path": path });
        for (name, is_allowed) in ["as-session", "as-service", "as-admin"].into_iter().zip(allowed) {
            for by in ["call", "own"] {
                let came = call(&client, &format!("/{name}/{by}"), &told);
                // Answered, and not with a refusal: `validate` names no session, and `clear` wants to be confirmed.
                let status = match path {
                    "validate" => 401,
                    "new" => 201,
                    "clear" => 400,
                    _ => 200,
                };
                if is_allowed {
                    assert_eq!(came["status"], status, "{name}/{by} {method} {path}: {came}");
                    continue;
                }
                assert_eq!(came["error"], "NotAllowed", "{name}/{by} {method} {path}: {came}");
                let way = if path == "verify" { "auth_type=session" } else { "calls=sessman:" };
                assert!(came["detail"].as_str().unwrap().contains(way), "{came}");
            }
        }
        let came = call(&client, "/as-nobody/call", &told);
        assert_eq!(came["error"], "NotAllowed", "{came}");
        assert!(
            came["detail"].as_str().unwrap().contains("write `calls=sessman` in the line of `as-nobody`")
        );
    }
    // What the key decides over HTTP, the grant decides here.
    let begun = json!({ "instance": "sessman", "method": "POST", "path": "new",
        "body": { "user_id": "eve", "labels": { "tenant": "acme" } } });
    let begun = call(&client, "/as-service/call", &begun);
    assert_eq!((&begun["status"], &begun["body"]["user_id"]), (&json!(201), &json!("eve")));
    assert!(
        begun["set_cookie"].as_str().unwrap().starts_with("PS_SESSID="),
        "for the plugin to pass on: {begun}"
    );
    let handle = &begun["body"]["handle"];
    let patch = |body: Value| json!({ "instance": "sessman", "method": "POST", "path": "update", "session": handle, "body": body });
    // By the handle: any session with `service`, and with `session` none but the request's own.
    let came = call(&client, "/as-service/call", &patch(json!({ "data": { "n": 1 }, "ttl_seconds": 60 })));
    assert_eq!((&came["status"], &came["body"]["data"]), (&json!(200), &json!({ "n": 1 })), "{came}");
    assert_eq!(came["body"]["session_id"], Value::Null);
    for by in ["call", "own"] {
        let came = call(&client, &format!("/as-session/{by}"), &patch(json!({ "data": {} })));
        assert_eq!(came["error"], "NotAllowed", "{came}");
    }
    for (wrong, error) in [
        (json!({ "instance": "sessman", "method": "GET", "path": "nothing" }), "Malformed"),
        (json!({ "instance": "sessman", "method": "DELETE", "path": "new" }), "Malformed"),
        (json!({ "instance": "sessman", "method": "GET", "path": "../hello" }), "Malformed"),
        (json!({ "instance": "sessman", "method": "G T", "path": "get" }), "Malformed"),
        (
            json!({ "instance": "sessman", "method": "GET", "path": "get", "headers": { "a b": "c" } }),
            "Malformed",
        ),
        (
            json!({ "instance": "sessman", "method": "GET", "path": "get", "headers": { "a": "c\r\nd: e" } }),
            "Malformed",
        ),
        (json!({ "instance": "sessman", "method": "GET", "path": "get#x" }), "Malformed"),
        (json!({ "instance": "sessman", "method": "GET", "path": "get\nforged" }), "Malformed"),
        (json!({ "instance": "sess\nman", "method": "GET", "path": "get" }), "Malformed"),
        (json!({ "instance": "as-nobody", "method": "GET", "path": "called" }), "NotAllowed"),
        (json!({ "instance": "", "method": "GET", "path": "get" }), "NoSession"),
    ] {
        let came = call(&client, "/as-service/call", &wrong);
        assert_eq!(came["error"], error, "{wrong}: {came}");
    }
    // A handle and an id in one call name two sessions; a handle that is none names no session.
    let id = begun["body"]["session_id"].as_str().unwrap();
    let both = json!({ "instance": "sessman", "method": "GET", "path": "get", "session": handle, "headers": { "x-session-id": id } });
    assert_eq!(call(&client, "/as-service/call", &both)["status"], 400);
    for none in ["", "x", "AAAAAAAAAAAAAAAA"] {
        let came = json!({ "instance": "sessman", "method": "GET", "path": "get", "session": none });
        let status = call(&client, "/as-service/call", &came)["status"].clone();
        assert_eq!(status, if none.is_empty() { 401 } else { 404 }, "{none}");
    }
}

#[test]
fn the_session_of_the_request_is_the_only_one_and_its_terms_are_not_the_plugins() {
    let site = site(
        "sessman=backend=memory&client_access=none\n\
         guarded=plugin=caller&auth_type=session&calls=sessman",
    );
    let pserve = site.start();
    let (ada, session) = logged_in(&pserve, "ada");
    let (_, other) = logged_in(&pserve, "bob");
    let on = |handle: &Value, method: &str, path: &str, body: Value| {
        let told = json!({ "instance": "", "method": method, "path": path, "session": handle, "body": body });
        call(&ada, "/guarded/call", &told)
    };
    // Although visitors may do nothing with their ids here.
    let read = on(&session["handle"], "GET", "get", Value::Null);
    assert_eq!((&read["status"], &read["body"]["user_id"]), (&json!(200), &json!("ada")), "{read}");
    assert_eq!(read["body"]["session_id"], Value::Null);
    assert_eq!(on(&session["handle"], "POST", "update", json!({ "data": { "a": 1 } }))["status"], 200);
    for terms in [
        json!({ "ttl_seconds": 9 }),
        json!({ "idle_seconds": 9 }),
        json!({ "persistent": true }),
        json!({ "metadata": { "a": 1 } }),
        json!({ "labels": { "a": "b" } }),
    ] {
        for path in ["update", "touch", "rotate"] {
            assert_eq!(on(&session["handle"], "POST", path, terms.clone())["status"], 401, "{path} {terms}");
        }
    }
    // A new id is for whoever can give it to the client.
    assert_eq!(on(&session["handle"], "POST", "rotate", json!({}))["status"], 401);
    assert_eq!(on(&session["handle"], "POST", "rotate", json!({ "user_id": "eve" }))["status"], 401);
    assert_eq!(on(&other["handle"], "GET", "get", Value::Null)["error"], "NotAllowed");
    // As a client, with the client's own cookie: the id alone opens nothing here.
    let as_client = json!({ "instance": "sessman", "method": "GET", "path": "get" });
    assert_eq!(call(&ada, "/guarded/call", &as_client)["status"], 401);
    // What concerns the user's other sessions is for whom `client_access` opens it.
    assert_eq!(on(&session["handle"], "GET", "mine", Value::Null)["status"], 401);
    assert_eq!(on(&session["handle"], "POST", "mine/end", json!({ "others": true }))["status"], 401);
    assert_eq!(on(&session["handle"], "POST", "end", json!({}))["status"], 200);
    ada.get("/guarded/called").expect(401);
}

#[test]
fn a_call_carries_the_client_and_nothing_that_it_could_forge() {
    let site = site(
        "sessman=backend=memory\n\
         caller=auth_type=none&calls=target:service,guarded\n\
         target=plugin=caller\n\
         guarded=plugin=caller&auth_type=session",
    );
    let pserve = site.start();
    let client = pserve.client();
    client.get("/target/called").expect(200);
    let told = |session: Value, path: &str| json!({ "instance": "target", "method": "GET", "path": path, "session": session });
    let from = client
        .with("Cookie", "PS_SESSID=abc")
        .with("X-Request-Id", "r-1")
        .with("X-Session-User", "eve")
        .with("Authorization", "Bearer of-the-client")
        .with("X-Admin-Key", "of-the-client");
    let seen = call(&from, "/caller/call", &told(Value::Null, "called?a=1%202"))["body"].clone();
    assert_eq!(
        seen,
        json!({
            "by": "caller", "grant": "Service", "session": null, "caller": "Keyed", "address": "127.0.0.1",
            "request_id": "r-1", "path": "/target/called", "query": "a=1%202", "user": null,
            "cookie": "PS_SESSID=abc", "seconds_left": seen["seconds_left"],
            "headers": ["cookie", "user-agent", "x-request-id"],
        })
    );
    // A session that is named by its handle is meant alone.
    let seen = call(&from, "/caller/call", &told(json!("AAAAAAAAAAAAAAAA"), "called"))["body"].clone();
    assert_eq!((&seen["session"], &seen["cookie"]), (&json!("AAAAAAAAAAAAAAAA"), &Value::Null));
    // Of its own: nobody's address, and a request id of its own.
    let seen = call(&from, "/caller/own", &told(Value::Null, "called"))["body"].clone();
    assert_eq!(
        (&seen["address"], &seen["cookie"], &seen["by"]),
        (&Value::Null, &Value::Null, &json!("caller"))
    );
    assert_ne!(seen["request_id"], "r-1");
    // Sessions guard it, and no session opened this request.
    let guarded = json!({ "instance": "guarded", "method": "GET", "path": "called" });
    assert_eq!(call(&from, "/caller/call", &guarded)["error"], "NotAllowed");
    // A client is no plugin, whatever it sends.
    let client = keyed(&pserve).with("X-Called", "caller");
    assert_eq!(client.get("/target/called").expect(200).json()["by"], Value::Null);
}

#[test]
fn calls_go_in_one_direction() {
    for (parms, said) in [
        ("caller=calls=caller", "caller: calls: it would call itself"),
        (
            "a=plugin=caller&calls=b\nb=plugin=caller&calls=c\nc=plugin=caller&calls=a",
            "b: calls: it would call itself",
        ),
        ("caller=calls=sesman", "there is no instance `sesman`; did you mean `sessman`?"),
        ("caller=calls=sessman:root", "calls: `root`: expected session, service or admin"),
        ("caller=calls=sessman,sessman:admin", "`sessman` is there twice"),
        ("caller=calls=", "expected the name of an instance"),
    ] {
        let site = site(&format!("sessman=backend=memory\n{parms}"));
        let pserve = site.start();
        pserve.client().get("/caller/called").expect(if parms.starts_with("a=") { 404 } else { 503 });
        keyed(&pserve).post("/sessman/new", json!({})).expect(201);
        let log = pserve.log();
        assert!(log.contains(said.split_once(": ").map_or(said, |(_, said)| said)), "{said}: {log}");
    }
}

#[test]
fn streams_pass_through_and_end_with_their_source() {
    let site = site("sessman=backend=memory\ncaller=auth_type=none&calls=sessman:admin");
    let pserve = site.start();
    let client = pserve.client();
    thread::scope(|scope| {
        let read = scope.spawn(|| client.get("/caller/stream").expect(200).text);
        // The stream is there once somebody hears of sessions.
        eventually("the stream is open", || {
            keyed(&pserve).post("/sessman/new", json!({ "user_id": "ada" })).expect(201);
            thread::sleep(Duration::from_millis(50));
            keyed(&pserve).get("/metrics").expect(200).text.contains("to=\"sessman\",outcome=\"answered\"} 1")
        });
        let begun = keyed(&pserve).post("/sessman/new", json!({ "user_id": "ada" })).expect(201);
        keyed(&pserve).post("/reload/sessman", json!({})).expect(200);
        assert!(read.join().unwrap().contains(&begun.member("handle")));
    });
}

#[test]
fn tasks_run_from_activation_to_deactivation_and_callers_stop_before_those_they_call() {
    let site = site("sessman=backend=memory\ncaller=auth_type=none&calls=sessman:admin&task=sessman");
    let pserve = site.start();
    let done = || pserve.client().get("/caller").expect(200).text.parse::<u64>().unwrap();
    eventually("the task runs", || done() >= 3);
    // While what it calls is replaced, it waits; nothing fails.
    for _ in 0..5 {
        keyed(&pserve).post("/reload/sessman", json!({})).expect(200);
    }
    let before = done();
    eventually("the task goes on", || done() > before + 3);
    // Both are replaced at once, and the old task ends before the old sessman does.
    site.write("more", "");
    site.ini(&format!(
        "{KEY}[network]\nport=0\nthreads=2\n[plugin_parms]\nsessman=backend=memory&session_ttl=60\ncaller=auth_type=none&calls=sessman:admin&task=sessman&more=1\n"
    ));
    let report = keyed(&pserve).post("/reload/all", json!({})).expect(200).json();
    assert_eq!(report["reloaded"].as_array().map(Vec::len), Some(2), "{report}");
    eventually("the new task runs", || done() >= 3);
    keyed(&pserve).post("/unload/caller", json!({})).expect(200);
    let stats = || {
        let metrics = keyed(&pserve).get("/metrics").expect(200).text;
        let line =
            "pserve_plugin_calls_total{plugin_instance=\"caller\",to=\"sessman\",outcome=\"answered\"} ";
        metrics.lines().find_map(|found| found.strip_prefix(line).map(str::to_owned)).unwrap()
    };
    let ended = stats();
    thread::sleep(Duration::from_millis(200));
    assert_eq!(stats(), ended, "an unloaded plugin has no tasks");
    keyed(&pserve).post("/load/caller", json!({})).expect(200);
    eventually("the task runs again", || done() >= 1);
    let metrics = keyed(&pserve).get("/metrics").expect(200).text;
    for outcome in ["unavailable", "late", "failed", "not_allowed", "malformed"] {
        assert!(!metrics.contains(&format!("outcome=\"{outcome}\"")), "{metrics}");
    }
    assert!(pserve.stop().success());
}

/// Both instances are another by this configuration.
fn change_both(site: &Site, parms: &str) {
    site.ini(&format!(
        "{KEY}[network]\nport=0\nthreads=2\n[plugin_parms]\nsessman=session_ttl=60\ncaller=auth_type=none&calls=sessman:admin&more=1{parms}\n"
    ));
}

#[test]
fn an_instance_may_call_while_it_is_activated_and_deactivated() {
    let parms = "&edges=sessman&bomb=yes";
    let site = site(&format!("sessman=\ncaller=auth_type=none&calls=sessman:admin{parms}"));
    let pserve = site.start();
    change_both(&site, parms);
    let report = keyed(&pserve).post("/reload/all", json!({})).expect(200).json();
    assert_eq!(report["reloaded"].as_array().map(Vec::len), Some(2), "{report}");
    keyed(&pserve).post("/reload/caller", json!({})).expect(200);
    keyed(&pserve).post("/reload/sessman", json!({})).expect(200);
    keyed(&pserve).post("/unload/caller", json!({})).expect(200);
    keyed(&pserve).post("/load/caller", json!({})).expect(200);
    let log = pserve.log();
    assert_eq!(
        (log.matches("at the start: 200").count(), log.matches("at the end: 200").count()),
        (4, 3),
        "{log}"
    );
    // It has had a task that panics when it is dropped, each time.
    assert!(log.contains("this task panics in drop"), "{log}");
    pserve.client().get("/caller/called").expect(200);
    assert!(pserve.stop().success());
}

#[test]
fn a_reload_that_a_caller_refuses_leaves_those_that_it_calls_as_they_are() {
    let site = site("sessman=\ncaller=auth_type=none&calls=sessman:admin&clings=yes");
    let pserve = site.start();
    let id = keyed(&pserve).post("/sessman/new", json!({})).expect(201).member("session_id");
    change_both(&site, "&clings=yes");
    for _ in 0..2 {
        let refused = keyed(&pserve).post("/reload/all", json!({}));
        assert!(refused.status >= 400 && refused.text.contains("did not let go"), "{refused:?}");
        // Not activated a second time: its file is its own, and its sessions are there.
        keyed(&pserve).with("X-Session-Id", &id).get("/sessman/get").expect(200);
        pserve.client().get("/readyz").expect(200);
    }
    assert!(!pserve.log().contains("not active again"), "{}", pserve.log());
    // By itself it can be replaced.
    keyed(&pserve).post("/reload/sessman", json!({})).expect(200);
    keyed(&pserve).with("X-Session-Id", &id).get("/sessman/get").expect(200);
}

#[test]
fn a_plugin_may_wait_for_a_call_on_a_thread_of_its_own() {
    let site = site("sessman=\ncaller=auth_type=none&calls=sessman:service");
    let pserve = site.start();
    // A write to the file is not answered at once, so that the call waits with a timer.
    let begun =
        json!({ "instance": "sessman", "method": "POST", "path": "new", "body": { "user_id": "ada" } });
    let came = call(&pserve.client(), "/caller/thread", &begun);
    assert_eq!((&came["status"], &came["body"]["user_id"]), (&json!(201), &json!("ada")), "{came}");
}

#[test]
fn what_does_not_serve_is_said_to_the_caller_and_to_its_client() {
    let site = site(
        "sessman=backend=memory\nvisits=auth_type=session&calls=sessman\ncaller=auth_type=none&calls=sessman",
    );
    let pserve = site.start();
    let (ada, _) = logged_in(&pserve, "ada");
    ada.get("/visits").expect(200);
    site.ini(&format!("{KEY}[plugin_parms]\nsessman=backend=memory\nvisits=auth_type=session\ncaller=auth_type=none&calls=sessman"));
    keyed(&pserve).post("/reload/visits", json!({})).expect(200);
    // Not allowed any more: the log says what to write, and the client learns nothing of it.
    let (ada, _) = logged_in(&pserve, "ada");
    let refused = ada.get("/visits").expect(500).member("error");
    assert!(!refused.contains("calls"), "{refused}");
    pserve.wait_for_log("write `calls=sessman` in the line of `visits` in [plugin_parms]");
}

#[test]
fn the_code_of_the_page_is_that_of_the_example() {
    let plain = |code: &str| code.split_whitespace().collect::<String>();
    let example = plain(&pages::read("plugins/visits/src/lib.rs"));
    let (mut compared, page) = (0, pages::read("docs/sessions-in-plugins.md"));
    for block in (Page { path: "docs/sessions-in-plugins.md".into(), text: page }).blocks() {
        if block.language == "rust" && block.not_run.is_none() {
            assert!(example.contains(&plain(&block.text)), "not in the example: {}", block.text);
            compared += 1;
        }
    }
    assert!(compared >= 2);
}
