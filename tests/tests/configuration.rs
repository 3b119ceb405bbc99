//! The configuration as users write it, and what is said when it is wrong.

use e2e::pserve::Site;
use e2e::standin::StandIn;
use serde_json::json;

#[test]
fn the_original_sessman_json_means_mongodb_trailing_comma_included() {
    let Some(mongo) = StandIn::start("the_original_sessman_json", 0) else { return };
    let site = Site::new();
    // The stand-in has no users: the file is the documented one but for those two lines.
    let server = format!("127.0.0.1:{}", mongo.port());
    site.sessman(&format!(
        "{{\n  \"server_url\": \"{server}\",\n  \"database\": \"sessman\",\n  \"session_ttl\": 86400,\n}}"
    ));
    let pserve = site.start();
    let client = pserve.client();
    let id = client.post("/sessman/new", json!({ "user": "ada" })).expect(201).member("session_id");
    drop(mongo);
    // That it was kept there is seen when it is gone.
    client.get(&format!("/sessman/get?token={id}")).expect(503);
}

#[test]
fn two_instances_and_two_plugins_live_side_by_side() {
    let site = Site::new();
    site.plugin("libhello.so");
    site.write("sessman.json", "{}");
    site.ini("[plugin_parms]\nsessman=json=sessman.json\ncarts=plugin=sessman&path=other.db&route_path=/shop/carts");
    let pserve = site.start();
    let client = pserve.client();
    assert_eq!(client.get("/hello").expect(200).text, "hello from hello\n");
    let a = client.post("/sessman/new", json!({ "user": "ada" })).expect(201);
    let b = client.post("/shop/carts/new", json!({ "user": "bob" })).expect(201);
    assert!(a.header("set-cookie").unwrap().starts_with("PS_SESSID="));
    assert!(b.header("set-cookie").unwrap().starts_with("carts_sid="));
    let (a, b) = (a.member("session_id"), b.member("session_id"));
    client.get(&format!("/sessman/get?token={a}")).expect(200);
    client.get(&format!("/shop/carts/get?token={b}")).expect(200);
    client.get(&format!("/sessman/get?token={b}")).expect(404);
    client.get(&format!("/shop/carts/get?token={a}")).expect(404);
    client.get("/carts/get").expect(404);
    assert!(site.path("state/sessman.db").exists() && site.path("state/other.db").exists());
}

#[test]
fn every_mistake_is_told_at_once_with_its_place_and_without_secrets() {
    let site = Site::new();
    site.ini("[auth]\napikye=hunter2\n[limits]\nmax_body=lots\n[netwrok]\nport=1");
    let log = site.try_start().err().expect("it refuses to start");
    for expected in ["apikye", "apikey", "max_body", "netwrok", "network", "pserve.ini:"] {
        assert!(log.contains(expected), "{expected}: {log}");
    }
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn a_plugin_with_a_bad_configuration_does_not_keep_the_others_away() {
    let site = Site::new();
    site.plugin("libhello.so");
    site.sessman(r#"{ "sesion_ttl": 5, "password": "hunter2" }"#);
    let pserve = site.start();
    let client = pserve.client();
    client.get("/hello").expect(200);
    client.get("/readyz").expect(503);
    client.get("/healthz").expect(200);
    pserve.wait_for_log("did you mean `session_ttl`?");
    assert!(!pserve.log().contains("hunter2"));
}

#[test]
fn the_environment_overrides_and_fills_in() {
    let site = Site::new();
    site.write("sessman.json", r#"{ "session_ttl": "${ENV:E2E_TTL:-5}", "path": "${names:store}", }"#);
    site.write(
        "pserve.ini",
        "[network]\nport=1\n[paths]\nplugins=plugins\n[plugin_parms]\nsessman=json=sessman.json\n[names]\nstore=named.db\n",
    );
    let pserve = site.try_start_with(&[("E2E_TTL", "77"), ("PSERVE_NETWORK_PORT", "0")]).unwrap();
    let session = pserve.client().post("/sessman/new", json!({})).expect(201).json();
    let seconds = |name: &str| session[name].as_str().unwrap()[17..19].parse::<u32>().unwrap();
    assert_eq!((seconds("created_at") + 77) % 60, seconds("expires_at"), "{session}");
    assert!(site.path("state/named.db").exists());
}
