//! What a session's id alone opens, and what a reverse proxy is told of it.

use e2e::http::Client;
use e2e::on_every_store;
use e2e::pserve::{Pserve, Site};
use e2e::store::Store;
use e2e::wsgi::back_end;
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

/// What Envoy and Istio ask: the method and the path of the other request, below `verify`.
#[test]
fn a_proxy_asks_with_any_method_and_below_the_path_where_that_is_written() {
    for prefix in [false, true] {
        let (_site, pserve, _, service) = keyed(&json!({ "backend": "memory", "verify_prefix": prefix }));
        let id = new(&service, json!({ "user": "ada" }));
        let asked = service.with("X-Session-Id", &id);
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"];
        for method in methods {
            let answer = asked.send(method, "/sessman/verify?session_id=x", "").expect(200);
            assert_eq!(answer.header("x-session-user"), Some("ada"), "{method}");
            service.send(method, "/sessman/verify", "").expect(401);
            pserve.client().send(method, "/sessman/verify", "").expect(401);
            let below = asked.send(method, "/sessman/verify/some/path?apikey=x&a=%zz", "");
            assert_eq!(below.status, if prefix { 200 } else { 404 }, "{method}");
        }
        // A preflight is nobody's, and no way past the question.
        let preflight =
            service.with("Origin", "https://a.test").with("Access-Control-Request-Method", "POST");
        preflight.send("OPTIONS", "/sessman/verify", "").expect(401);
    }
}

#[test]
fn pages_that_cors_allows_do_not_open_verify() {
    let site = Site::new();
    site.ini(&format!(
        "[auth]\napikey={KEY}\n[cors]\nenabled=true\norigin_url=https://a.test\n[plugin_parms]\nsessman=backend=memory"
    ));
    let pserve = site.start();
    let preflight =
        pserve.client().with("Origin", "https://a.test").with("Access-Control-Request-Method", "POST");
    preflight.send("OPTIONS", "/sessman/new", "").expect(204);
    // A proxy takes each 2xx for a yes.
    preflight.send("OPTIONS", "/sessman/verify", "").expect(401);
    preflight.with("X-Custom-Auth", KEY).send("OPTIONS", "/sessman/verify", "").expect(401);
}

#[test]
fn a_page_of_another_origin_is_told_from_a_visitor_by_the_method_asked_about() {
    for trusted in [true, false] {
        let site = Site::new();
        let proxy = if trusted { "[proxy]\ntrusted=127.0.0.1\n" } else { "" };
        site.ini(&format!("[auth]\napikey={KEY}\n{proxy}[plugin_parms]\nsessman=backend=memory"));
        let pserve = site.start();
        let service = pserve.client().with("X-Custom-Auth", KEY);
        let id = new(&service, json!({ "user": "ada" }));
        let asked = service.with("Cookie", &format!("PS_SESSID={id}"));
        let foreign = asked.with("Sec-Fetch-Site", "cross-site");
        foreign.get("/sessman/verify").expect(200);
        for name in ["X-Forwarded-Method", "X-Original-Method"] {
            foreign.with(name, "POST").get("/sessman/verify").expect(403);
            foreign.with(name, "GET").get("/sessman/verify").expect(200);
            asked.with(name, "POST").get("/sessman/verify").expect(200);
            foreign.with(name, "GET").send("POST", "/sessman/verify", "").expect(403);
        }
        foreign
            .with("X-Session-Id", &id)
            .with("X-Forwarded-Method", "POST")
            .get("/sessman/verify")
            .expect(200);
    }
}

#[test]
fn an_id_that_a_framework_chose_does_not_write_what_it_is_trusted_for() {
    let (_site, _pserve, client, service) = keyed(&json!({ "backend": "memory", "client_access": "write" }));
    let chosen = "a-framework-chose-this-id";
    service.post("/sessman/new", json!({ "external_id": chosen, "data": { "user": "ann" } })).expect(201);
    let own = new(&service, json!({ "user": "ann" }));
    for (id, status) in [(chosen, 403), (own.as_str(), 200)] {
        let visitor = client.with("X-Session-Id", id);
        visitor.get("/sessman/get").expect(200);
        visitor.post("/sessman/touch", json!({})).expect(200);
        visitor.post("/sessman/update", json!({ "data": { "user": "admin" } })).expect(status);
        visitor.send("PATCH", "/sessman/update", r#"{"user":"admin"}"#).expect(status);
        service.with("X-Session-Id", id).send("PATCH", "/sessman/update", r#"{"seen":1}"#).expect(200);
    }
    let data = service.with("X-Session-Id", chosen).get("/sessman/get").expect(200).json()["data"].clone();
    assert_eq!(data, json!({ "user": "ann", "seen": 1 }));
}

#[test]
fn a_back_end_believes_what_is_signed_and_nothing_else() {
    let key = "0123456789abcdef0123456789abcdef";
    let (_site, _pserve, _, service) = keyed(&json!({ "backend": "memory", "verify_key": key }));
    let id = new(&service, json!({ "user": "Ada L\u{f6}velace." }));
    let verified = service.with("X-Session-Id", &id).get("/sessman/verify").expect(200);
    let said = |name: &str| verified.header(name).unwrap().to_owned();
    let (user, handle, signature) =
        (said("x-session-user"), said("x-session-handle"), said("x-session-signature"));
    let believed = |user: &str, handle: &str, signature: &str, key: &str| {
        let headers =
            json!({ "X-Session-User": user, "X-Session-Handle": handle, "X-Session-Signature": signature });
        back_end(&headers, key)
    };
    assert_eq!(believed(&user, &handle, &signature, key).as_deref(), Some("Ada L\u{f6}velace."));
    let (time, mac) = signature.split_once(',').unwrap();
    let later: u64 = time.strip_prefix("t=").unwrap().parse().unwrap();
    for (user, handle, signature) in [
        ("eve", &*handle, &*signature),
        (&user, &"A".repeat(16), &signature),
        (&user, &handle, &format!("t={},{mac}", later + 1)),
        (&user, &handle, &signature[..signature.len() - 1]),
        (&user, &handle, ""),
        (&user, &handle, "t=,v1="),
        // Text that moves from one part to the next.
        (user.strip_suffix('.').unwrap(), &format!(".{handle}"), &signature),
        (user.strip_suffix('.').unwrap(), &format!(":{handle}"), &signature),
        (&user[1..], &handle, &format!("{time}:{},{mac}", &user[..1])),
        (&format!("{user}:{}", &handle[..1]), &handle[1..], &signature),
    ] {
        assert_eq!(believed(user, handle, signature, key), None, "{user} {handle} {signature}");
    }
    assert_eq!(believed(&user, &handle, &signature, &key.replace('0', "1")), None);
    // A key that it would be easy to guess is none, and without one nothing is signed.
    let (_site, _pserve, _, service) = keyed(&json!({ "backend": "memory" }));
    let id = new(&service, json!({ "user": "ada" }));
    let verified = service.with("X-Session-Id", &id).get("/sessman/verify").expect(200);
    assert_eq!(verified.header("x-session-signature"), None);
}
