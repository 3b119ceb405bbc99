//! How long a session lasts, and how that changes while it lives: ttl, idle timeout, remember me; by whom.

use std::time::Duration;

use e2e::clock::millis;
use e2e::http::{Answer, Client};
use e2e::on_every_store;
use e2e::pserve::{Pserve, Site};
use e2e::store::Store;
use serde_json::{Value, json};

on_every_store!(
    the_terms_of_a_live_session_change,
    a_session_ends_when_its_terms_say,
    terms_have_limits,
    an_id_that_the_caller_chose_becomes_a_generated_one,
    terms_and_a_login_are_one_write,
    a_session_moves_to_another_id_that_the_caller_chose,
);

fn serve(config: &Value, more: Value) -> (Site, Pserve, Client) {
    let mut config = config.clone();
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let site = Site::new();
    site.sessman(&config.to_string());
    let pserve = site.start();
    let client = pserve.client();
    (site, pserve, client)
}

/// Seconds from the last activity to the end.
fn lasts(answer: &Answer) -> f64 {
    (millis(&answer.member("expires_at")) - millis(&answer.member("last_activity"))) as f64 / 1_000.0
}

fn of(client: &Client, session: &Answer) -> Client {
    client.with("X-Session-Id", &session.member("session_id"))
}

fn the_terms_of_a_live_session_change(_: Store, config: Value) {
    let (_site, _pserve, client) =
        serve(&config, json!({ "max_sessions_per_user": 1, "session_ttl": 1_000, "on_limit": "reject" }));
    let metadata = json!({ "client_ip": "192.0.2.1", "a": 1 });
    let begun = client
        .post(
            "/sessman/new",
            json!({ "user": "ada", "ttl_seconds": 100, "metadata": metadata, "data": { "n": 1 } }),
        )
        .expect(201);
    assert_eq!(
        (begun.json()["persistent"].clone(), begun.json()["labels"].clone()),
        (json!(false), json!({}))
    );
    assert!((99.9..100.1).contains(&lasts(&begun)), "{}", lasts(&begun));
    let session = of(&client, &begun);
    let steps = [
        ("touch", json!({ "ttl_seconds": 50 }), 50.0, 1),
        ("update", json!({ "ttl_seconds": 2_000 }), 2_000.0, 1),
        ("touch", json!({}), 2_000.0, 1),
        ("update", json!({ "idle_seconds": 30, "data": { "n": 2 } }), 30.0, 2),
        ("touch", json!({ "metadata": { "a": null, "b": 2 } }), 30.0, 3),
        (
            "update",
            json!({ "data": { "m": 3 }, "mode": "merge", "persistent": true, "idle_seconds": 0 }),
            2_000.0,
            4,
        ),
        ("touch", json!({ "persistent": true }), 2_000.0, 4),
    ];
    for (route, body, expected, version) in steps {
        let changed = session.post(&format!("/sessman/{route}"), body.clone()).expect(200);
        let lasts = lasts(&changed);
        assert!((expected - 0.1..expected + 0.1).contains(&lasts), "{body}: {lasts}");
        assert_eq!(changed.json()["version"], version, "{body}");
        let read = session.get("/sessman/get").expect(200).json();
        for member in ["handle", "created_at", "user_id", "auth_time"] {
            assert_eq!(read[member], begun.json()[member], "{member} after {body}");
        }
        for member in ["expires_at", "persistent", "metadata", "data", "version", "labels"] {
            assert_eq!(read[member], changed.json()[member], "{member} after {body}");
        }
    }
    let read = session.get("/sessman/get").expect(200).json();
    assert_eq!(read["metadata"]["b"], 2);
    assert_eq!((&read["metadata"]["a"], &read["metadata"]["client_ip"]), (&Value::Null, &json!("192.0.2.1")));
    assert_eq!((&read["data"], &read["persistent"]), (&json!({ "n": 2, "m": 3 }), &json!(true)));
    // It still has the one place of its user.
    client.post("/sessman/new", json!({ "user": "ada" })).expect(409);
    // Nothing to change is an error, not a touch by mistake.
    assert!(
        session.post("/sessman/update", json!({})).expect(400).member("error").contains("nothing to change")
    );
}

fn a_session_ends_when_its_terms_say(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config, json!({ "session_ttl": 60 }));
    let begin = || client.post("/sessman/new", json!({ "user": "ada" })).expect(201);
    let [short, idle, used, long] = [begin(), begin(), begin(), begin()];
    of(&client, &short).post("/sessman/touch", json!({ "ttl_seconds": 1 })).expect(200);
    of(&client, &idle).post("/sessman/touch", json!({ "idle_seconds": 1 })).expect(200);
    of(&client, &used).post("/sessman/touch", json!({ "idle_seconds": 1 })).expect(200);
    of(&client, &long).post("/sessman/touch", json!({ "ttl_seconds": 1 })).expect(200);
    of(&client, &long).post("/sessman/touch", json!({ "ttl_seconds": 60 })).expect(200);
    // A session with an idle timeout of its own lives on as long as it is read.
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(200));
        of(&client, &used).get("/sessman/get").expect(200);
    }
    of(&client, &short).get("/sessman/get").expect(404);
    of(&client, &idle).get("/sessman/get").expect(404);
    of(&client, &long).get("/sessman/get").expect(200);
    of(&client, &short).post("/sessman/touch", json!({ "ttl_seconds": 60 })).expect(404);
    std::thread::sleep(Duration::from_millis(1_200));
    of(&client, &used).get("/sessman/get").expect(404);
}

fn terms_have_limits(_: Store, config: Value) {
    let rules = json!({ "session_ttl": 100, "max_ttl": 200, "idle_timeout": 50, "absolute_ttl": 150 });
    let (site, pserve, client) = serve(&config, rules.clone());
    let begun = client.post("/sessman/new", json!({ "user": "ada", "idle_seconds": 20 })).expect(201);
    assert!((19.9..20.1).contains(&lasts(&begun)));
    let session = of(&client, &begun);
    for (member, value) in [
        ("ttl_seconds", 0),
        ("ttl_seconds", 201),
        ("idle_seconds", 0),
        ("idle_seconds", 51),
        ("ttl_seconds", -1),
    ] {
        for route in ["update", "touch", "rotate"] {
            let refused = session.post(&format!("/sessman/{route}"), json!({ member: value })).expect(400);
            assert!(refused.member("error").contains(member), "{}", refused.member("error"));
        }
        client.post("/sessman/new", json!({ member: value })).expect(400);
    }
    // What was refused has changed nothing.
    assert_eq!(session.get("/sessman/get").expect(200).json()["version"], 1);
    let cut = session.post("/sessman/touch", json!({ "ttl_seconds": 200, "idle_seconds": 50 })).expect(200);
    let to_the_end = millis(&cut.member("expires_at")) - millis(&cut.member("created_at"));
    assert!(lasts(&cut) <= 50.0 && to_the_end <= 150_000);
    drop(pserve);
    let mut config = config.clone();
    config.as_object_mut().unwrap().extend(rules.as_object().unwrap().clone());
    // Without an idle timeout, and with what it is cut to.
    config.as_object_mut().unwrap().extend(
        json!({ "on_max_ttl": "cut", "max_idle": 0, "absolute_ttl": 10_000 }).as_object().unwrap().clone(),
    );
    site.sessman(&config.to_string());
    let pserve = site.start();
    let client = pserve.client();
    let begun =
        client.post("/sessman/new", json!({ "ttl_seconds": 1_000_000, "idle_seconds": 0 })).expect(201);
    assert!((199.9..200.1).contains(&lasts(&begun)), "{}", lasts(&begun));
    let forever = u64::MAX >> 1;
    of(&client, &begun).post("/sessman/touch", json!({ "idle_seconds": forever })).expect(400);
    let put_off = of(&client, &begun).post("/sessman/touch", json!({ "ttl_seconds": 201 })).expect(200);
    assert!((199.9..200.1).contains(&lasts(&put_off)));
}

fn an_id_that_the_caller_chose_becomes_a_generated_one(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config, json!({ "max_sessions_per_user": 2 }));
    let chosen = "a-framework-chose-this-id";
    let begun = client
        .post("/sessman/new", json!({ "external_id": chosen, "user": "ada", "data": { "cart": [1] } }))
        .expect(201);
    let rotated = client
        .with("X-Session-Id", chosen)
        .post("/sessman/rotate", json!({ "ttl_seconds": 77, "labels": { "device": "phone" } }))
        .expect(200);
    assert_eq!(rotated.member("handle"), begun.member("handle"));
    assert!((76.9..77.1).contains(&lasts(&rotated)));
    client.with("X-Session-Id", chosen).get("/sessman/get").expect(404);
    let read = of(&client, &rotated).get("/sessman/get").expect(200).json();
    assert_eq!((&read["data"], &read["labels"]), (&json!({ "cart": [1] }), &json!({ "device": "phone" })));
    // The id that was chosen is free again when the session has ended.
    client.post("/sessman/new", json!({ "external_id": chosen })).expect(409);
    client.post("/sessman/new", json!({ "user": "ada" })).expect(201);
    of(&client, &rotated).post("/sessman/end", json!({})).expect(200);
    client.post("/sessman/new", json!({ "external_id": chosen, "user": "ada" })).expect(201);
    let mine = client.with("X-Session-Id", chosen).get("/sessman/mine").expect(200).json();
    assert_eq!(mine["sessions"].as_array().unwrap().len(), 2);
}

fn terms_and_a_login_are_one_write(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config, json!({ "max_sessions_per_user": 1, "session_ttl": 600 }));
    let first = client.post("/sessman/new", json!({ "user": "ada" })).expect(201);
    let visitor = client.post("/sessman/new", json!({ "data": { "cart": [7] } })).expect(201);
    let body = json!({
        "user": "ada", "ttl_seconds": 3_000, "persistent": true, "labels": { "tenant": "acme" }, "metadata": { "x": 1 },
    });
    let login = of(&client, &visitor).post("/sessman/rotate", body).expect(200).json();
    assert_eq!((&login["user_id"], &login["persistent"]), (&json!("ada"), &json!(true)));
    assert_eq!((&login["labels"], &login["metadata"]["x"]), (&json!({ "tenant": "acme" }), &json!(1)));
    assert_eq!((&login["version"], &login["data"]), (&json!(2), &json!({ "cart": [7] })));
    of(&client, &first).get("/sessman/get").expect(404);
    of(&client, &visitor).get("/sessman/get").expect(404);
}

fn a_session_moves_to_another_id_that_the_caller_chose(_: Store, config: Value) {
    let rules = json!({ "max_sessions_per_user": 2, "on_limit": "reject" });
    let (_site, _pserve, client) = serve(&config, rules);
    let [first, second, taken] =
        ["the-first-id-chosen-here", "the-second-id-chosen-here", "an-id-of-somebody-else"];
    client.post("/sessman/new", json!({ "external_id": taken, "user": "bob" })).expect(201);
    let body =
        json!({ "external_id": first, "user": "ada", "data": { "cart": [1] }, "labels": { "device": "x" } });
    let begun = client.post("/sessman/new", body).expect(201);
    client.post("/sessman/new", json!({ "user": "ada" })).expect(201);
    let by = |id: &str| client.with("X-Session-Id", id);
    for there in [taken, first] {
        by(first).post("/sessman/rotate", json!({ "external_id": there })).expect(409);
    }
    // Its user is at the limit, and it takes no second place.
    let body = json!({ "external_id": second, "ttl_seconds": 77, "labels": { "tenant": "acme" } });
    let moved = by(first).post("/sessman/rotate", body).expect(200);
    assert_ne!(moved.member("handle"), begun.member("handle"));
    assert!((76.9..77.1).contains(&lasts(&moved)));
    by(first).get("/sessman/get").expect(404);
    let read = by(second).get("/sessman/get").expect(200).json();
    for member in ["data", "created_at", "auth_time", "user_id", "metadata"] {
        assert_eq!(read[member], begun.json()[member], "{member}");
    }
    assert_eq!(read["labels"], json!({ "device": "x", "tenant": "acme" }));
    client.post("/sessman/new", json!({ "user": "ada" })).expect(409);
    assert_eq!(by(second).get("/sessman/mine").expect(200).json()["sessions"].as_array().unwrap().len(), 2);
    // Back again, and from a generated id to a chosen one, with a login.
    by(second).post("/sessman/rotate", json!({ "external_id": first })).expect(200);
    by(first).post("/sessman/end", json!({})).expect(200);
    let visitor = client.post("/sessman/new", json!({ "data": 7 })).expect(201);
    let login = json!({ "external_id": second, "user": "ada" });
    let login = of(&client, &visitor).post("/sessman/rotate", login).expect(200).json();
    assert_eq!((&login["data"], &login["user_id"]), (&json!(7), &json!("ada")));
    of(&client, &visitor).get("/sessman/get").expect(404);
    let visitor = client.post("/sessman/new", json!({})).expect(201);
    let third = json!({ "external_id": first, "user": "ada" });
    of(&client, &visitor).post("/sessman/rotate", third).expect(409);
    of(&client, &visitor).get("/sessman/get").expect(200);
    by(first).get("/sessman/get").expect(404);
    by(second).get("/sessman/get").expect(200);
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A service with a key, whose visitors may do all that a visitor may.
fn keyed(config: Value) -> (Site, Pserve, Client, Client) {
    let site = Site::new();
    site.ini(&format!("[auth]\napikey={KEY}\n[plugin_parms]\nsessman=json=sessman.json"));
    site.write("sessman.json", config.to_string());
    let pserve = site.start();
    let client = pserve.client();
    let service = client.with("Authorization", &format!("Bearer {KEY}"));
    (site, pserve, client, service)
}

#[test]
fn a_visitor_decides_neither_terms_nor_labels_nor_ids() {
    for access in ["none", "read", "write"] {
        let (_site, _pserve, client, service) =
            keyed(json!({ "backend": "memory", "client_access": access }));
        let begun = service
            .post("/sessman/new", json!({ "user": "ada", "labels": { "tenant": "acme" } }))
            .expect(201);
        let id = begun.member("session_id");
        let by_header = client.with("X-Session-Id", &id);
        let by_cookie = client.with("Cookie", &format!("PS_SESSID={id}"));
        let members = [
            ("ttl_seconds", json!(1_000)),
            ("ttl_seconds", json!(1)),
            ("idle_seconds", json!(1_000)),
            ("idle_seconds", json!(0)),
            ("persistent", json!(true)),
            ("metadata", json!({ "client_ip": "192.0.2.9" })),
            ("labels", json!({ "tenant": "other" })),
            ("labels", json!({ "tenant": null })),
        ];
        for (member, value) in &members {
            for route in ["update", "touch", "rotate"] {
                for visitor in [&by_header, &by_cookie] {
                    let mut body = json!({ *member: value });
                    if route == "update" {
                        body["data"] = json!({ "x": 1 });
                    }
                    let refused = visitor.post(&format!("/sessman/{route}"), body);
                    assert_eq!(refused.status, 401, "{access}: {route} {member}");
                }
            }
            if value.is_number() || value.is_boolean() {
                for (path, body) in [
                    (format!("update?{member}={value}"), r#"{"data":{"x":1}}"#),
                    (format!("touch?{member}={value}"), ""),
                ] {
                    let refused = by_header.send("POST", &format!("/sessman/{path}"), body);
                    assert_eq!(refused.status, 401, "{access}: {path}");
                }
            }
            client.post("/sessman/new", json!({ *member: value })).expect(401);
        }
        for (route, body) in [
            ("rotate", json!({ "user": "ada" })),
            ("rotate", json!({ "external_id": "a-framework-chose-this-id" })),
            ("new", json!({ "external_id": "a-framework-chose-this-id" })),
        ] {
            let status = by_header.post(&format!("/sessman/{route}"), body).status;
            assert!([400, 401].contains(&status), "{access}: {route} {status}");
        }
        for (method, path) in [
            ("GET", "list?label=tenant:acme"),
            ("GET", "stats?label=tenant:acme"),
            ("POST", "end-sessions?label=tenant:acme&dry_run=yes"),
        ] {
            let refused = by_header.send(method, &format!("/sessman/{path}"), "");
            assert!([401, 403].contains(&refused.status), "{access}: {path} {}", refused.status);
        }
        let session = service.with("X-Session-Id", &id).get("/sessman/get").expect(200).json();
        for member in ["labels", "persistent", "metadata", "version", "data", "user_id"] {
            assert_eq!(session[member], begun.json()[member], "{access}: {member}");
        }
    }
}

/// The seconds of `Max-Age` in the cookie that an answer sets; `None` for a cookie without, or no cookie.
fn max_age(answer: &Answer) -> Option<u64> {
    let cookie = answer.header("set-cookie")?;
    cookie.split("; ").find_map(|part| part.strip_prefix("Max-Age=")?.parse().ok())
}

#[test]
fn the_cookie_of_a_persistent_session_lasts_as_long_as_the_session() {
    let (_site, _pserve, client) = serve(&json!({ "backend": "memory" }), json!({ "session_ttl": 500 }));
    let plain = client.post("/sessman/new", json!({})).expect(201);
    assert!(plain.header("set-cookie").is_some());
    assert_eq!(max_age(&plain), None);
    let begun = client.post("/sessman/new", json!({ "persistent": true, "ttl_seconds": 100 })).expect(201);
    assert_eq!(max_age(&begun), Some(100));
    let id = begun.member("session_id");
    let browser = client.with("Cookie", &format!("PS_SESSID={id}"));
    let touched = browser.post("/sessman/touch", json!({ "ttl_seconds": 200 })).expect(200);
    assert_eq!(max_age(&touched), Some(200));
    assert!(touched.header("set-cookie").unwrap().starts_with(&format!("PS_SESSID={id}; ")));
    assert_eq!(max_age(&browser.post("/sessman/update", json!({ "data": {} })).expect(200)), Some(200));
    // Reading moves no end here, and who brings the id in another way has no cookie.
    assert_eq!(browser.get("/sessman/get").expect(200).header("set-cookie"), None);
    let by_header = client.with("X-Session-Id", &id);
    assert_eq!(by_header.post("/sessman/touch", json!({})).expect(200).header("set-cookie"), None);
    // A page of another origin sets none.
    let foreign = by_header.with("Cookie", &format!("PS_SESSID={id}")).with("Origin", "https://evil.example");
    let foreign = foreign.with("Sec-Fetch-Site", "cross-site").post("/sessman/touch", json!({}));
    assert_eq!(foreign.header("set-cookie"), None, "{}", foreign.status);
    let rotated = browser.post("/sessman/rotate", json!({})).expect(200);
    assert_eq!(max_age(&rotated), Some(200));
    // The id before sets no cookie any more.
    assert_eq!(max_age(&browser.post("/sessman/touch", json!({}))), None);
    let new = rotated.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let browser = client.with("Cookie", &new);
    let for_now = browser.post("/sessman/touch", json!({ "persistent": false })).expect(200);
    assert_eq!(for_now.header("set-cookie"), None);
    let ended = browser.post("/sessman/end", json!({})).expect(200);
    assert_eq!(max_age(&ended), Some(0));
    assert_eq!(ended.header("clear-site-data"), None);
}

#[test]
fn a_cookie_is_as_it_is_configured() {
    let cookie = json!({ "name": "auto", "persistent": true, "partitioned": true, "same_site": "None", "clear_site_data": true });
    let (_site, _pserve, client) =
        serve(&json!({ "backend": "memory", "cookie": cookie }), json!({ "session_ttl": 60 }));
    let begun = client.post("/sessman/new", json!({})).expect(201);
    let set = begun.header("set-cookie").unwrap();
    assert!(set.starts_with("__Host-PS_SESSID=") && set.contains("; Max-Age=60; Path=/; HttpOnly"), "{set}");
    assert!(set.ends_with("; SameSite=None; Secure; Partitioned"), "{set}");
    let browser = client.with("Cookie", set.split(';').next().unwrap());
    let ended = browser.post("/sessman/end", json!({})).expect(200);
    assert!(ended.header("set-cookie").unwrap().contains("Partitioned"));
    assert_eq!(ended.header("clear-site-data"), Some(r#""cache", "cookies", "storage""#));
}
