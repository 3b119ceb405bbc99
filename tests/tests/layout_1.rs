//! Sessions that releases with layout 1 wrote are read, changed and listed as any others, whatever layout is written
//! today. The fixtures are what such a release left in each store; see `tests/fixtures/layout-1/README.md`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use e2e::clock::millis;
use e2e::http::Client;
use e2e::layout_1::{Fixture, Kept, USER, rules};
use e2e::pserve::{Pserve, Site};
use e2e::races::ADMIN_KEY;
use e2e::redis::Redis;
use e2e::sessctl;
use e2e::standin::StandIn;
use e2e::store::Store;
use serde_json::{Value, json};

/// A host with the rules of the fixtures.
fn site(config: &Value) -> Site {
    let site = Site::new();
    let mut config = config.clone();
    config.as_object_mut().unwrap().extend(rules().as_object().unwrap().clone());
    site.sessman(&config.to_string());
    site
}

fn get(client: &Client, session: &Value) -> Value {
    client.post("/sessman/get", json!({ "token": session["session_id"] })).expect(200).json()
}

/// Checks what is shown of a session; a later release may show more.
#[track_caller]
fn is_shown(found: &Value, session: &Value, except: &[&str]) {
    for (name, value) in session.as_object().unwrap() {
        if name != "session_id" && !except.contains(&name.as_str()) {
            assert_eq!(found[name], *value, "{name} of {session}");
        }
    }
}

fn time_to_live(session: &Value) -> i64 {
    let at = |name: &str| millis(session[name].as_str().unwrap());
    at("expires_at") - at("last_activity")
}

/// All sessions that are listed, of a user or of all.
fn list(client: &Client, query: &str) -> Vec<Value> {
    let admin = client.with("X-Admin-Key", ADMIN_KEY);
    admin.get(&format!("/sessman/list?limit=1000{query}")).expect(200).json()["sessions"]
        .as_array()
        .unwrap()
        .clone()
}

fn user_query() -> String {
    let encoded: String = USER.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("&user_id={encoded}")
}

fn is_listed(client: &Client, query: &str, sessions: &[&Value]) {
    let listed = list(client, query);
    assert_eq!(listed.len(), sessions.len(), "{listed:?}");
    for session in sessions {
        let found = listed.iter().find(|found| found["handle"] == session["handle"]);
        is_shown(found.unwrap_or_else(|| panic!("{session} is not listed")), session, &["data"]);
    }
}

/// Reads, lists, changes and ends the sessions at a host on the store that they were put into.
fn are_as_any_others(fixture: &Fixture, site: &Site, pserve: Pserve) {
    let (client, sessions) = (pserve.client(), &fixture.sessions);
    let users: Vec<&Value> = sessions.iter().filter(|session| session["user_id"] == USER).collect();
    assert_eq!((sessions.len(), users.len()), (6, 3));
    for session in sessions {
        is_shown(&get(&client, session), session, &[]);
    }
    is_listed(&client, "", &sessions.iter().collect::<Vec<_>>());
    is_listed(&client, &user_query(), &users);
    let admin = client.with("X-Admin-Key", ADMIN_KEY);
    assert_eq!(admin.get("/sessman/stats").expect(200).json()["active"], sessions.len());
    assert_eq!(admin.post("/sessman/cleanup", json!({})).expect(200).json()["purged"], 0);

    // Changed, each once in each way, and read by a host that has not seen them before.
    let except = ["data", "version", "updated_at", "last_activity", "expires_at"];
    for session in sessions {
        let (id, version) = (&session["session_id"], session["version"].as_u64().unwrap());
        let shown = client.post("/sessman/get", json!({ "token": id })).expect(200);
        let tag = shown.header("etag").unwrap().to_owned();
        let matching = client.with("If-Match", &tag);
        matching.post("/sessman/update", json!({ "token": id, "data": { "new": "ü" } })).expect(200);
        matching.post("/sessman/update", json!({ "token": id, "data": 1 })).expect(412);
        let merge = json!({ "token": id, "data": { "more": 1 } });
        client.post("/sessman/update?mode=merge", merge).expect(200);
        client.post("/sessman/touch", json!({ "token": id })).expect(200);
        let found = get(&client, session);
        is_shown(&found, session, &except);
        assert_eq!(
            (&found["data"], &found["version"]),
            (&json!({ "new": "ü", "more": 1 }), &json!(version + 2))
        );
        // Each with its own time to live.
        assert_eq!(time_to_live(&found), time_to_live(session), "{session}");
    }
    assert!(pserve.stop().success());
    let pserve = site.start();
    let client = pserve.client();
    for session in sessions {
        is_shown(&get(&client, session), session, &except);
    }
    let login =
        |user: &str| client.post("/sessman/new", json!({ "user_id": user })).expect(201).member("handle");
    let mut expected: Vec<String> =
        users.iter().map(|session| session["handle"].as_str().unwrap().to_owned()).collect();

    // A user may have five; the one that came first makes room, as the old release wrote down who came when.
    expected.extend((0..3).map(|_| login(USER)));
    expected.remove(0);
    expected.sort_unstable();
    let mut listed: Vec<String> = list(&client, &user_query())
        .iter()
        .map(|session| session["handle"].as_str().unwrap().to_owned())
        .collect();
    listed.sort_unstable();
    assert_eq!(listed, expected);

    // One that ends is gone, and an id that was chosen is free again, for another session.
    for session in sessions.iter().filter(|session| session["handle"] != users[0]["handle"]) {
        let id = &session["session_id"];
        client.post("/sessman/end", json!({ "token": id })).expect(200);
        client.post("/sessman/get", json!({ "token": id })).expect(404);
    }
    let external = "an-external-id-0123456789";
    assert!(sessions.iter().any(|session| session["session_id"] == external));
    let again = client.post("/sessman/new", json!({ "external_id": external, "user_id": "bob" })).expect(201);
    assert_eq!((again.json()["version"].clone(), again.json()["user_id"].clone()), (json!(1), json!("bob")));
    assert!(pserve.stop().success());
}

#[test]
fn a_sqlite_file_of_layout_1_is_taken() {
    let fixture = Fixture::open(Kept::Sqlite);
    let site = site(&json!({}));
    let folder = site.path("state");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(folder.join("sessman.db"), fixture.file()).unwrap();
    let pserve = site.start();
    are_as_any_others(&fixture, &site, pserve);
}

#[test]
fn redis_keys_of_layout_1_are_taken() {
    let Some(redis) = Redis::start("redis_keys_of_layout_1_are_taken", &[]) else { return };
    let fixture = Fixture::open(Kept::Redis);
    fixture.put_into_redis(&format!("127.0.0.1:{}", redis.port()), "sessman");
    let site = site(&redis.config());
    let pserve = site.start();
    are_as_any_others(&fixture, &site, pserve);
}

#[test]
fn redis_keys_of_layout_1_in_a_cluster_are_taken() {
    let test = "redis_keys_of_layout_1_in_a_cluster_are_taken";
    let Some(config) = Store::RedisCluster.config(test) else { return };
    let fixture = Fixture::open(Kept::Redis);
    let member = config["server_url"].as_str().unwrap().split(',').next().unwrap();
    fixture.put_into_redis(member, config["collection"].as_str().unwrap());
    let site = site(&config);
    let pserve = site.start();
    are_as_any_others(&fixture, &site, pserve);
}

#[test]
fn mongodb_documents_of_layout_1_are_taken() {
    let Some(mongo) = StandIn::start("mongodb_documents_of_layout_1_are_taken", 0) else { return };
    let fixture = Fixture::open(Kept::MongoDb);
    let address = format!("127.0.0.1:{}", mongo.port());
    fixture.put_into_mongodb(&address, "sessman", "sessions");
    let site = site(&json!({ "server_url": format!("mongodb://{address}") }));
    let pserve = site.start();
    are_as_any_others(&fixture, &site, pserve);
}

#[test]
fn a_backup_of_layout_1_is_restored() {
    let fixture = Fixture::open(Kept::Backup);
    let site = site(&json!({}));
    fs::write(site.path("backup"), fixture.file()).unwrap();
    sessctl::run(&site, &["verify", "backup"]).expect(0);
    let restored = sessctl::run(&site, &["restore", "backup", "--yes", "--json"]).expect(0).json();
    assert_eq!(restored["restored"], fixture.sessions.len());
    let pserve = site.start();
    are_as_any_others(&fixture, &site, pserve);
}
