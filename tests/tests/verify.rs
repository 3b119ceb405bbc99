//! What a session's id alone opens, and what a reverse proxy is told of it.

use e2e::http::Client;
use e2e::on_every_store;
use e2e::pserve::{Pserve, Site};
use e2e::store::Store;
use serde_json::{Value, json};

on_every_store!(a_proxy_learns_whose_session_it_is);

const KEY: &str = "the-key";

/// A host with a key, and clients with and without it.
fn keyed(config: &Value) -> (Site, Pserve, Client, Client) {
    let site = Site::new();
    site.write("sessman.json", config.to_string());
    site.ini(&format!("[auth]\napikey={KEY}\n[plugin_parms]\nsessman=json=sessman.json"));
    let pserve = site.start();
    let client = pserve.client();
    let service = client.with("X-Custom-Auth", KEY);
    (site, pserve, client, service)
}

fn new(service: &Client, body: Value) -> String {
    service.post("/sessman/new", body).expect(201).member("session_id")
}

fn a_proxy_learns_whose_session_it_is(_: Store, config: Value) {
    let (_site, _pserve, client, service) = keyed(&config);
    let user = "Ada L\u{f6}velace/%&\"";
    let id = new(&service, json!({ "user": user }));
    for named in [("X-Session-Id", id.clone()), ("Cookie", format!("PS_SESSID={id}"))] {
        let asked = service.with(named.0, &named.1);
        let verified = asked.get("/sessman/verify").expect(200);
        assert_eq!(verified.header("x-session-user"), Some("Ada%20L%C3%B6velace%2F%25%26%22"));
        assert_eq!(verified.header("x-session-handle"), Some(&id[..16]));
        assert_eq!((verified.text.as_str(), verified.header("cache-control")), ("", Some("no-store")));
        asked.send("HEAD", "/sessman/verify", "").expect(200);
        // The key is the proxy's own word; the one in Authorization came from its client.
        client.with(named.0, &named.1).get("/sessman/verify").expect(401);
        let bearer = client.with(named.0, &named.1).with("Authorization", &format!("Bearer {KEY}"));
        bearer.get("/sessman/verify").expect(401);
    }
    // What belongs to the other request is not read.
    let odd = service.with("X-Session-Id", &id).with("Content-Encoding", "gzip");
    odd.get("/sessman/verify?session_id=x&anything=1").expect(200);
    // The key alone, a dead id and a session without a user are nobody.
    for nobody in ["", "x", &new(&service, json!({})), &"A".repeat(48)] {
        let refused = service.with("X-Session-Id", nobody).get("/sessman/verify").expect(401);
        assert_eq!(refused.header("x-session-user"), None);
    }
    service.get("/sessman/verify").expect(401);
    service.get(&format!("/sessman/verify?session_id={id}")).expect(401);
    service.post("/sessman/end", json!({ "token": id })).expect(200);
    service.with("X-Session-Id", &id).get("/sessman/verify").expect(401);
}

#[test]
fn a_live_id_alone_opens_what_client_access_says() {
    // Whether it opens get, validate, touch and verify, whether it opens update, and whether it ends the session.
    for (access, reads, writes) in [("none", 401, 401), ("read", 200, 401), ("write", 200, 200)] {
        let (_site, _pserve, client, service) =
            keyed(&json!({ "backend": "memory", "client_access": access }));
        let id = new(&service, json!({ "user": "ada" }));
        let session = client.with("X-Session-Id", &id);
        for (method, path, status) in [
            ("GET", "get", reads),
            ("GET", "profile", reads),
            ("GET", "validate", reads),
            ("GET", "verify", reads),
            ("POST", "touch", reads),
            ("POST", "new", 401),
        ] {
            session.send(method, &format!("/sessman/{path}"), "").expect(status);
        }
        session.post("/sessman/update", json!({ "data": {} })).expect(writes);
        session.send("PATCH", "/sessman/update", "{}").expect(writes);
        // No id, and one that names nothing, open nothing.
        assert!(client.get("/sessman/get").status == 401);
        client.with("Cookie", "PS_SESSID=x").get("/sessman/get").expect(401);
        client.with("X-Session-Id", &"A".repeat(48)).get("/sessman/get").expect(if reads == 200 {
            404
        } else {
            401
        });
        session.send("POST", "/sessman/end", "").expect(reads);
    }
}

#[test]
fn without_a_key_nobody_is_verified_unless_open_login_is_allowed() {
    let site = Site::new();
    for (allowed, status) in [(false, 403), (true, 200)] {
        site.ini(&format!(
            "[plugin_parms]\nsessman=auth_type=none&backend=memory&allow_open_login={allowed}"
        ));
        let pserve = site.start();
        let client = pserve.client();
        let id = new(&client, json!({ "user": "ada" }));
        let answer = client.with("X-Session-Id", &id).get("/sessman/verify").expect(status);
        match allowed {
            true => assert_eq!(answer.header("x-session-user"), Some("ada")),
            false => assert!(answer.member("error").contains("allow_open_login"), "{answer:?}"),
        }
    }
}

#[test]
fn a_store_that_is_away_says_neither_yes_nor_no() {
    let config = json!({ "server_url": "127.0.0.1:1", "client_access": "read" });
    let (_site, _pserve, client, _) = keyed(&config);
    let answer = client.with("X-Session-Id", &"A".repeat(48)).get("/sessman/verify").expect(503);
    assert!(answer.header("retry-after").is_some());
}
