//! Login, profile, update, logout: open to everybody, the session in a cookie, a 401 without one.

use e2e::pserve::Site;
use serde_json::json;

const LINE: &str = "session=plugin=sessman&auth_type=none&allow_open_login=true&backend=memory&update_mode=merge\
                    &session_ttl=604800&idle_timeout=3600";

#[test]
fn a_visitor_logs_in_reads_updates_and_logs_out() {
    let site = Site::new();
    site.ini(&format!("[plugin_parms]\n{LINE}"));
    let pserve = site.start();
    let client = pserve.client();
    // Nobody is logged in yet.
    client.get("/session/profile").expect(401);
    client.post("/session/update", json!({ "data": { "a": 1 } })).expect(401);
    client.post("/session/logout", json!({})).expect(401);

    let data = json!({
        "login_time": "2026-01-25T16:15:00", "preferences": { "theme": "dark", "language": "en" },
        "metadata": { "ip": "192.168.1.1" }, "count": 3, "ratio": 1.0, "list": [1, null, true],
    });
    let login = client.post("/session/login", json!({ "username": "testuser", "data": data })).expect(201);
    let id = login.member("session_id");
    let cookie = login.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(cookie, format!("session_sid={id}"));
    let visitor = client.with("Cookie", &cookie);

    let profile = visitor.get("/session/profile").expect(200).json();
    assert_eq!((&profile["user_id"], &profile["data"]), (&json!("testuser"), &data));
    assert_eq!(profile["session_id"], json!(null), "the cookie is hidden from scripts");
    let updated =
        visitor.post("/session/update", json!({ "data": { "count": 4, "new": "x" } })).expect(200).json();
    assert_eq!((&updated["data"]["count"], &updated["data"]["new"]), (&json!(4), &json!("x")));
    assert_eq!(updated["data"]["preferences"], data["preferences"], "an update merges");

    // Another visitor's is another one.
    let other = client.post("/session/login", json!({ "username": "other" })).expect(201);
    assert_ne!(other.member("handle"), login.member("handle"));
    assert_eq!(visitor.get("/session/profile").expect(200).json()["user_id"], "testuser");

    let out = visitor.post("/session/logout", json!({})).expect(200);
    assert!(out.header("set-cookie").unwrap().starts_with("session_sid=; Max-Age=0"));
    visitor.get("/session/profile").expect(401);
    visitor.post("/session/update", json!({ "data": {} })).expect(401);
    client.get(&format!("/session/profile?token={}", other.member("session_id"))).expect(200);
}

#[test]
fn the_session_of_the_flow_lives_a_week_and_an_hour_without_activity() {
    let site = Site::new();
    site.ini(&format!("[plugin_parms]\n{}", LINE.replace("3600", "1")));
    let pserve = site.start();
    let client = pserve.client();
    let login = client.post("/session/login", json!({ "username": "ada" })).expect(201);
    let cookie = client.with("Cookie", &format!("session_sid={}", login.member("session_id")));
    std::thread::sleep(std::time::Duration::from_millis(1_050));
    cookie.get("/session/profile").expect(401);
}
