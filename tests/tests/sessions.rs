//! Every route of the session service, on every store.

use e2e::http::{Answer, Client};
use e2e::on_every_store;
use e2e::pserve::{Pserve, Site};
use e2e::store::Store;
use serde_json::{Value, json};

on_every_store!(
    a_session_is_created_read_changed_and_ended,
    every_name_of_a_parameter_works,
    the_id_comes_as_parameter_header_or_cookie,
    the_cookie_is_set_and_cleared_as_documented,
    a_page_of_another_origin_cannot_use_the_cookie,
    merging_replaces_removes_and_keeps,
    concurrent_merges_lose_nothing,
    entity_tags_guard_changes,
    what_was_given_comes_back_exactly,
    sessions_end_on_time,
    an_ended_session_stays_ended,
    wrong_requests_get_one_clear_answer,
    what_not_every_store_can_hold_is_refused,
    sessions_survive_a_restart_where_the_store_does,
);

fn serve(config: &Value) -> (Site, Pserve, Client) {
    let site = Site::new();
    site.sessman(&config.to_string());
    let pserve = site.start();
    let client = pserve.client();
    (site, pserve, client)
}

fn with(config: &Value, more: Value) -> Value {
    let mut config = config.clone();
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

/// A new session; the cookie of the answer is not kept.
fn create(client: &Client, body: Value) -> Answer {
    client.post("/sessman/new", body).expect(201)
}

fn a_session_is_created_read_changed_and_ended(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config);
    let created = create(&client, json!({ "user_id": "ada", "data": { "cart": [1, 2] } }));
    let session = created.json();
    let id = created.member("session_id");
    assert_eq!(id.len(), 48);
    assert!(id.starts_with(session["handle"].as_str().unwrap()));
    assert_eq!((&session["user_id"], &session["version"]), (&json!("ada"), &json!(1)));
    assert_eq!(session["metadata"]["client_ip"], "127.0.0.1");
    assert_eq!(created.header("cache-control"), Some("no-store"));
    for time in ["created_at", "updated_at", "last_activity", "expires_at"] {
        let text = session[time].as_str().unwrap();
        assert!(text.len() == 24 && text.ends_with('Z') && text.as_bytes()[19] == b'.', "{time}: {text}");
    }

    let read = client.get(&format!("/sessman/get?session_id={id}")).expect(200);
    assert_eq!(read.json(), session);

    // Times are in milliseconds: two calls in one of them would have the same.
    let tick = || std::thread::sleep(std::time::Duration::from_millis(2));
    tick();
    let updated =
        client.post("/sessman/update", json!({ "session_id": id, "data": { "cart": [] } })).expect(200);
    assert_eq!(updated.json()["data"], json!({ "cart": [] }));
    assert_eq!(updated.json()["version"], 2);
    assert!(updated.member("expires_at") > created.member("expires_at"));

    tick();
    let touched = client.post("/sessman/touch", json!({ "session_id": id })).expect(200);
    assert_eq!(touched.json()["version"], 2);
    assert!(touched.member("expires_at") > updated.member("expires_at"));
    assert_eq!(touched.member("updated_at"), updated.member("updated_at"));

    let valid = client.get(&format!("/sessman/validate?token={id}")).expect(200).json();
    assert_eq!((&valid["valid"], &valid["user_id"]), (&json!(true), &json!("ada")));
    assert_eq!(valid["expires_at"], touched.json()["expires_at"]);

    let ended = client.post("/sessman/end", json!({ "session_id": id })).expect(200).json();
    assert_eq!((&ended["ended"], &ended["handle"]), (&json!(true), &session["handle"]));
    client.get(&format!("/sessman/get?session_id={id}")).expect(404);
    assert_eq!(
        client.get(&format!("/sessman/validate?token={id}")).expect(200).json(),
        json!({ "valid": false })
    );
}

fn every_name_of_a_parameter_works(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config);
    for name in ["user_id", "userid", "user", "username"] {
        let from_query = client.send("POST", &format!("/sessman/new?{name}=grace%20h"), "").expect(201);
        assert_eq!(from_query.json()["user_id"], "grace h");
        assert_eq!(create(&client, json!({ name: "grace h" })).json()["user_id"], "grace h");
        let id = from_query.member("session_id");
        for id_name in ["session_id", "sessionid", "token"] {
            client.get(&format!("/sessman/get?{id_name}={id}&{name}=grace+h")).expect(200);
            client.post("/sessman/get", json!({ id_name: id, name: "grace h" })).expect(200);
            client.post("/sessman/get", json!({ id_name: id, name: "someone else" })).expect(404);
        }
        client.get(&format!("/sessman/get?{name}=grace%20h")).expect(400);
    }
    for (path, status) in [("login", 201), ("profile", 401), ("logout", 401)] {
        let method = if path == "profile" { "GET" } else { "POST" };
        client.send(method, &format!("/sessman/{path}"), "").expect(status);
    }
    let anonymous = create(&client, json!({}));
    assert_eq!((&anonymous.json()["user_id"], &anonymous.json()["data"]), (&Value::Null, &json!({})));
}

fn the_id_comes_as_parameter_header_or_cookie(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config);
    let (a, b) = (create(&client, json!({ "user": "a" })), create(&client, json!({ "user": "b" })));
    let (a_id, b_id) = (a.member("session_id"), b.member("session_id"));
    let by_header = client.with("X-Session-Id", &a_id).get("/sessman/get").expect(200);
    assert_eq!(by_header.json()["session_id"], a.json()["session_id"]);
    let cookie = client.with("Cookie", &format!("other=1; PS_SESSID={b_id}"));
    let by_cookie = cookie.get("/sessman/get").expect(200);
    assert_eq!(by_cookie.json()["user_id"], "b");
    assert_eq!(
        by_cookie.json()["session_id"],
        Value::Null,
        "what scripts cannot read is not in the body either"
    );
    // An explicit id beats the cookie; two explicit ones must be the same.
    assert_eq!(cookie.get(&format!("/sessman/get?session_id={a_id}")).expect(200).json()["user_id"], "a");
    client.with("X-Session-Id", &a_id).get(&format!("/sessman/get?session_id={a_id}")).expect(200);
    client.with("X-Session-Id", &a_id).get(&format!("/sessman/get?session_id={b_id}")).expect(400);
    client.post(&format!("/sessman/get?session_id={a_id}"), json!({ "token": b_id })).expect(400);
    // No id, or a dead cookie, is nobody logged in; a dead id that was given is not found.
    client.get("/sessman/get").expect(401);
    for dead in ["x", &a_id.replace(&a_id[20..], &b_id[20..]), &"A".repeat(48)] {
        client.with("Cookie", &format!("PS_SESSID={dead}")).get("/sessman/get").expect(401);
        client.with("X-Session-Id", dead).get("/sessman/get").expect(404);
        assert_eq!(client.get(&format!("/sessman/validate?token={dead}")).json(), json!({ "valid": false }));
    }
    client.get("/sessman/validate").expect(401);
}

fn the_cookie_is_set_and_cleared_as_documented(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config);
    let created = create(&client, json!({ "user": "ada" }));
    let id = created.member("session_id");
    let set = created.header("set-cookie").unwrap();
    assert_eq!(set, format!("PS_SESSID={id}; Path=/; HttpOnly; SameSite=Lax"));
    let cookie = client.with("Cookie", &format!("PS_SESSID={id}"));
    let cleared = "PS_SESSID=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax";
    let other = create(&client, json!({ "user": "eve" })).member("session_id");
    let ends_other = cookie.post("/sessman/end", json!({ "session_id": other })).expect(200);
    assert_eq!(ends_other.header("set-cookie"), None, "the visitor's own session goes on");
    let ended = cookie.post("/sessman/logout", json!({})).expect(200);
    assert_eq!(ended.header("set-cookie"), Some(cleared));
    // Nothing but `end` clears it.
    assert_eq!(cookie.get("/sessman/get").expect(401).header("set-cookie"), None);

    let (_site, _pserve, client) = serve(&with(
        &config,
        json!({ "cookie": { "name": "sid", "path": "/app", "domain": "example.org", "same_site": "None" } }),
    ));
    let created = create(&client.with("Host", "localhost"), json!({}));
    let id = created.member("session_id");
    let expected = format!("sid={id}; Path=/app; Domain=example.org; HttpOnly; SameSite=None; Secure");
    assert_eq!(created.header("set-cookie"), Some(expected.as_str()));

    let (_site, _pserve, client) = serve(&with(&config, json!({ "cookie": false })));
    let created = create(&client, json!({}));
    assert_eq!(created.header("set-cookie"), None);
    let id = created.member("session_id");
    client.with("Cookie", &format!("PS_SESSID={id}")).get("/sessman/get").expect(401);
}

fn a_page_of_another_origin_cannot_use_the_cookie(_: Store, config: Value) {
    let (_site, pserve, client) = serve(&config);
    let id = create(&client, json!({ "user": "ada" })).member("session_id");
    let cookie = client.with("Cookie", &format!("PS_SESSID={id}"));
    let own = format!("http://{}", pserve.address());
    let foreign = [
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ];
    for (name, value) in foreign {
        let page = cookie.with(name, value);
        page.post("/sessman/update", json!({ "data": {} })).expect(403);
        page.post("/sessman/touch", json!({})).expect(403);
        page.post("/sessman/end", json!({})).expect(403);
        page.post("/sessman/new", json!({})).expect(403);
        // Whoever knows the id itself needs no cookie.
        client.with(name, value).post("/sessman/touch", json!({ "session_id": id })).expect(200);
    }
    assert_eq!(cookie.get("/sessman/get").expect(200).json()["version"], 1);
    for (name, value) in
        [("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "none")]
    {
        cookie.with(name, value).post("/sessman/touch", json!({})).expect(200);
        client.with(name, value).post("/sessman/new", json!({})).expect(201);
    }
}

fn merging_replaces_removes_and_keeps(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config);
    let id = create(&client, json!({ "data": { "a": 1, "b": { "c": 2, "d": 3 } } })).member("session_id");
    let update = |query: &str, data: Value| {
        client
            .post(&format!("/sessman/update?session_id={id}{query}"), json!({ "data": data }))
            .expect(200)
            .json()
    };
    assert_eq!(
        update("&mode=merge", json!({ "b": { "d": null }, "e": [1] }))["data"],
        json!({ "a": 1, "b": { "c": 2 }, "e": [1] })
    );
    assert_eq!(update("", json!({ "only": true }))["data"], json!({ "only": true }));
    let patched = client
        .with("X-Session-Id", &id)
        .send("PATCH", "/sessman/update", r#"{"only":null,"x":1}"#)
        .expect(200);
    assert_eq!((&patched.json()["data"], &patched.json()["version"]), (&json!({ "x": 1 }), &json!(4)));

    let (_site, _pserve, client) = serve(&with(&config, json!({ "update_mode": "merge" })));
    let id = create(&client, json!({ "data": { "a": 1 } })).member("session_id");
    let merged = client.post("/sessman/update", json!({ "token": id, "data": { "b": 2 } })).expect(200);
    assert_eq!(merged.json()["data"], json!({ "a": 1, "b": 2 }));
    let replaced =
        client.post("/sessman/update", json!({ "token": id, "data": {}, "mode": "replace" })).expect(200);
    assert_eq!(replaced.json()["data"], json!({}));
}

fn concurrent_merges_lose_nothing(_: Store, config: Value) {
    const CLIENTS: usize = 16;
    const ROUNDS: usize = 8;
    let (_site, _pserve, client) = serve(&config);
    let id = create(&client, json!({})).member("session_id");
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (client, id) = (client.clone(), &id);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let key = format!("{number}-{round}");
                    client
                        .post(
                            "/sessman/update",
                            json!({ "token": id, "mode": "merge", "data": { key: true } }),
                        )
                        .expect(200);
                }
            });
        }
    });
    let session = client.get(&format!("/sessman/get?token={id}")).expect(200).json();
    assert_eq!(session["data"].as_object().unwrap().len(), CLIENTS * ROUNDS);
    assert_eq!(session["version"], CLIENTS * ROUNDS + 1);
}

fn entity_tags_guard_changes(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config);
    let created = create(&client, json!({ "data": 1 }));
    let id = created.member("session_id");
    let tag = created.header("etag").unwrap().to_owned();
    let session = client.with("X-Session-Id", &id);
    assert_eq!(session.get("/sessman/get").header("etag"), Some(tag.as_str()));
    let unchanged = session.with("If-None-Match", &tag).get("/sessman/get").expect(304);
    assert_eq!((unchanged.text.as_str(), unchanged.header("etag")), ("", Some(tag.as_str())));
    let updated = session.with("If-Match", &tag).post("/sessman/update", json!({ "data": 2 })).expect(200);
    session.with("If-None-Match", &tag).get("/sessman/get").expect(200);
    session.with("If-Match", &tag).post("/sessman/update", json!({ "data": 3 })).expect(412);
    session.with("If-Match", &tag).send("PATCH", "/sessman/update", "3").expect(412);
    let now = updated.header("etag").unwrap();
    session.with("If-Match", &format!("W/{now}")).post("/sessman/update", json!({ "data": 3 })).expect(412);
    session.with("If-Match", "nonsense").post("/sessman/update", json!({ "data": 3 })).expect(400);
    session
        .with("If-Match", &format!("{tag}, {now}"))
        .post("/sessman/update", json!({ "data": 3 }))
        .expect(200);
    session.with("If-Match", "*").post("/sessman/update", json!({ "data": 4 })).expect(200);
    assert_eq!(session.get("/sessman/get").json()["version"], 4);
    // A touch changes what the answer says, but not the version.
    let before = session.get("/sessman/get").header("etag").unwrap().to_owned();
    std::thread::sleep(std::time::Duration::from_millis(2));
    session.post("/sessman/touch", json!({})).expect(200);
    session.with("If-None-Match", &before).get("/sessman/get").expect(200);
    session.with("If-Match", &before).post("/sessman/update", json!({ "data": 5 })).expect(200);
}

fn what_was_given_comes_back_exactly(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config);
    let texts = [
        r#"{"z":1,"a":1.0,"m":-0.5,"big":9007199254740993,"min":-9223372036854775808,"e":1e300}"#,
        r#"{"$set":{"a.b":1},"":{"$":null},"_id":"x","a":[true,false,null,[],{}]}"#,
        r#"{"text":"\u0000 \" \\ ü 漢 😀 \u2028","ü":"é"}"#,
        r#""only a text""#,
        "null",
        "[[[]]]",
        "12",
        "1.5",
        "false",
    ];
    for text in texts {
        let created =
            client.send("POST", "/sessman/new?user=exact", &format!(r#"{{"data":{text}}}"#)).expect(201);
        let id = created.member("session_id");
        let read = client.get(&format!("/sessman/get?token={id}")).expect(200);
        let given: Value = serde_json::from_str(text).unwrap();
        assert_eq!(read.json()["data"], given);
        // The order of the members and the kind of each number are seen in the text alone.
        assert!(read.text.contains(&format!("\"data\":{given},")), "{text}: {}", read.text);
    }
    let user = "ü".repeat(256);
    let created = create(
        &client,
        json!({ "user": user, "metadata": { "device": "phone", "client_ip": "203.0.113.9" } }),
    );
    assert_eq!(created.json()["user_id"], user);
    assert_eq!(created.json()["metadata"]["client_ip"], "203.0.113.9");
    assert_eq!(created.json()["metadata"]["device"], "phone");
    let full = "x".repeat(262_144 - 2);
    let id = create(&client, json!({ "data": full })).member("session_id");
    assert_eq!(client.get(&format!("/sessman/get?token={id}")).json()["data"], full);
}

fn sessions_end_on_time(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&with(&config, json!({ "session_ttl": 2, "max_ttl": 100 })));
    let short = create(&client, json!({}));
    let long = create(&client, json!({ "ttl_seconds": 100 }));
    let kept = create(&client, json!({}));
    let lifetime = |answer: &Answer| {
        let millis = |name: &str| {
            let text = answer.member(name);
            let part = |from: usize, to: usize| text[from..to].parse::<i64>().unwrap();
            ((part(11, 13) * 60 + part(14, 16)) * 60 + part(17, 19)) * 1000 + part(20, 23)
        };
        (millis("expires_at") - millis("created_at")).rem_euclid(86_400_000)
    };
    assert_eq!((lifetime(&short), lifetime(&long)), (2_000, 100_000));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(3);
    while std::time::Instant::now() < deadline {
        client.post("/sessman/touch", json!({ "token": kept.member("session_id") })).expect(200);
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let id = short.member("session_id");
    client.get(&format!("/sessman/get?token={id}")).expect(404);
    client.post("/sessman/touch", json!({ "token": id })).expect(404);
    client.post("/sessman/update", json!({ "token": id, "data": 1 })).expect(404);
    client.post("/sessman/end", json!({ "token": id })).expect(404);
    client.get(&format!("/sessman/get?token={}", long.member("session_id"))).expect(200);
    client.get(&format!("/sessman/get?token={}", kept.member("session_id"))).expect(200);
    for ttl in [json!(0), json!(101), json!(-1), json!(1.5), json!("x"), json!(true)] {
        client.post("/sessman/new", json!({ "ttl_seconds": ttl })).expect(400);
    }
}

fn an_ended_session_stays_ended(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config);
    let id = create(&client, json!({ "user": "ada" })).member("session_id");
    client.send("DELETE", &format!("/sessman/end?session_id={id}"), "").expect(200);
    client.post("/sessman/update", json!({ "token": id, "data": 1 })).expect(404);
    client.post("/sessman/update", json!({ "token": id, "data": {}, "mode": "merge" })).expect(404);
    client.post("/sessman/touch", json!({ "token": id })).expect(404);
    client.post("/sessman/end", json!({ "token": id })).expect(404);
    client.get(&format!("/sessman/get?token={id}")).expect(404);
}

fn wrong_requests_get_one_clear_answer(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config);
    let id = create(&client, json!({ "user": "ada" })).member("session_id");
    let said = |answer: Answer, status: u16, text: &str| {
        let error = answer.expect(status).member("error");
        assert!(error.contains(text), "{error}");
    };
    said(client.send("POST", "/sessman/new", "{"), 400, "not JSON");
    said(client.send("POST", "/sessman/new", "[1]"), 400, "expected a JSON object");
    said(client.send("POST", "/sessman/new", r#"{"data":1,"data":2}"#), 400, "more than once");
    said(client.post("/sessman/new", json!({ "user": true })), 400, "user_id: expected a string");
    said(client.post("/sessman/new", json!({ "user": "" })), 400, "user_id");
    said(client.post("/sessman/new", json!({ "user": "x".repeat(257) })), 400, "user_id");
    said(client.post("/sessman/new", json!({ "user": "a\u{0}b" })), 400, "user_id");
    said(client.post("/sessman/new?user=a", json!({ "username": "b" })), 400, "different values");
    said(client.post("/sessman/new", json!({ "dta": {} })), 400, "did you mean `data`?");
    said(client.post("/sessman/new?data=1", json!({})), 400, "JSON body");
    said(client.post("/sessman/new", json!({ "metadata": [] })), 400, "metadata");
    said(client.send("POST", "/sessman/new?user=%zz", ""), 400, "%");
    said(client.post("/sessman/update", json!({ "token": id })), 400, "nothing to change given");
    said(
        client.post("/sessman/update", json!({ "token": id, "data": 1, "mode": "x" })),
        400,
        "replace or merge",
    );
    said(client.with("Content-Encoding", "gzip").send("POST", "/sessman/new", "{}"), 415, "Content-Encoding");
    let too_large = "x".repeat(262_144);
    said(client.post("/sessman/new", json!({ "data": too_large })), 413, "at most 262144");
    said(client.post("/sessman/update", json!({ "token": id, "data": too_large })), 413, "at most 262144");
    let not_allowed = client.get("/sessman/new").expect(405);
    assert!(not_allowed.header("allow").unwrap().contains("POST"));
    said(client.get("/sessman/nowhere"), 404, "/sessman/get");
    // None of this changed anything.
    assert_eq!(client.get(&format!("/sessman/get?token={id}")).expect(200).json()["version"], 1);
}

fn what_not_every_store_can_hold_is_refused(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config);
    let id = create(&client, json!({ "data": 0 })).member("session_id");
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for (data, place) in [
        ("9223372036854775808".to_owned(), "the value cannot"),
        (r#"{"a":[0,123456789012345678901234567890]}"#.to_owned(), "/a/1"),
        (r#"{"a":{"b\u0000c":1}}"#.to_owned(), "/a/b"),
        (deep(100), "deeper"),
    ] {
        for (path, body) in [
            ("/sessman/new", format!(r#"{{"data":{data}}}"#)),
            ("/sessman/update", format!(r#"{{"data":{data},"token":"{id}"}}"#)),
        ] {
            let error = client.send("POST", path, &body).expect(422).member("error");
            assert!(error.contains(place), "{error}");
        }
    }
    client.send("POST", "/sessman/new", &format!(r#"{{"data":{}}}"#, deep(90))).expect(201);
    assert_eq!(client.get(&format!("/sessman/get?token={id}")).json()["version"], 1);
}

fn sessions_survive_a_restart_where_the_store_does(store: Store, config: Value) {
    let site = Site::new();
    site.sessman(&config.to_string());
    let pserve = site.start();
    let created = create(&pserve.client(), json!({ "user": "ada", "data": { "n": 1 } }));
    let id = created.member("session_id");
    assert!(pserve.stop().success());
    let pserve = site.start();
    let read = pserve.client().get(&format!("/sessman/get?token={id}"));
    match store {
        Store::Memory => drop(read.expect(404)),
        _ => assert_eq!(read.expect(200).json(), created.json()),
    }
    assert!(!pserve.log().contains(&id), "no session id is in the log");
}

#[test]
fn a_user_may_be_an_integer() {
    let (_site, _pserve, client) = serve(&json!({ "backend": "memory" }));
    for name in ["user_id", "userid", "user", "username"] {
        for (number, text) in
            [("42", "42"), ("0", "0"), ("-7", "-7"), ("12345678901234567890123", "12345678901234567890123")]
        {
            let answer = client.send("POST", "/sessman/new", &format!("{{\"{name}\":{number}}}")).expect(201);
            assert_eq!(answer.json()["user_id"], text);
            let id = answer.member("session_id");
            client
                .send("POST", "/sessman/get", &format!("{{\"token\":\"{id}\",\"{name}\":{number}}}"))
                .expect(200);
            client.post("/sessman/get", json!({ "token": id, name: text })).expect(200);
            client.get(&format!("/sessman/get?token={id}&{name}={text}")).expect(200);
        }
        // The same number in another spelling would be another user.
        for none in ["42.0", "1.0", "1.5", "1e3", "1E0", "4.2e1", "-0", "-0.0", "true", "[]", "{}"] {
            let answer = client.send("POST", "/sessman/new", &format!("{{\"{name}\":{none}}}")).expect(400);
            let error = answer.member("error");
            assert!(error.contains("user_id") && error.contains("an integer"), "{none}: {error}");
        }
    }
}

#[test]
fn a_user_is_an_integer_wherever_a_user_is_named() {
    let admin = "an-admin-key-for-integers";
    let (_site, _pserve, client) = serve(&json!({ "backend": "memory", "admin_key": admin }));
    let client = client.with("X-Admin-Key", admin);
    let begin =
        |user: &str| client.send("POST", "/sessman/new", &format!("{{\"user_id\":{user}}}")).expect(201);
    let id = create(&client, json!({})).member("session_id");
    let body = format!("{{\"token\":\"{id}\",\"user_id\":42}}");
    assert_eq!(client.send("POST", "/sessman/rotate", &body).expect(200).json()["user_id"], "42");
    begin("42");
    begin("43");
    let ended = |route: &str, body: &str| {
        client.send("POST", &format!("/sessman/{route}"), body).expect(200).json()["ended"].clone()
    };
    assert_eq!(ended("end-user", "{\"user_id\":42}"), 2);
    let preview =
        client.send("POST", "/sessman/end-sessions", "{\"user_id\":43,\"dry_run\":true}").expect(200).json();
    assert_eq!(preview["matching"], 1, "{preview}");
    for route in ["end-user", "end-sessions", "rotate"] {
        client.send("POST", &format!("/sessman/{route}"), "{\"user_id\":43.0}").expect(400);
    }
}

#[test]
fn a_body_may_begin_with_a_byte_order_mark() {
    let key = "a-key-behind-a-mark";
    let site = Site::new();
    site.write("sessman.json", "\u{feff}{ \"backend\": \"memory\", \"apikey\": \"a-key-behind-a-mark\" }");
    site.write(
        "pserve.ini",
        "\u{feff}[network]\nport=0\n[paths]\nplugins=plugins\n[plugin_parms]\nsessman=json=sessman.json\n",
    );
    let pserve = site.start();
    let (bare, client) = (pserve.client(), pserve.client().with("X-Custom-Auth", key));
    // The host takes the key out of a body, and the plugin reads the rest.
    let body = format!("\u{feff}{{\"apikey\":\"{key}\",\"user_id\":\"ada\"}}");
    assert_eq!(bare.send("POST", "/sessman/new", &body).expect(201).json()["user_id"], "ada");
    bare.send("POST", "/sessman/new", "\u{feff}{\"apikey\":\"no\"}").expect(401);
    let id = client
        .send("POST", "/sessman/new", "\u{feff} {\"data\":{\"a\":1}} ")
        .expect(201)
        .member("session_id");
    client.send("POST", "/sessman/new", "\u{feff}").expect(201);
    let session = client.with("X-Session-Id", &id);
    let patched = session.send("PATCH", "/sessman/update", "\u{feff}{\"b\":2}").expect(200).json();
    assert_eq!(patched["data"], json!({ "a": 1, "b": 2 }));
    // One, and at the beginning.
    for wrong in ["\u{feff}\u{feff}{}", "{}\u{feff}", " \u{feff}{}"] {
        client.send("POST", "/sessman/new", wrong).expect(400);
    }
}

#[test]
fn a_malformed_body_is_not_sent_back() {
    let (_site, _pserve, client) = serve(&json!({ "backend": "memory" }));
    let long = "x".repeat(1_000_000);
    let id = create(&client, json!({})).member("session_id");
    for body in [
        format!("\"{long}\""),
        format!("{{\"{long}\":1}}"),
        format!("{{\"data\":{long}}}"),
        format!("{{\"user_id\":\"{long}\"}}"),
        format!("{{\"mode\":\"{long}\"}}"),
        format!("{{\"external_id\":\"{long}\"}}"),
        format!("{{\"metadata\":\"{long}\"}}"),
        format!("[{}1]", "1,".repeat(400_000)),
        long.clone(),
        format!("{{{}}}", (0..33).map(|n| format!("\"{n}\":1")).collect::<Vec<_>>().join(",")),
    ] {
        let answer = client.send("POST", "/sessman/new", &body).expect(400);
        assert!(answer.text.len() < 2_000, "{} bytes for {} bytes", answer.text.len(), body.len());
    }
    let patch = client.with("X-Session-Id", &id).send("PATCH", "/sessman/update", &format!("\"{long}"));
    assert!((400..500).contains(&patch.status) && patch.text.len() < 2_000, "{}", patch.text.len());
}

#[test]
fn ids_in_urls_can_be_refused() {
    let (_site, _pserve, client) = serve(&json!({ "backend": "memory", "ids_in_urls": false }));
    let id = create(&client, json!({ "user": "ada" })).member("session_id");
    for name in ["session_id", "sessionid", "token"] {
        for (method, route) in [("GET", "get"), ("GET", "validate"), ("POST", "touch"), ("POST", "end")] {
            let answer = client.send(method, &format!("/sessman/{route}?{name}={id}"), "").expect(400);
            assert!(
                answer.member("error").contains("ids_in_urls") && !answer.text.contains(&id),
                "{answer:?}"
            );
        }
        client.post("/sessman/get", json!({ name: id })).expect(200);
    }
    client.send("POST", "/sessman/new?external_id=an-id-that-the-caller-chose", "").expect(400);
    client.with("X-Session-Id", &id).get("/sessman/get").expect(200);
    client.with("Cookie", &format!("PS_SESSID={id}")).get("/sessman/get?user_id=ada").expect(200);
}

#[test]
fn an_open_instance_begins_nothing_for_pages_of_other_origins() {
    let (_site, pserve, client) = serve(&json!({ "backend": "memory", "cookie": false }));
    for foreign in [("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site"), ("Origin", "null")] {
        for route in ["new", "login"] {
            client.with(foreign.0, foreign.1).post(&format!("/sessman/{route}"), json!({})).expect(403);
        }
    }
    client
        .with("Origin", &format!("http://{}", pserve.address()))
        .post("/sessman/new", json!({}))
        .expect(201);
    client.post("/sessman/new", json!({})).expect(201);
}

#[test]
fn what_becomes_of_sessions_is_written_down_without_their_ids() {
    for (config, is_written) in [(json!({}), true), (json!({ "audit": false }), false)] {
        let mut all = json!({ "backend": "memory", "max_sessions_per_user": 1, "new_rate": 3, "admin_key": "the-admin-key" });
        all.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        let (_site, pserve, client) = serve(&all);
        let first = create(&client, json!({ "user": "a \"b\"" })).member("session_id");
        let second = create(&client, json!({ "user": "a \"b\"" })).member("session_id");
        let rotated =
            client.post("/sessman/rotate", json!({ "token": second })).expect(200).member("session_id");
        client.post("/sessman/rotate", json!({ "token": rotated, "user": "eve" })).expect(409);
        client.post("/sessman/end", json!({ "token": rotated })).expect(200);
        let third = create(&client, json!({ "user": "eve" })).member("session_id");
        client.post("/sessman/new", json!({ "user": "eve" })).expect(429);
        let admin = client.with("X-Admin-Key", "the-admin-key");
        admin.post("/sessman/end-user", json!({ "user": "eve" })).expect(200);
        let log = pserve.log();
        let written: Vec<String> = log
            .lines()
            .filter_map(|line| {
                Some(line.split_once("audit: a session ")?.1.split(" from=").next()?.to_owned())
            })
            .map(|line| line.split(" instance=").next().unwrap_or_default().to_owned())
            .collect();
        let [one, two, three] = [&first[..16], &second[..16], &third[..16]];
        let ada = "user=\"a \\\"b\\\"\"";
        let eve = "user=\"eve\"";
        let expected = [
            format!("began handle={one} {ada}"),
            format!("gave way to another of its user handle={one} {ada}"),
            format!("began handle={two} {ada}"),
            format!("has a new id handle={two} {ada}"),
            format!("was refused {eve} reason=other_user"),
            format!("ended handle={two} {ada}"),
            format!("began handle={three} {eve}"),
            format!("was refused {eve} reason=new_rate"),
            format!("ended handle={three} {eve}"),
        ];
        match is_written {
            true => {
                assert_eq!(written.len(), expected.len(), "{written:#?}");
                for line in expected {
                    assert!(written.iter().any(|found| found.starts_with(&line)), "{line}\n{written:#?}");
                }
            }
            false => assert!(written.is_empty(), "{written:#?}"),
        }
        for id in [first, second, rotated, third] {
            assert!(!log.contains(&id[16..]), "{log}");
        }
    }
}
