//! `sessctl`: what it counts, lists, shows and ends, who does it, and what it ends with.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use e2e::http::Answer;
use e2e::on_every_store;
use e2e::pserve::{Pserve, Site, eventually};
use e2e::redis::Redis;
use e2e::sessctl::{Ran, beside, command, finish, port, run};
use e2e::store::Store;
use serde_json::{Value, json};

on_every_store!(
    sessions_are_counted_listed_shown_and_ended,
    sessions_that_match_are_counted_listed_and_ended,
    doctor_finds_nothing_wrong,
);

const ADMIN_KEY: &str = "the-admin-key";

fn with(config: &Value, more: Value) -> String {
    let mut config = config.clone();
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config.to_string()
}

/// Begins a session whose handle does not look like an option.
fn begin(pserve: &Pserve, user: &str) -> String {
    loop {
        let session = json!({ "user_id": user, "data": { "of": user } });
        let id = pserve.client().post("/sessman/new", session).expect(201).member("session_id");
        if !id.starts_with('-') {
            return id;
        }
        pserve.client().post("/sessman/end", json!({ "token": id })).expect(200);
    }
}

fn status(pserve: &Pserve, id: &str) -> u16 {
    pserve.client().get(&format!("/sessman/get?token={id}")).status
}

fn sessions_are_counted_listed_shown_and_ended(store: Store, config: Value) {
    let site = Site::new();
    site.sessman(&with(&config, json!({ "admin_key": ADMIN_KEY })));
    let pserve = site.start();
    let ids: Vec<String> = ["ada", "ada", "ada", "eve"].map(|user| begin(&pserve, user)).into();
    let sessctl = |arguments: &[&str]| {
        let ran = beside(&site, &pserve, arguments);
        for id in &ids {
            assert!(!format!("{ran:?}").contains(&id[16..]), "a secret: {ran:?}");
        }
        ran
    };

    let stats = sessctl(&["stats", "--json"]).expect(0).json();
    assert_eq!([&stats["total"], &stats["active"], &stats["expired"]], [&json!(4), &json!(4), &json!(0)]);
    assert_eq!(stats["by_age"][0], json!({ "below_seconds": 3_600, "sessions": 4 }));
    let text = sessctl(&["stats"]).expect(0).out;
    // The classes are those of the JSON: each session is in one of them, which the name says.
    let row = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)).map(|count| count.trim().to_owned())
    };
    for (name, count) in [
        ("total ", "4"),
        ("active ", "4"),
        ("expired ", "0"),
        ("active, younger than an hour ", "4"),
        ("active, an hour to a day ", "0"),
        ("active, a day to 7 days ", "0"),
        ("active, 7 days to 30 days ", "0"),
        ("active, 30 days and older ", "0"),
    ] {
        assert_eq!(row(name).as_deref(), Some(count), "{name}: {text}");
    }

    let listed = |arguments: &[&str]| {
        let page = sessctl(&[&["list", "--json"], arguments].concat()).expect(0).json();
        let sessions = page["sessions"].as_array().unwrap().clone();
        (sessions, page["next"].as_str().map(str::to_owned))
    };
    let (all, next) = listed(&[]);
    assert!(all.len() == 4 && next.is_none() && all[0].get("data").is_none(), "{all:?}");
    assert_eq!(listed(&["--all"]).0, all);
    assert_eq!(listed(&["--user", "ada"]).0.len(), 3);
    assert_eq!(listed(&["--user", "nobody"]).0.len(), 0);
    let (first, next) = listed(&["--limit", "3"]);
    let (rest, end) = listed(&["--limit", "3", "--after", &next.unwrap()]);
    assert_eq!(([first, rest].concat(), end), (all, None));
    let text = sessctl(&["list", "--limit", "1", "--user", "eve"]).expect(0).out;
    assert!(text.starts_with("HANDLE") && text.contains(&ids[3][..16]) && text.contains("  eve  "), "{text}");

    if store == Store::Memory {
        sessctl(&["show", &ids[0][..16]]).expect(2).says("in the memory of pserve");
        sessctl(&["ping"]).expect(2);
    } else {
        let shown = sessctl(&["show", &ids[3][..16], "--json"]).expect(0).json();
        let mut served = pserve.client().get(&format!("/sessman/get?token={}", ids[3])).expect(200).json();
        served.as_object_mut().unwrap().remove("session_id");
        assert_eq!(shown, served);
        assert!(sessctl(&["show", &ids[3][..16]]).expect(0).out.contains(r#"{"of":"eve"}"#));
        sessctl(&["ping"]).expect(0);
        assert!(sessctl(&["ping", "--json"]).expect(0).json()["milliseconds"].as_f64().unwrap() > 0.0);
    }

    let ended = sessctl(&["end", &ids[0][..16], "--json"]).expect(0).json();
    assert_eq!(ended, json!({ "ended": 1, "handles": [&ids[0][..16]] }));
    assert_eq!(status(&pserve, &ids[0]), 404);
    sessctl(&["end", &ids[0][..16]]).expect(1).says("1 of 1 sessions did not live");
    sessctl(&["show", &ids[0][..16]]).expect(if store == Store::Memory { 2 } else { 1 });
    sessctl(&["end-user", "ada"]).expect(1).says("--yes");
    assert_eq!(status(&pserve, &ids[1]), 200);
    assert_eq!(sessctl(&["end-user", "ada", "--yes", "--json"]).expect(0).json()["ended"], 2);
    assert_eq!(ids[1..].iter().map(|id| status(&pserve, id)).collect::<Vec<_>>(), [404, 404, 200]);

    let short = json!({ "user_id": "ada", "ttl_seconds": 1 });
    pserve.client().post("/sessman/new", short).expect(201);
    eventually("a second", || sessctl(&["stats", "--json"]).json()["active"] == 1);
    // Where other nodes may be, what has just ended may live by the clock of one of them.
    let left = u64::from(store.is_shared());
    let purged = sessctl(&["cleanup", "--json"]).expect(0).json();
    assert_eq!(purged, json!({ "purged": 1 - left }));
    assert_eq!(sessctl(&["stats", "--json"]).expect(0).json()["total"], 1 + left);
}

fn sessions_that_match_are_counted_listed_and_ended(store: Store, config: Value) {
    let site = Site::new();
    site.sessman(&with(&config, json!({ "admin_key": ADMIN_KEY })));
    let pserve = site.start();
    let new = |user: &str, labels: Value, address: &str| {
        let session = json!({ "user_id": user, "labels": labels, "metadata": { "client_ip": address }, "persistent": true });
        pserve.client().post("/sessman/new", session).expect(201)
    };
    let acme: Vec<_> = (0..12)
        .map(|n| {
            if n == 6 {
                thread::sleep(Duration::from_millis(20));
            }
            let labels = match n % 3 {
                0 => json!({ "tenant": "acme", "device": "Ada's phone" }),
                _ => json!({ "tenant": "acme" }),
            };
            new(&format!("u{}", n % 4), labels, &format!("192.0.2.{}", n % 2))
        })
        .collect();
    let other = new("u0", json!({ "tenant": "other" }), "2001:db8::1");
    let pivot = acme[6].member("created_at");
    let url = format!("http://{}/sessman", pserve.address());
    // Directly, where the store allows it, and by URL.
    let ways: [&[&str]; 2] = [&[], &["--url", &url]];
    let sessctl = |way: usize, arguments: &[&str]| beside(&site, &pserve, &[arguments, ways[way]].concat());

    for way in [0, 1] {
        let listed = |arguments: &[&str]| {
            let page = sessctl(way, &[&["list", "--json"], arguments].concat()).expect(0).json();
            let sessions = page["sessions"].as_array().unwrap().clone();
            (sessions, page["next"].as_str().map(str::to_owned))
        };
        let address = "2001:0DB8:0::1";
        for (arguments, count) in [
            (&["--label", "tenant:acme"][..], 12),
            (&["--label", "tenant:acme", "--label", "device:Ada's phone"], 4),
            (&["--label", "tenant:acme", "--user", "u0"], 3),
            (&["--label", "tenant:acm"], 0),
            (&["--client-ip", "192.0.2.1"], 6),
            (&["--client-ip", address], 1),
            (&["--client-ip", "192.0.2.9"], 0),
            (&["--created-before", &pivot], 6),
            (&["--created-after", &pivot], 7),
            (&["--active-before", &pivot, "--user", "u1"], 2),
            (&["--active-after", &pivot, "--label", "tenant:acme"], 6),
            (&["--expires-before", &pivot], 0),
            (&["--expires-before", "2999-01-01T00:00:00+01:00"], 13),
        ] {
            let (all, next) = listed(arguments);
            assert!(all.len() == count && next.is_none(), "{arguments:?}: {all:?}");
            assert_eq!(listed(&[&["--all"], arguments].concat()).0, all);
            let stats = sessctl(way, &[&["stats", "--json"], arguments].concat()).expect(0).json();
            assert_eq!(
                (&stats["active"], &stats["complete"]),
                (&json!(count), &json!(true)),
                "{arguments:?}"
            );
        }
        let filter = ["--label", "tenant:acme", "--client-ip", "192.0.2.1"];
        let (first, next) = listed(&[&["--limit", "4"][..], &filter].concat());
        let (rest, end) = listed(&[&["--limit", "4", "--after", &next.unwrap()][..], &filter].concat());
        assert_eq!((first.len(), [first, rest].concat(), end), (4, listed(&filter).0, None));
        let text = sessctl(way, &["list", "--label", "device:Ada's phone"]).expect(0).out;
        assert!(text.lines().next().unwrap().ends_with("VERSION  LABELS"), "{text}");
        assert_eq!(text.matches("device:Ada's phone, tenant:acme").count(), 4, "{text}");
        let text = sessctl(way, &["list", "--label", "a:b"]).expect(0).out;
        assert_eq!(text.lines().count(), 1, "{text}");

        let filter = ["end", "--label", "tenant:acme"];
        let preview = sessctl(way, &[&filter[..], &["--dry-run", "--json"]].concat()).expect(0).json();
        assert_eq!((&preview["matching"], &preview["complete"]), (&json!(12), &json!(true)));
        assert_eq!(preview["sessions"], Value::from(listed(&["--label", "tenant:acme"]).0));
        assert!(preview["cutoff"].as_str().unwrap() > pivot.as_str());
        let text = sessctl(way, &[&filter[..], &["--dry-run", "--yes"]].concat()).expect(0).out;
        assert!(text.starts_with("matching: 12; cutoff: 2") && text.ends_with("\nand 2 more\n"), "{text}");
        assert_eq!(text.lines().count(), 1 + 1 + 10 + 1, "{text}");
        // Nobody can be asked here.
        sessctl(way, &filter).expect(1).says("matching: 12").says("--yes");
        sessctl(way, &["end", "--label", "tenant"]).expect(2).says("expected names");
        sessctl(way, &["end", "--active-before", "yesterday"]).expect(2).says("RFC 3339");
        sessctl(way, &["end", "--user", "u1", &acme[0].member("handle")]).expect(2);
        sessctl(way, &["end", "--yes"]).expect(2);
        assert_eq!(listed(&["--label", "tenant:acme"]).0.len(), 12);
    }
    if store != Store::Memory {
        let shown = sessctl(0, &["show", "--", &acme[0].member("handle")]).expect(0).out;
        assert!(shown.contains("\npersistent     true\n"), "{shown}");
        let labels = r#"labels         {"device":"Ada's phone","tenant":"acme"}"#;
        assert!(shown.contains(labels), "{shown}");
    }

    let is_live = |session: &Answer| status(&pserve, &session.member("session_id")) == 200;
    let phones = ["end", "--label", "tenant:acme", "--label", "device:Ada's phone", "--yes", "--json"];
    let ended = sessctl(0, &phones).expect(0).json();
    assert_eq!((&ended["ended"], ended["handles"].as_array().unwrap().len()), (&json!(4), 4));
    assert_eq!(sessctl(0, &phones).expect(0).json(), json!({ "ended": 0, "handles": [] }));
    assert!(acme.iter().enumerate().all(|(n, session)| is_live(session) == (n % 3 != 0)));
    let text = sessctl(1, &["end", "--label", "tenant:acme", "--yes"]).expect(0).out;
    assert!(text.starts_with("ended: 8\n"), "{text}");
    assert!(is_live(&other) && !acme.iter().any(is_live));
    assert_eq!(sessctl(1, &["end", "--label", "tenant:acme", "--yes"]).expect(0).out, "ended: 0\n");
    assert_eq!(sessctl(1, &["stats", "--json"]).expect(0).json()["active"], 1);
    assert!(pserve.log().contains(r#"admin: ended sessions label="tenant:acme": 8 ["#), "{}", pserve.log());
    if store == Store::Sqlite {
        assert!(pserve.stop().success());
        assert_eq!(run(&site, &["end", "--user", "u0", "--yes", "--json"]).expect(0).json()["ended"], 1);
        assert_eq!(run(&site, &["stats", "--json"]).expect(0).json()["total"], 0);
    }
}

fn doctor_finds_nothing_wrong(store: Store, config: Value) {
    let site = Site::new();
    site.sessman(&with(&config, json!({ "admin_key": ADMIN_KEY, "idle_timeout": 3_600 })));
    let pserve = site.start();
    begin(&pserve, "ada");
    if store == Store::Memory {
        beside(&site, &pserve, &["doctor"]).expect(2).says("in the memory of pserve");
        return;
    }
    // MongoDB's indexes are made after the start.
    eventually("all is well", || beside(&site, &pserve, &["doctor"]).code == Some(0));
    let found = beside(&site, &pserve, &["doctor", "--json"]).expect(0).json();
    let about = |about: &str| {
        let findings = found["findings"].as_array().unwrap();
        let found = findings.iter().find(|finding| finding["about"] == about);
        found.unwrap_or_else(|| panic!("{about}: {found:?}")).clone()
    };
    assert_eq!(found["good"], true);
    for good in ["connection", "server", "records", "sessions"] {
        assert_eq!(about(good)["level"], "good", "{found}");
    }
    if store.is_shared() {
        assert_eq!(about("clock")["level"], "good", "{found}");
    }
    let text = beside(&site, &pserve, &["doctor"]).expect(0).out;
    assert!(text.contains("hint  configuration  there are no `encryption_keys`"), "{text}");
}

#[test]
fn a_sqlite_file_is_written_by_its_owner_and_by_nobody_beside_it() {
    let site = Site::new();
    site.sessman("{}");
    run(&site, &["stats"]).expect(1).says("pserve makes it when it starts");
    run(&site, &["cleanup"]).expect(1);
    assert!(!site.path("state").exists(), "nothing is made");
    let pserve = site.start();
    let id = begin(&pserve, "ada");
    let handle = &id[..16];
    // Reading needs no key.
    beside(&site, &pserve, &["show", handle]).expect(0);
    beside(&site, &pserve, &["end", handle]).expect(2).says("has no `admin_key`").says("stop pserve");
    // One that pserve does not know yet, and one that it knows.
    site.sessman(&json!({ "admin_key": ADMIN_KEY }).to_string());
    beside(&site, &pserve, &["end", handle]).expect(1);
    pserve.signal(rustix::process::Signal::HUP);
    // Asked of pserve: between its two instances nobody owns the file, and a command would work on it itself.
    let admin = pserve.client().with("X-Admin-Key", ADMIN_KEY);
    eventually("it is reloaded", || admin.get("/sessman/stats").status == 200);
    beside(&site, &pserve, &["cleanup"]).expect(0);
    run(&site, &["end", handle]).expect(2).says("--url http://127.0.0.1:PORT/sessman");
    let url = format!("http://{}/sessman", pserve.address());
    site.sessman(&json!({ "admin_key": "a-wrong-admin-key" }).to_string());
    run(&site, &["end", handle, "--url", &url]).expect(1).says("did not take the admin_key");
    site.sessman(&json!({ "admin_key": ADMIN_KEY }).to_string());
    // The key is for pserve, whatever proxy the environment names.
    let mut proxied = command(&site, &["stats", "--url", &url]);
    proxied.envs(["HTTP_PROXY", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:1"))).env_remove("NO_PROXY");
    finish(proxied).expect(0);
    assert_eq!(status(&pserve, &id), 200);
    run(&site, &["end", handle, "--url", &url]).expect(0);
    assert_eq!(status(&pserve, &id), 404);
    assert!(pserve.log().contains(&format!("admin: ended sessions: 1 [{handle}]")), "{}", pserve.log());

    let id = begin(&pserve, "ada");
    assert!(pserve.stop().success());
    run(&site, &["end", handle, "--url", &url]).expect(3).says("no answer from pserve");
    run(&site, &["end", &id[..16]]).expect(0);
    assert_eq!(run(&site, &["stats", "--json"]).expect(0).json()["total"], 0);
}

#[test]
fn each_kind_of_failure_has_its_exit_code() {
    let site = Site::new();
    run(&site, &["frobnicate"]).expect(2);
    let id = "A".repeat(48);
    let refused = run(&site, &["end", &id]).expect(2).says("expected a handle");
    assert!(!refused.err.contains("AAAA"), "an id is not repeated: {refused:?}");
    run(&site, &["-i", "nowhere.ini", "stats"]).expect(2).says("nowhere.ini");
    site.sessman(r#"{ "sesion_ttl": 5, "password": "hunter2" }"#);
    let wrong = run(&site, &["stats"]).expect(2).says("did you mean `session_ttl`?");
    assert!(!wrong.err.contains("hunter2"), "{wrong:?}");
    site.ini("[plugin_parms]\none=plugin=sessman\ntwo=plugin=sessman");
    run(&site, &["stats"]).expect(2).says("--instance with one of one, two");
    run(&site, &["--instance", "two", "stats"]).expect(1).says("two.db");

    for config in [
        json!({ "server_url": "redis://127.0.0.1:1", "password": "hunter2" }),
        json!({ "server_url": "127.0.0.1:1", "username": "u", "password": "hunter2" }),
    ] {
        site.write("away.json", config.to_string());
        for words in [
            &["ping"][..],
            &["stats"],
            &["doctor"],
            &["list"],
            &["backup", "x"],
            &["end", "AAAAAAAAAAAAAAAA"],
        ] {
            let away = run(&site, &[&["--json-file", "away.json"], words].concat()).expect(3);
            assert!(!format!("{away:?}").contains("hunter2"), "{away:?}");
        }
    }
    let help = run(&site, &["--help"]).expect(0).out;
    assert!(help.contains("Exit codes: 0 done") && help.contains("migrate"), "{help}");
}

#[test]
fn doctor_finds_settings_that_lose_sessions_and_keys_that_do_not_open_them() {
    let settings = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"];
    let Some(redis) = Redis::start("doctor_finds_settings_that_lose_sessions", &settings) else { return };
    let site = Site::new();
    let server_url = format!("redis://127.0.0.1:{}", redis.port());
    site.sessman(&json!({ "server_url": server_url }).to_string());
    let found = run(&site, &["doctor"]).expect(1).out;
    assert!(
        found.contains("FAULT  settings") && found.contains("maxmemory-policy is allkeys-lru"),
        "{found}"
    );
    assert!(found.contains("hint   settings") && found.contains("appendonly is no"), "{found}");

    let site = Site::new();
    let keyed = |byte: &str| json!({ "encryption_keys": byte.repeat(32) }).to_string();
    site.sessman(&keyed("01"));
    let pserve = site.start();
    let id = begin(&pserve, "ada");
    run(&site, &["doctor"]).expect(0);
    site.sessman(&keyed("02"));
    let found = run(&site, &["doctor"]).expect(1).out;
    assert!(found.contains("FAULT  records") && found.contains("`encryption_keys` does not have"), "{found}");
    site.sessman("{}");
    let found = run(&site, &["doctor"]).expect(1).out;
    assert!(found.contains("there are no `encryption_keys`"), "{found}");
    // What cannot be read is not shown as if it were the data, and not moved; it can be ended.
    run(&site, &["show", &id[..16]]).expect(1).says("is encrypted");
    site.write("other.json", json!({ "path": "other.db" }).to_string());
    run(&site, &["migrate", "--to", "other.json", "--yes"]).expect(1).says("is encrypted");
    assert_eq!(run(&site, &["list", "--json"]).expect(0).json()["sessions"][0]["handle"], id[..16]);
    assert!(pserve.stop().success());
    run(&site, &["end", &id[..16]]).expect(0);
}

#[test]
fn monitor_says_what_begins_and_ends() {
    let site = Site::new();
    site.sessman("{}");
    let pserve = site.start();
    let id = begin(&pserve, "ada");
    let mut monitor = command(&site, &["monitor", "--json", "--count", "4"]);
    let mut monitor = monitor.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(monitor.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let first = next();
    assert_eq!(
        (&first["active"], &first["created"], &first["ended"]),
        (&json!(1), &json!(null), &json!(null))
    );
    begin(&pserve, "eve");
    begin(&pserve, "eve");
    pserve.client().post("/sessman/end", json!({ "token": id })).expect(200);
    let rest: Vec<Value> = (0..3).map(|_| next()).collect();
    assert!(monitor.wait().unwrap().success());
    let sum = |name: &str| rest.iter().map(|line| line[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("created"), sum("ended"), &rest[2]["total"]), (2, 1, &json!(2)), "{rest:?}");
    let text = run(&site, &["monitor", "--count", "1"]).expect(0).out;
    assert!(text.starts_with("TIME") && text.lines().count() == 2, "{text}");
}

#[test]
fn connect_opens_the_shell_of_the_store_without_a_password_among_its_arguments() {
    let site = Site::new();
    site.sessman("{}");
    let pserve = site.start();
    begin(&pserve, "ada");
    let counted = run(&site, &["connect", "--", "SELECT count(*) FROM sessions"]).expect(0);
    assert_eq!(counted.out.trim(), "1");
    let refused = run(&site, &["connect", "--", "DELETE FROM sessions"]);
    assert!(refused.code != Some(0) && refused.err.contains("readonly"), "{refused:?}");

    if let Some(redis) = Redis::start("connect", &["--requirepass", "hunter2"]) {
        let config = json!({ "server_url": format!("127.0.0.1:{}", redis.port()), "backend": "redis", "password": "hunter2" });
        site.write("redis.json", config.to_string());
        let answer = run(&site, &["--json-file", "redis.json", "connect", "--", "ping"]).expect(0);
        assert_eq!(answer.out.trim(), "PONG", "{answer:?}");
    }

    // In place of programs that show how they were called.
    let bin = site.path("bin");
    fs::create_dir(&bin).unwrap();
    for program in ["mongosh", "redis-cli"] {
        let script = "#!/bin/sh\necho \"$@\"\necho \"$REDISCLI_AUTH$SESSCTL_MONGODB_URL\" >&2\n";
        fs::write(bin.join(program), script).unwrap();
        fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let shown = |config: Value, path: &std::path::Path| -> Ran {
        site.write("other.json", config.to_string());
        let mut command = command(&site, &["--json-file", "other.json", "connect"]);
        command.env("PATH", path);
        finish(command)
    };
    let mongodb = json!({ "server_url": "db.example:1", "username": "u", "password": "hunter2/@" });
    let called = shown(mongodb.clone(), &bin).expect(0);
    assert!(called.out.contains("--nodb --shell") && !called.out.contains("hunter2"), "{called:?}");
    assert_eq!(called.err.trim(), "mongodb://u:hunter2%2F%40@db.example:1/sessman?authSource=sessman");
    let redis = json!({ "server_url": "rediss://u:hunter2@cache.example:1/2" });
    let called = shown(redis, &bin).expect(0);
    assert_eq!(called.out.trim(), "-h cache.example -p 1 -n 2 --user u --tls");
    assert_eq!(called.err.trim(), "hunter2");
    shown(mongodb, &site.path("plugins")).expect(1).says("mongosh is not installed; install mongosh from");
    assert!(!port(&pserve).is_empty());
}

#[test]
fn the_variables_of_a_service_are_read_from_its_file() {
    let site = Site::new();
    site.write(
        "sessman.json",
        r#"{ "path": "${ENV:NAME_OF_FILE}", "admin_key": "${ENV:ADMIN_KEY_OF_SERVICE}" }"#,
    );
    site.ini(
        "[plugin_parms]\nsessman=json=sessman.json\nother=plugin=sessman&path=${ENV:NAME_OF_FILE}.other",
    );
    let service = [("NAME_OF_FILE", "of the service.db"), ("ADMIN_KEY_OF_SERVICE", "an \"admin\" $key")];
    let pserve = site.try_start_with(&service).unwrap();
    begin(&pserve, "ada");
    let id = begin(&pserve, "eve");

    let port = port(&pserve);
    let file = |rest: &str| {
        site.write(
            "environment",
            format!(
                "# of the service\n\nNAME_OF_FILE='of the service.db'\nPSERVE_NETWORK_PORT={port} \n{rest}"
            ),
        );
        fs::set_permissions(site.path("environment"), fs::Permissions::from_mode(0o600)).unwrap();
    };
    file("ADMIN_KEY_OF_SERVICE=\"an \\\"admin\\\" \\$key\"\n");
    let with_file = |arguments: &[&str]| {
        let arguments = [&["--env-file", "environment", "--instance", "sessman"], arguments].concat();
        let mut command = command(&site, &arguments);
        // What a shell happens to have does not stand in for it.
        command.env("NAME_OF_FILE", "of the shell.db");
        finish(command)
    };
    run(&site, &["stats", "--instance", "sessman"]).expect(2).says("NAME_OF_FILE is not set");
    assert_eq!(with_file(&["stats", "--json"]).expect(0).json()["active"], 2);
    // Who owns the file is asked, at the port and with the key of the file.
    with_file(&["end", "--", &id[..16]]).expect(0);
    assert_eq!(with_file(&["stats", "--json"]).expect(0).json()["active"], 1);

    for (wrong, line) in [("export A=hidden\n", 5), ("A='hidden\n", 5), ("\nhidden\n", 6)] {
        file(wrong);
        let refused = with_file(&["stats"]).expect(2).says(&format!("environment:{line}: "));
        assert!(!format!("{refused:?}").contains("hidden"), "{refused:?}");
    }
    file("");
    fs::set_permissions(site.path("environment"), fs::Permissions::from_mode(0o666)).unwrap();
    with_file(&["stats"]).expect(2).says("environment: ");
    finish(command(&site, &["stats", "--env-file", "nowhere"])).expect(2).says("nowhere");
}
