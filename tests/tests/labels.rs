//! Labels: sessions are found, counted and ended by them and by other conditions.

use std::time::Duration;

use e2e::http::{Answer, Client};
use e2e::on_every_store;
use e2e::pserve::{Pserve, Site, eventually};
use e2e::store::Store;
use serde_json::{Value, json};

on_every_store!(
    sessions_are_found_by_their_labels,
    labels_change_with_the_session,
    an_end_by_filter_is_previewed_and_bounded,
);

const ADMIN_KEY: &str = "the-admin-key";

fn serve(config: &Value, more: Value) -> (Site, Pserve, Client, Client) {
    let mut config = config.clone();
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config["admin_key"] = json!(ADMIN_KEY);
    let site = Site::new();
    site.sessman(&config.to_string());
    let pserve = site.start();
    let client = pserve.client();
    let admin = client.with("X-Admin-Key", ADMIN_KEY);
    (site, pserve, client, admin)
}

fn begin(client: &Client, user: &str, labels: Value) -> Answer {
    client.post("/sessman/new", json!({ "user": user, "labels": labels })).expect(201)
}

/// Handles of all pages.
fn listed(admin: &Client, query: &str, limit: usize) -> Vec<String> {
    let (mut handles, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("/sessman/list?{query}&limit={limit}{cursor}")).expect(200).json();
        let sessions = page["sessions"].as_array().unwrap();
        assert!(sessions.len() <= limit);
        handles.extend(sessions.iter().map(|session| session["handle"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return handles,
        }
    }
}

fn sorted(answers: &[&Answer]) -> Vec<String> {
    let mut handles: Vec<String> = answers.iter().map(|answer| answer.member("handle")).collect();
    handles.sort_by_key(|handle| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(handle).unwrap()
    });
    handles
}

fn sessions_are_found_by_their_labels(_: Store, config: Value) {
    let (_site, _pserve, client, admin) = serve(&config, json!({}));
    let phone = begin(&client, "ada", json!({ "tenant": "acme", "device": "Ada's phone" }));
    let laptop = begin(&client, "ada", json!({ "tenant": "acme", "device": "laptop" }));
    let bob = begin(&client, "bob", json!({ "tenant": "acme" }));
    let eve = begin(&client, "eve", json!({ "tenant": "other" }));
    let none = begin(&client, "ada", json!({}));
    assert_eq!(phone.json()["labels"], json!({ "tenant": "acme", "device": "Ada's phone" }));
    for limit in [1, 2, 100] {
        assert_eq!(listed(&admin, "label=tenant:acme", limit), sorted(&[&phone, &laptop, &bob]));
        assert_eq!(listed(&admin, "label=tenant:acme&user=ada", limit), sorted(&[&phone, &laptop]));
        assert_eq!(listed(&admin, "label=tenant:acme&label=device:Ada's+phone", limit), sorted(&[&phone]));
        assert_eq!(listed(&admin, "label=tenant:other", limit), sorted(&[&eve]));
        assert!(listed(&admin, "label=tenant:acm", limit).is_empty());
        assert_eq!(listed(&admin, "user=ada", limit), sorted(&[&phone, &laptop, &none]));
    }
    let stats = admin.get("/sessman/stats?label=tenant:acme").expect(200).json();
    assert_eq!((&stats["active"], &stats["complete"]), (&json!(3), &json!(true)));
    assert_eq!(stats["by_age"][0]["sessions"], 3);
    client.with("X-Session-Id", &bob.member("session_id")).post("/sessman/end", json!({})).expect(200);
    assert_eq!(listed(&admin, "label=tenant:acme", 9), sorted(&[&phone, &laptop]));
    for wrong in
        ["label=tenant", "label=Tenant:x", "label=tenant:", "client_ip=x", "created_before=yesterday"]
    {
        let refused = admin.get(&format!("/sessman/list?{wrong}")).expect(400);
        assert!(refused.member("error").contains(wrong.split('=').next().unwrap()));
    }
    let many: Vec<String> = (0..40_000).map(|n| format!("a:{n}")).collect();
    let refused = admin.post("/sessman/end-sessions", json!({ "label": many, "dry_run": true })).expect(400);
    assert!(refused.member("error").contains("at most 8"));
    for labels in [
        json!({ "Tenant": "x" }),
        json!({ "tenant": "" }),
        json!({ "tenant": 1 }),
        json!({ "tenant": "a\nb" }),
        json!({ "tenant": "x".repeat(129) }),
        json!(["tenant"]),
        json!((0..9).map(|n| (format!("l{n}"), json!("x"))).collect::<serde_json::Map<_, _>>()),
    ] {
        let refused = client.post("/sessman/new", json!({ "labels": labels })).expect(400);
        assert!(refused.member("error").starts_with("labels"), "{}", refused.member("error"));
    }
}

fn labels_change_with_the_session(_: Store, config: Value) {
    let (site, pserve, client, admin) = serve(&config, json!({}));
    let begun = begin(&client, "ada", json!({ "tenant": "acme", "device": "phone" }));
    let session = client.with("X-Session-Id", &begun.member("session_id"));
    let change = |route: &str, labels: Value, expected: Value| {
        let changed = session.post(&format!("/sessman/{route}"), json!({ "labels": labels })).expect(200);
        assert_eq!(changed.json()["labels"], expected);
        changed.json()["version"].clone()
    };
    assert_eq!(
        change("touch", json!({ "device": "tablet" }), json!({ "tenant": "acme", "device": "tablet" })),
        2
    );
    assert_eq!(change("update", json!({ "device": null }), json!({ "tenant": "acme" })), 3);
    // What changes nothing is no change.
    assert_eq!(change("touch", json!({ "tenant": "acme", "none": null }), json!({ "tenant": "acme" })), 3);
    assert!(
        listed(&admin, "label=device:phone", 9).is_empty()
            && listed(&admin, "label=device:tablet", 9).is_empty()
    );
    assert_eq!(listed(&admin, "label=tenant:acme", 9), sorted(&[&begun]));
    let rotated = session.post("/sessman/rotate", json!({ "labels": { "sid": "1" } })).expect(200);
    assert_eq!(listed(&admin, "label=sid:1&label=tenant:acme", 9), [rotated.member("handle")]);
    if config["backend"] == "memory" {
        return;
    }
    pserve.stop();
    let pserve = site.start();
    let admin = pserve.client().with("X-Admin-Key", ADMIN_KEY);
    assert_eq!(listed(&admin, "label=sid:1", 9), [rotated.member("handle")]);
}

fn an_end_by_filter_is_previewed_and_bounded(_: Store, config: Value) {
    let (_site, _pserve, client, admin) = serve(&config, json!({ "max_sessions_per_user": 50 }));
    let acme: Vec<Answer> =
        (0..30).map(|n| begin(&client, &format!("u{}", n % 7), json!({ "tenant": "acme" }))).collect();
    let other = begin(&client, "u1", json!({ "tenant": "other" }));
    let is_live = |session: &Answer| {
        client.with("X-Session-Id", &session.member("session_id")).get("/sessman/get").status == 200
    };
    let preview =
        admin.post("/sessman/end-sessions", json!({ "label": "tenant:acme", "dry_run": true })).expect(200);
    let preview = preview.json();
    assert_eq!((&preview["matching"], &preview["complete"]), (&json!(30), &json!(true)));
    assert_eq!(preview["sessions"].as_array().unwrap().len(), 30);
    assert_eq!(preview["sessions"][0]["labels"], json!({ "tenant": "acme" }));
    // Without what the preview answered, nothing ends.
    for body in [
        json!({ "label": "tenant:acme" }),
        json!({ "label": "tenant:acme", "at_most": 30 }),
        json!({ "label": "tenant:acme", "cutoff": preview["cutoff"] }),
        json!({ "dry_run": true }),
        json!({ "cutoff": preview["cutoff"], "at_most": 1 }),
        json!({ "label": "tenant:acme", "handles": [acme[0].member("handle")] }),
        json!({ "handles": [acme[0].member("handle")], "dry_run": true }),
        json!({ "handles": [acme[0].member("handle")], "at_most": 1 }),
        json!({}),
    ] {
        admin.post("/sessman/end-sessions", body).expect(400);
    }
    std::thread::sleep(Duration::from_millis(5));
    let later = begin(&client, "u2", json!({ "tenant": "acme" }));
    let act = |at_most: u64| {
        let body = json!({ "label": "tenant:acme", "cutoff": preview["cutoff"], "at_most": at_most });
        admin.post("/sessman/end-sessions", body)
    };
    let refused = act(29).expect(409);
    assert_eq!(refused.json()["type"], "urn:sessman:problem:too-many-match");
    assert!(acme.iter().all(is_live));
    let ended = act(30).expect(200).json();
    assert_eq!(ended["ended"], 30);
    assert!(!acme.iter().any(is_live) && is_live(&other) && is_live(&later));
    // By address, and by when they were used and begun.
    let from = |ip: &str| json!({ "user": "net", "metadata": { "client_ip": ip } });
    let one = client.post("/sessman/new", from("192.0.2.1")).expect(201);
    // Times have milliseconds.
    std::thread::sleep(Duration::from_millis(5));
    let two = client.post("/sessman/new", from("2001:db8::1")).expect(201);
    assert_eq!(listed(&admin, "client_ip=192.0.2.1", 9), sorted(&[&one]));
    assert_eq!(listed(&admin, "client_ip=2001:DB8:0::1&user=net", 9), sorted(&[&two]));
    let begun = two.member("created_at");
    eventually("time goes on", || {
        client.with("X-Session-Id", &one.member("session_id")).post("/sessman/touch", json!({})).expect(200);
        !listed(&admin, &format!("user=net&active_after={begun}"), 9).is_empty()
            && listed(&admin, &format!("user=net&active_before={begun}"), 9).is_empty()
    });
    assert_eq!(listed(&admin, &format!("user=net&created_before={begun}"), 9), sorted(&[&one]));
    assert_eq!(listed(&admin, &format!("user=net&created_after={begun}"), 9), sorted(&[&two]));
    let soon = client.post("/sessman/new", json!({ "user": "net", "ttl_seconds": 60 })).expect(201);
    let expires_before = one.member("created_at");
    assert!(listed(&admin, &format!("user=net&expires_before={expires_before}"), 9).is_empty());
    let expires_before = one.member("expires_at");
    assert!(
        listed(&admin, &format!("user=net&expires_before={expires_before}"), 9)
            .contains(&soon.member("handle"))
    );
}

#[test]
fn sealed_sessions_are_found_by_labels_and_address() {
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let folder = Site::new();
    let config = json!({ "path": folder.path("kept.db"), "encryption_keys": [key] });
    let (site, pserve, client, admin) = serve(&config, json!({}));
    let begun = client
        .post("/sessman/new", json!({ "user": "ada", "labels": { "tenant": "acme" }, "metadata": { "client_ip": "192.0.2.7" } }))
        .expect(201);
    let session = client.with("X-Session-Id", &begun.member("session_id"));
    session.post("/sessman/touch", json!({ "persistent": true, "idle_seconds": 600 })).expect(200);
    session.post("/sessman/update", json!({ "labels": { "device": "x" }, "data": { "n": 1 } })).expect(200);
    assert_eq!(listed(&admin, "label=tenant:acme&client_ip=192.0.2.7", 9), [begun.member("handle")]);
    pserve.stop();
    let file = std::fs::read(folder.path("kept.db")).unwrap();
    let holds = |text: &str| file.windows(text.len()).any(|part| part == text.as_bytes());
    // As the pages say: labels are not encrypted, data and metadata are.
    assert!(holds("acme") && !holds("192.0.2.7"));
    let pserve = site.start();
    let session = pserve.client().with("X-Session-Id", &begun.member("session_id"));
    assert_eq!(
        session.get("/sessman/get").expect(200).json()["labels"],
        json!({ "tenant": "acme", "device": "x" })
    );
}
