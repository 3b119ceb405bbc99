//! Who gets in: keys, defaults, and addresses that others can reach.

use e2e::pserve::Site;
use serde_json::json;

const LINE: &str = "[plugin_parms]\nsessman=json=sessman.json";

#[test]
fn without_a_key_only_this_machine_is_served() {
    let site = Site::new();
    site.sessman("{}");
    let pserve = site.start();
    let client = pserve.client();
    client.post("/sessman/new", json!({})).expect(201);
    let error = client
        .with("Host", "sessions.example.org")
        .post("/sessman/new", json!({}))
        .expect(403)
        .member("error");
    assert!(error.contains("auth_type"), "{error}");
    client.with("X-Forwarded-For", "203.0.113.9").post("/sessman/new", json!({})).expect(403);
    client.with("Forwarded", "for=203.0.113.9").post("/sessman/new", json!({})).expect(403);
    client.with("Host", "localhost").post("/sessman/new", json!({})).expect(201);
    client.get("/plugins").expect(403);
}

#[test]
fn the_key_is_taken_in_every_documented_form() {
    let site = Site::new();
    site.write("sessman.json", "{}");
    site.ini(&format!("[auth]\napikey=a secret/key+1\n{LINE}"));
    let pserve = site.start();
    let client = pserve.client();
    let refused = client.post("/sessman/new", json!({})).expect(401);
    assert!(refused.header("www-authenticate").unwrap().starts_with("Bearer"));
    client.with("Authorization", "Bearer wrong").post("/sessman/new", json!({})).expect(401);
    client.with("X-Custom-Auth", "").post("/sessman/new", json!({})).expect(401);
    client.with("Authorization", "Bearer a secret/key+1").post("/sessman/new", json!({})).expect(201);
    client.with("X-Custom-Auth", "a secret/key+1").post("/sessman/new", json!({})).expect(201);
    let created =
        client.post("/sessman/new", json!({ "apikey": "a secret/key+1", "user": "ada" })).expect(201);
    client.post("/sessman/new?apikey=a%20secret/key%2B1", json!({})).expect(401);
    // A session id alone opens nothing where there is a key.
    let id = created.member("session_id");
    client.get(&format!("/sessman/get?session_id={id}")).expect(401);
    client.with("Cookie", &format!("PS_SESSID={id}")).get("/sessman/get").expect(401);
    client.post("/sessman/get", json!({ "session_id": id, "apikey": "a secret/key+1" })).expect(200);
    client.get("/plugins").expect(401);
    client.with("Authorization", "Bearer a secret/key+1").get("/plugins").expect(200);
    assert!(!pserve.log().contains("a secret/key"));

    drop(pserve);
    site.ini(&format!("[auth]\napikey=a secret/key+1\nallow_query_key=true\n{LINE}"));
    let pserve = site.start();
    pserve.client().post("/sessman/new?apikey=a%20secret/key%2B1", json!({})).expect(201);
}

#[test]
fn several_keys_are_valid_at_once() {
    let site = Site::new();
    site.write("sessman.json", "{}");
    site.ini(&format!("[auth]\napikey=list:old-key new-key\n{LINE}"));
    let pserve = site.start();
    for key in ["old-key", "new-key"] {
        pserve.client().with("X-Custom-Auth", key).post("/sessman/new", json!({})).expect(201);
    }
    pserve.client().with("X-Custom-Auth", "old-key new-key").post("/sessman/new", json!({})).expect(401);
}

#[test]
fn an_address_that_others_reach_wants_a_key_or_a_word() {
    let site = Site::new();
    site.write("sessman.json", "{}");
    let network = "[network]\nport=0\nbindto=0.0.0.0";
    site.ini(&format!("{network}\n{LINE}"));
    let log = site.try_start().err().expect("it refuses to start");
    assert!(log.contains("auth_type=none"), "{log}");
    site.write("sessman.json", r#"{ "auth_type": "none" }"#);
    site.start();
    site.write("sessman.json", "{}");
    for key in ["k", "list:a-key-that-is-long k", "11-letters."] {
        site.ini(&format!("{network}\n[auth]\napikey={key}\n{LINE}"));
        let log = site.try_start().err().expect("it refuses to start");
        assert!(log.contains("fewer than 12 characters") && log.contains("openssl rand"), "{log}");
    }
    site.write("sessman.json", r#"{ "auth_type": "plugin", "apikey": "its-own" }"#);
    site.ini(&format!("{network}\n[auth]\napikey=a-key-that-is-long\n{LINE}"));
    assert!(site.try_start().err().expect("it refuses to start").contains("`apikey` of sessman"));
    site.write("sessman.json", "{}");
    site.start();
}

#[test]
fn an_instance_may_have_a_key_of_its_own() {
    let site = Site::new();
    site.write("sessman.json", r#"{ "auth_type": "plugin", "apikey": "its-own" }"#);
    site.ini("[auth]\napikey=global\n[plugin_parms]\nsessman=json=sessman.json\nopen=plugin=sessman&auth_type=none&backend=memory");
    let pserve = site.start();
    let client = pserve.client();
    client.with("X-Custom-Auth", "global").post("/sessman/new", json!({})).expect(401);
    client.with("X-Custom-Auth", "its-own").post("/sessman/new", json!({})).expect(201);
    client.post("/open/new", json!({})).expect(201);
}
