//! The sessions of a user, and of all: limits, `mine`, new ids, and what administrators do.

use std::time::Duration;

use e2e::http::{Answer, Client};
use e2e::on_every_store;
use e2e::pserve::{Pserve, Site};
use e2e::store::Store;
use serde_json::{Value, json};

on_every_store!(
    the_oldest_session_of_a_user_gives_way,
    one_more_is_refused_where_that_is_the_rule,
    a_user_sees_and_ends_their_own_sessions,
    an_administrator_lists_and_ends_sessions,
    an_administrator_counts_cleans_and_clears,
    a_visitor_logs_in_under_a_new_id,
    a_caller_may_choose_the_id,
    an_update_must_name_its_version_where_that_is_the_rule,
);

const ADMIN_KEY: &str = "the-admin-key";

fn serve(config: &Value, more: Value) -> (Site, Pserve, Client) {
    let mut config = config.clone();
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let site = Site::new();
    site.sessman(&config.to_string());
    let pserve = site.start();
    let client = pserve.client();
    (site, pserve, client)
}

fn begin(client: &Client, user: &str) -> Answer {
    client.post("/sessman/new", json!({ "user": user })).expect(201)
}

fn status(client: &Client, session: &Answer) -> u16 {
    client.get(&format!("/sessman/get?token={}", session.member("session_id"))).status
}

fn handles(answer: &Answer) -> Vec<String> {
    let sessions = answer.json()["sessions"].as_array().unwrap().clone();
    sessions.iter().map(|session| session["handle"].as_str().unwrap().to_owned()).collect()
}

fn the_oldest_session_of_a_user_gives_way(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config, json!({ "max_sessions_per_user": 2 }));
    let other = begin(&client, "eve");
    let sessions: Vec<Answer> = (0..5).map(|_| begin(&client, "ada")).collect();
    let found: Vec<u16> = sessions.iter().map(|session| status(&client, session)).collect();
    assert_eq!(found, [404, 404, 404, 200, 200]);
    assert_eq!(status(&client, &other), 200);
    // The whole time to live, not that of a session without a place.
    let last = &sessions[4];
    assert!(last.member("expires_at")[..16] > last.member("created_at")[..16]);
    // One that ended makes room.
    client.post("/sessman/end", json!({ "token": sessions[4].member("session_id") })).expect(200);
    begin(&client, "ada");
    assert_eq!(status(&client, &sessions[3]), 200);
}

fn one_more_is_refused_where_that_is_the_rule(_: Store, config: Value) {
    let rule = json!({ "max_sessions_per_user": 1, "on_limit": "reject" });
    let (_site, _pserve, client) = serve(&config, rule);
    let first = begin(&client, "ada");
    let refused = client.post("/sessman/new", json!({ "user": "ada" })).expect(409);
    assert!(refused.member("error").contains("max_sessions_per_user"));
    assert_eq!(refused.header("set-cookie"), None);
    assert_eq!(status(&client, &first), 200);
    for _ in 0..3 {
        client.post("/sessman/new", json!({})).expect(201);
    }
    client.post("/sessman/end", json!({ "token": first.member("session_id") })).expect(200);
    let short = client.post("/sessman/new", json!({ "user": "ada", "ttl_seconds": 1 })).expect(201);
    std::thread::sleep(Duration::from_millis(1_050));
    assert_eq!(status(&client, &short), 404);
    begin(&client, "ada");
    client.post("/sessman/new", json!({ "user": "ada" })).expect(409);
}

fn a_user_sees_and_ends_their_own_sessions(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config, json!({}));
    let sessions: Vec<Answer> =
        (0..3).map(|_| begin(&client.with("User-Agent", "a browser/1.0"), "ada")).collect();
    let stranger = begin(&client, "eve");
    let own = client.with("Cookie", &format!("PS_SESSID={}", sessions[0].member("session_id")));
    let mine = own.get("/sessman/mine").expect(200);
    let mut expected: Vec<String> = sessions.iter().map(|session| session.member("handle")).collect();
    expected.sort_unstable();
    let mut found = handles(&mine);
    found.sort_unstable();
    assert_eq!(found, expected);
    for session in mine.json()["sessions"].as_array().unwrap() {
        assert_eq!(session["current"], session["handle"] == sessions[0].member("handle"));
        let metadata = json!({ "client_ip": "127.0.0.1", "user_agent": "a browser/1.0" });
        assert_eq!((&session["metadata"], &session["user_id"]), (&metadata, &json!("ada")));
        assert!(session["last_activity"].is_string() && session["data"].is_null());
    }
    for session in &sessions {
        assert!(!mine.text.contains(&session.member("session_id")));
    }
    // Page by page.
    let mut paged = Vec::new();
    let mut path = "/sessman/mine?limit=2".to_owned();
    loop {
        let page = own.get(&path).expect(200);
        paged.extend(handles(&page));
        match page.json()["next"].as_str() {
            Some(next) => path = format!("/sessman/mine?limit=2&cursor={next}"),
            None => break,
        }
    }
    paged.sort_unstable();
    assert_eq!(paged, expected);

    let end = |body: Value| own.post("/sessman/mine/end", body);
    end(json!({})).expect(400);
    end(json!({ "handle": stranger.member("handle") })).expect(404);
    end(json!({ "handle": "x" })).expect(404);
    end(json!({ "handle": expected[0], "others": true })).expect(400);
    own.with("Sec-Fetch-Site", "cross-site").post("/sessman/mine/end", json!({ "others": true })).expect(403);
    let ended = end(json!({ "handle": sessions[1].member("handle") })).expect(200);
    assert_eq!((&ended.json()["ended"], ended.header("set-cookie")), (&json!(1), None));
    assert_eq!(
        end(json!({ "others": true })).expect(200).json()["handles"],
        json!([sessions[2].member("handle")])
    );
    let found: Vec<u16> =
        sessions.iter().chain([&stranger]).map(|session| status(&client, session)).collect();
    assert_eq!(found, [200, 404, 404, 200]);
    let last = end(json!({ "handle": sessions[0].member("handle") })).expect(200);
    assert!(last.header("set-cookie").unwrap().contains("Max-Age=0"));
    own.get("/sessman/mine").expect(401);
}

fn an_administrator_lists_and_ends_sessions(_: Store, config: Value) {
    let (_site, pserve, client) = serve(&config, json!({ "admin_key": ["another-admin-key", ADMIN_KEY] }));
    let sessions: Vec<Answer> = (0..5).map(|n| begin(&client, if n < 3 { "ada" } else { "eve" })).collect();
    let admin = client.with("X-Admin-Key", ADMIN_KEY);
    for (method, route) in [
        ("GET", "list"),
        ("POST", "end-user?user=ada"),
        ("POST", "end-sessions"),
        ("GET", "stats"),
        ("POST", "cleanup"),
        ("POST", "clear?confirm=yes"),
    ] {
        let path = format!("/sessman/{route}");
        client.send(method, &path, "").expect(401);
        client.with("X-Admin-Key", "another-admin-key-not").send(method, &path, "").expect(401);
        let session = client.with("X-Session-Id", &sessions[0].member("session_id"));
        session.with("Authorization", &format!("Bearer {ADMIN_KEY}")).send(method, &path, "").expect(401);
    }
    let mut listed = Vec::new();
    let mut path = "/sessman/list?limit=2".to_owned();
    loop {
        let page = admin.get(&path).expect(200);
        for session in &sessions {
            assert!(!page.text.contains(&session.member("session_id")));
        }
        listed.extend(handles(&page));
        match page.json()["next"].as_str() {
            Some(next) => path = format!("/sessman/list?limit=2&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(listed.len(), 5);
    assert_eq!(handles(&admin.get("/sessman/list?user_id=eve").expect(200)).len(), 2);
    assert_eq!(handles(&admin.get("/sessman/list?user_id=nobody").expect(200)).len(), 0);
    for wrong in ["limit=0", "limit=1001", "limit=x", "cursor=x", "session_id=x"] {
        admin.get(&format!("/sessman/list?{wrong}")).expect(400);
    }

    let some = [sessions[0].member("handle"), "A".repeat(16)];
    let ended = admin.post("/sessman/end-sessions", json!({ "handles": some })).expect(200).json();
    assert_eq!(ended, json!({ "ended": 1, "handles": [some[0]] }));
    admin.post("/sessman/end-sessions", json!({ "handles": ["x"] })).expect(400);
    admin.post("/sessman/end-sessions", json!({})).expect(400);
    admin.post("/sessman/end-user", json!({})).expect(400);
    assert_eq!(admin.post("/sessman/end-user", json!({ "user": "ada" })).expect(200).json()["ended"], 2);
    let found: Vec<u16> = sessions.iter().map(|session| status(&client, session)).collect();
    assert_eq!(found, [404, 404, 404, 200, 200]);

    let log = pserve.log();
    assert!(log.contains("admin: ended all sessions of \"ada\": 2 ["), "{log}");
    assert!(log.contains(&format!("admin: ended sessions: 1 [{}] from=127.0.0.1", some[0])), "{log}");
    assert!(log.contains("a wrong admin key"), "{log}");
    assert!(!log.contains(ADMIN_KEY) && !log.contains("another-admin-key-not"), "{log}");
    for session in &sessions {
        assert!(!log.contains(&session.member("session_id")));
    }
}

fn an_administrator_counts_cleans_and_clears(store: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config, json!({ "admin_key": ADMIN_KEY }));
    let admin = client.with("X-Admin-Key", ADMIN_KEY);
    let kept = begin(&client, "ada");
    begin(&client, "eve");
    client.post("/sessman/new", json!({ "ttl_seconds": 1 })).expect(201);
    std::thread::sleep(Duration::from_millis(1_050));
    let by_age = json!([
        { "below_seconds": 3_600, "sessions": 2 },
        { "below_seconds": 86_400, "sessions": 0 },
        { "below_seconds": 604_800, "sessions": 0 },
        { "below_seconds": 2_592_000, "sessions": 0 },
        { "below_seconds": null, "sessions": 0 },
    ]);
    let stats = json!({ "complete": true, "total": 3, "active": 2, "expired": 1, "by_age": by_age });
    assert_eq!(admin.get("/sessman/stats").expect(200).json(), stats);
    // Where other nodes may work on the same sessions, what has just ended stays until it has by each of their clocks.
    let purged = u64::from(!store.is_shared());
    assert_eq!(admin.send("POST", "/sessman/cleanup", "").expect(200).json(), json!({ "purged": purged }));
    assert_eq!(admin.get("/sessman/stats").expect(200).json()["total"], 3 - purged);
    admin.send("POST", "/sessman/clear", "").expect(400);
    admin.send("POST", "/sessman/clear?confirm=no", "").expect(400);
    assert_eq!(status(&client, &kept), 200);
    let cleared = admin.post("/sessman/clear", json!({ "confirm": "yes" })).expect(200).json();
    assert_eq!(cleared["cleared"], 3 - purged);
    assert_eq!(status(&client, &kept), 404);
    assert_eq!(admin.get("/sessman/stats").expect(200).json()["total"], 0);
}

#[test]
fn without_an_admin_key_nobody_is_an_administrator() {
    let (_site, _pserve, client) = serve(&json!({ "backend": "memory" }), json!({}));
    for key in ["", "x"] {
        let error = client.with("X-Admin-Key", key).get("/sessman/list").expect(403).member("error");
        assert!(error.contains("admin_key"), "{error}");
    }
}

fn a_visitor_logs_in_under_a_new_id(_: Store, config: Value) {
    let site = Site::new();
    let mut config = config;
    config["client_access"] = json!("write");
    site.write("sessman.json", config.to_string());
    site.ini("[auth]\napikey=k\n[plugin_parms]\nsessman=json=sessman.json");
    let pserve = site.start();
    let (client, service) = (pserve.client(), pserve.client().with("X-Custom-Auth", "k"));
    let visitor = service.post("/sessman/new", json!({ "data": { "cart": [1] } })).expect(201);
    assert_eq!(visitor.json()["auth_time"], json!(null));
    let old = visitor.member("session_id");

    // Without the key a live id gets another one, and no user.
    client.with("X-Session-Id", &old).post("/sessman/rotate", json!({ "user": "ada" })).expect(401);
    let rotated = client.with("X-Session-Id", &old).post("/sessman/rotate", json!({})).expect(200);
    let id = rotated.member("session_id");
    assert_eq!((id != old, rotated.json()["handle"] == visitor.json()["handle"]), (true, true));
    assert!(rotated.header("set-cookie").unwrap().starts_with(&format!("PS_SESSID={id};")));
    for path in ["get", "touch", "rotate", "update", "end"] {
        let body =
            if path == "update" { json!({ "token": old, "data": 1 }) } else { json!({ "token": old }) };
        service.post(&format!("/sessman/{path}"), body).expect(404);
    }

    let cookie = service.with("Cookie", &format!("PS_SESSID={id}"));
    cookie.with("Sec-Fetch-Site", "cross-site").post("/sessman/rotate", json!({})).expect(403);
    let login = cookie.post("/sessman/rotate", json!({ "user": "ada" })).expect(200);
    let session = login.json();
    assert_eq!((&session["user_id"], &session["data"]), (&json!("ada"), &json!({ "cart": [1] })));
    assert!(session["auth_time"].as_str().unwrap() >= session["created_at"].as_str().unwrap());
    assert_eq!(session["session_id"], json!(null), "the cookie is hidden from scripts");
    let set = login.header("set-cookie").unwrap();
    let id = set.strip_prefix("PS_SESSID=").unwrap().split(';').next().unwrap();
    let known = service.with("X-Session-Id", id);
    assert_eq!(known.get("/sessman/get").expect(200).json()["user_id"], "ada");
    known.post("/sessman/rotate", json!({ "user": "eve" })).expect(409);
    // A login anew is told by its time, and nothing else moves that.
    let auth_time = |answer: &Answer| answer.json()["auth_time"].as_str().unwrap().to_owned();
    std::thread::sleep(Duration::from_millis(20));
    known.post("/sessman/touch", json!({})).expect(200);
    assert_eq!(auth_time(&known.get("/sessman/get").expect(200)), session["auth_time"]);
    let again = known.post("/sessman/rotate", json!({ "user": "ada" })).expect(200);
    assert!(auth_time(&again) > auth_time(&login), "{again:?}");
    service.get(&format!("/sessman/get?token={}", again.member("session_id"))).expect(200);
    service.post("/sessman/rotate", json!({})).expect(401);
}

fn a_caller_may_choose_the_id(_: Store, config: Value) {
    let (_site, pserve, client) = serve(&config, json!({}));
    let id = "fw:0123456789_abcdefghij+/=~";
    let created = client.post("/sessman/new", json!({ "user": "ada", "external_id": id })).expect(201);
    assert_eq!((created.member("session_id").as_str(), created.header("set-cookie")), (id, None));
    assert_eq!(created.member("handle").len(), 16);
    let known = client.with("X-Session-Id", id);
    assert_eq!(known.get("/sessman/get").expect(200).json(), created.json());
    known.post("/sessman/update", json!({ "data": { "n": 1 } })).expect(200);
    client.post("/sessman/new", json!({ "external_id": id })).expect(409);
    known.post("/sessman/rotate", json!({ "external_id": id })).expect(409);
    let native = client.post("/sessman/new", json!({})).expect(201).member("session_id");
    for wrong in ["short", &native, &"x".repeat(257), "with a space in the middle of it", ""] {
        client.post("/sessman/new", json!({ "external_id": wrong })).expect(400);
    }
    known.post("/sessman/end", json!({})).expect(200);
    known.get("/sessman/get").expect(404);
    client.post("/sessman/new", json!({ "external_id": id })).expect(201);
    assert!(!pserve.log().contains(id));
}

fn an_update_must_name_its_version_where_that_is_the_rule(_: Store, config: Value) {
    let (_site, _pserve, client) = serve(&config, json!({ "require_match": true }));
    let created = begin(&client, "ada");
    let session = client.with("X-Session-Id", &created.member("session_id"));
    let error = session.post("/sessman/update", json!({ "data": 1 })).expect(428).member("error");
    assert!(error.contains("If-Match"), "{error}");
    session.send("PATCH", "/sessman/update", "{}").expect(428);
    let tag = created.header("etag").unwrap();
    session.with("If-Match", tag).post("/sessman/update", json!({ "data": 1 })).expect(200);
    session.with("If-Match", tag).post("/sessman/update", json!({ "data": 2 })).expect(412);
    session.with("If-Match", "*").send("PATCH", "/sessman/update", "3").expect(200);
    session.post("/sessman/touch", json!({})).expect(200);
}

#[test]
fn sessions_begin_no_faster_than_allowed() {
    let (_site, _pserve, client) = serve(&json!({ "backend": "memory" }), json!({ "new_rate": 3 }));
    for _ in 0..3 {
        begin(&client, "ada");
    }
    let refused = client.post("/sessman/new", json!({ "user": "eve" })).expect(429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    // Anybody could write a header: only who has the key speaks for clients of its own.
    let metadata = json!({ "client_ip": "192.0.2.9" });
    client.post("/sessman/new", json!({ "user": "eve", "metadata": metadata })).expect(429);

    let site = Site::new();
    site.write("sessman.json", json!({ "backend": "memory", "new_rate": 1 }).to_string());
    site.ini("[auth]\napikey=k\n[plugin_parms]\nsessman=json=sessman.json");
    let pserve = site.start();
    let service = pserve.client().with("X-Custom-Auth", "k");
    for (address, status) in [("192.0.2.1", 201), ("192.0.2.2", 201), ("192.0.2.1", 429)] {
        service.post("/sessman/new", json!({ "metadata": { "client_ip": address } })).expect(status);
    }
}
