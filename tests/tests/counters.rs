//! What the session service counts, on the host's `/metrics`; `metrics.rs` has a foreign reader read that page.

use e2e::pserve::Site;
use serde_json::json;

#[test]
fn sessions_and_the_store_are_counted_for_each_instance() {
    let site = Site::new();
    site.write(
        "sessman.json",
        json!({ "max_sessions_per_user": 1, "cleanup_interval": 1, "admin_key": "the-admin-key" })
            .to_string(),
    );
    site.ini(
        "[auth]\napikey=k\n[plugin_parms]\nsessman=json=sessman.json\nother=plugin=sessman&backend=memory",
    );
    let pserve = site.start();
    let client = pserve.client().with("X-Custom-Auth", "k").with("X-Admin-Key", "the-admin-key");
    let begin = |user: &str| client.post("/sessman/new", json!({ "user": user })).expect(201);
    for _ in 0..3 {
        begin("ada");
    }
    let ended = begin("eve");
    client.post("/sessman/end", json!({ "token": ended.member("session_id") })).expect(200);
    begin("eve");
    client.post("/sessman/end-user", json!({ "user": "eve" })).expect(200);
    client.post("/sessman/new", json!({ "ttl_seconds": 1 })).expect(201);
    client.post("/other/new", json!({ "user": "ada" })).expect(201);

    let value = |page: &str, name: &str, labels: &[&str]| -> Option<f64> {
        let is_it = |line: &&str| {
            line.starts_with(&format!("{name}{{")) && labels.iter().all(|label| line.contains(label))
        };
        page.lines().find(is_it)?.rsplit(' ').next()?.parse().ok()
    };
    let (own, other) = ("plugin_instance=\"sessman\"", "plugin_instance=\"other\"");
    e2e::pserve::eventually("the expired record is removed", || {
        let page = client.get("/metrics").expect(200).text;
        value(&page, "sessman_sessions_expired_total", &[own]) == Some(1.0)
    });
    let page = client.get("/metrics").expect(200).text;
    for (name, count) in [("created", 6.0), ("evicted", 2.0), ("ended", 2.0), ("expired", 1.0)] {
        assert_eq!(value(&page, &format!("sessman_sessions_{name}_total"), &[own]), Some(count), "{name}");
    }
    assert_eq!(value(&page, "sessman_sessions_created_total", &[other]), Some(1.0));
    let creations = [own, "operation=\"create\""];
    assert_eq!(value(&page, "sessman_store_duration_seconds_count", &creations), Some(6.0));
    assert!(value(&page, "sessman_store_duration_seconds_sum", &creations).unwrap() > 0.0);
    assert_eq!(value(&page, "sessman_store_errors_total", &[own, "kind=\"unavailable\""]), Some(0.0));
    assert!(value(&page, "sessman_clock_offset_seconds", &[own]).unwrap().abs() < 60.0);
    assert_eq!(value(&page, "pserve_plugin_metrics_ok", &[own]), Some(1.0));
}

#[test]
fn a_store_that_is_away_is_counted() {
    let site = Site::new();
    site.write("sessman.json", json!({ "server_url": "127.0.0.1:1" }).to_string());
    site.ini("[auth]\napikey=k\n[plugin_parms]\nsessman=json=sessman.json");
    let pserve = site.start();
    let client = pserve.client().with("X-Custom-Auth", "k");
    client.post("/sessman/new", json!({})).expect(503);
    let page = client.get("/metrics").expect(200).text;
    let away = page
        .lines()
        .find(|line| line.starts_with("sessman_store_errors_total") && line.contains("unavailable"));
    assert!(away.is_some_and(|line| !line.ends_with(" 0")), "{page}");
    let nobody = page
        .lines()
        .find(|line| line.starts_with("sessman_mongodb_errors_total") && line.contains("no_server"));
    assert!(nobody.is_some_and(|line| !line.ends_with(" 0")), "{page}");
}
