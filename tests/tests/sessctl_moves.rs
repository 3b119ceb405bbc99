//! `sessctl`: sessions into a file and back, and from one store into another.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use e2e::http::Client;
use e2e::on_every_store;
use e2e::pserve::{Site, eventually};
use e2e::redis::Redis;
use e2e::sessctl::{beside, command, fill, run};
use e2e::store::Store;
use serde_json::{Value, json};

on_every_store!(a_backup_comes_back_as_it_was);

#[test]
fn a_restore_by_root_leaves_the_file_to_the_user_of_the_folder() {
    let test = "a_restore_by_root_leaves_the_file_to_the_user_of_the_folder";
    let folder = tempfile::tempdir().unwrap();
    let user = 4_711;
    if chown(folder.path(), Some(user), Some(user)).is_err() {
        e2e::skip(test, "only root may give folders away");
        return;
    }
    let site = Site::new();
    site.sessman("{}");
    let pserve = site.start();
    fill(&pserve.client(), 3);
    beside(&site, &pserve, &["backup", "sessions.backup"]).expect(0);
    assert!(pserve.stop().success());
    let other = Site::new();
    other.sessman(&json!({ "path": folder.path().join("sessions.db") }).to_string());
    let backup = site.path("sessions.backup");
    run(&other, &["restore", backup.to_str().unwrap(), "--yes"]).expect(0);
    let mut files = 0;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let owner = entry.metadata().unwrap().uid();
        assert_eq!(owner, user, "{:?}", entry.path());
        files += 1;
    }
    assert!(files > 0);
}

const ONE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const TWO: &str = "0202020202020202020202020202020202020202020202020202020202020202";

fn with(config: &Value, more: Value) -> String {
    let mut config = config.clone();
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config.to_string()
}

/// What is served of each session.
fn served(client: &Client, ids: &[String]) -> Vec<Value> {
    ids.iter().map(|id| client.get(&format!("/sessman/get?token={id}")).json()).collect()
}

fn a_backup_comes_back_as_it_was(store: Store, config: Value) {
    if store == Store::Memory {
        let site = Site::new();
        site.sessman(&config.to_string());
        for words in [&["backup", "x"][..], &["migrate", "--to", "pserve.ini", "--yes"]] {
            run(&site, words).expect(2).says("in the memory of pserve");
        }
        return;
    }
    const SESSIONS: usize = 250;
    let site = Site::new();
    site.sessman(&config.to_string());
    let pserve = site.start();
    let ids = fill(&pserve.client(), SESSIONS);
    let changed = format!("/sessman/update?token={}", ids[7]);
    pserve.client().send("PATCH", &changed, r#"{"n":null,"x":[1]}"#).expect(200);
    pserve.client().post("/sessman/new", json!({ "ttl_seconds": 1 })).expect(201);
    eventually("one of them expires", || {
        beside(&site, &pserve, &["stats", "--json"]).json()["active"] == SESSIONS
    });
    let before = served(&pserve.client(), &ids);
    let written = beside(&site, &pserve, &["backup", "sessions.backup", "--json"]).expect(0).json();
    assert_eq!((&written["records"], &written["expired"]), (&json!(SESSIONS), &json!(1)));
    beside(&site, &pserve, &["backup", "sessions.backup"]).expect(1).says("is there already");
    let verified = run(&site, &["verify", "sessions.backup", "--json"]).expect(0).json();
    assert_eq!((&verified["digest"], &verified["records"]), (&written["digest"], &written["records"]));
    assert!(
        run(&site, &["verify", "sessions.backup"]).expect(0).out.contains("whole; 250 sessions of sessman")
    );
    drop(pserve);

    // Into an empty store of the same kind, with a limit that was not there before.
    let Some(empty) = store.config("a_backup_comes_back_as_it_was") else { return };
    let other = Site::new();
    other.sessman(&with(&empty, json!({ "max_sessions_per_user": 3 })));
    let file = site.path("sessions.backup");
    let file = file.to_str().unwrap();
    run(&other, &["restore", file]).expect(1).says("--yes");
    let restored = run(&other, &["restore", file, "--yes", "--json"]).expect(0).json();
    assert_eq!((&restored["restored"], &restored["present"]), (&json!(SESSIONS), &json!(0)));
    let again = run(&other, &["backup", "again.backup", "--json"]).expect(0).json();
    assert_eq!(again["digest"], written["digest"]);
    run(&other, &["restore", file, "--yes"]).expect(1).says("--merge");
    let merged = run(&other, &["restore", file, "--yes", "--merge", "--json"]).expect(0).json();
    assert_eq!(
        (&merged["restored"], &merged["present"], &merged["kept"]),
        (&json!(0), &json!(250), &json!(0))
    );

    let pserve = other.start();
    let client = pserve.client();
    assert_eq!(served(&client, &ids), before);
    // One more of a user who has three: the oldest gives way, so that what came back counts.
    let of_user: Vec<&Value> = before.iter().filter(|session| session["user_id"] == "user-7").collect();
    assert_eq!(of_user.len(), 3, "{of_user:?}");
    client.post("/sessman/new", json!({ "user_id": "user-7" })).expect(201);
    let listed = beside(&other, &pserve, &["list", "--user", "user-7", "--json"]).expect(0).json();
    let handles = listed["sessions"].as_array().unwrap().iter().map(|session| &session["handle"]);
    let handles: Vec<&Value> = handles.collect();
    let is_gone = |session: &&&Value| !handles.contains(&&session["handle"]);
    let gone: Vec<&&Value> = of_user.iter().filter(is_gone).collect();
    let oldest = of_user.iter().map(|session| session["created_at"].as_str()).min().unwrap();
    assert!(handles.len() == 3 && gone.len() == 1 && gone[0]["created_at"].as_str() == oldest, "{listed}");
    drop(pserve);

    // What is there stays, and what ended lives again.
    let merged = run(&other, &["restore", file, "--yes", "--merge", "--json"]);
    assert_eq!(merged.expect(0).json()["restored"], 1);
    let pserve = other.start();
    pserve.client().post("/sessman/new", json!({ "user_id": "user-7" })).expect(201);
    let listed = beside(&other, &pserve, &["list", "--user", "user-7", "--json"]).expect(0).json();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 3, "the limit holds after a merge: {listed}");
}

#[test]
fn a_damaged_backup_is_refused_before_anything_is_written() {
    let site = Site::new();
    site.sessman("{}");
    let pserve = site.start();
    fill(&pserve.client(), 60);
    run(&site, &["backup", "good"]).expect(0);
    drop(pserve);
    let good = fs::read(site.path("good")).unwrap();
    let other = Site::new();
    other.sessman("{}");
    let refused = |content: &[u8], what: &str| {
        other.write("bad", content);
        let ran = run(&other, &["restore", "bad", "--yes"]);
        assert!(ran.code == Some(1) && !ran.err.is_empty(), "{what}: {ran:?}");
        assert!(!other.path("state").exists(), "{what}: something was written");
    };
    let step = good.len() / 24;
    // The first line, all along the stream, the checksum.
    let places = (0..17).step_by(4).chain((17..good.len()).step_by(step)).chain(good.len() - 32..good.len());
    for at in places {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        refused(&bad, &format!("byte {at} of {}", good.len()));
    }
    for length in (0..good.len()).step_by(step) {
        refused(&good[..length], &format!("cut at {length} of {}", good.len()));
    }
    refused(&[&good[..], &good[..]].concat(), "twice");
    other.write("good", &good);
    run(&other, &["restore", "good", "--yes"]).expect(0);
}

#[test]
fn what_is_encrypted_stays_so_in_a_backup_and_comes_back_to_its_keys_alone() {
    let site = Site::new();
    site.sessman(&json!({ "encryption_keys": ONE }).to_string());
    let pserve = site.start();
    let ids = fill(&pserve.client(), 5);
    let before = served(&pserve.client(), &ids);
    run(&site, &["backup", "sealed"]).expect(0);
    // Without the keys, too: but for the MAC they are not needed.
    site.sessman("{}");
    run(&site, &["backup", "unsigned"]).expect(0);
    drop(pserve);
    for file in ["sealed", "unsigned"] {
        let other = Site::new();
        fs::copy(site.path(file), other.path(file)).unwrap();
        for config in [json!({}), json!({ "encryption_keys": TWO })] {
            other.sessman(&config.to_string());
            for words in [&["restore", file, "--yes"][..], &["restore", file, "--yes", "--unsigned"]] {
                run(&other, words).expect(1).says("encryption_keys");
            }
            assert!(!other.path("state").exists());
        }
        other.sessman(&json!({ "encryption_keys": [TWO, ONE] }).to_string());
        match file {
            "sealed" => {
                run(&other, &["restore", file, "--yes"]).expect(0);
            }
            _ => {
                run(&other, &["restore", file, "--yes"]).expect(1).says("has no MAC").says("--unsigned");
                run(&other, &["restore", file, "--yes", "--unsigned"]).expect(0);
            }
        }
        assert_eq!(served(&other.start().client(), &ids), before);
    }
}

#[test]
fn a_forged_backup_is_refused_where_there_are_keys() {
    let keyed = json!({ "encryption_keys": ONE }).to_string();
    let site = Site::new();
    site.sessman(&keyed);
    let pserve = site.start();
    let ids = fill(&pserve.client(), 5);
    let before = served(&pserve.client(), &ids);
    run(&site, &["backup", "good"]).expect(0);
    drop(pserve);
    assert_eq!(run(&site, &["verify", "good", "--json"]).expect(0).json()["mac"], "right");
    // Another file with the same sessions, which somebody wrote who has no key: as whole as the first.
    let forger = Site::new();
    forger.sessman("{}");
    run(&forger, &["restore", site.path("good").to_str().unwrap(), "--yes"]).expect(1);
    let forged_pserve = forger.start();
    let forged_ids = fill(&forged_pserve.client(), 5);
    run(&forger, &["backup", "forged"]).expect(0);
    drop(forged_pserve);
    fs::copy(forger.path("forged"), site.path("forged")).unwrap();
    run(&site, &["verify", "forged"]).expect(1).says("has no MAC");
    // Whoever has no configuration here is told that nothing is known of it.
    let nowhere = Site::new();
    fs::remove_file(nowhere.path("pserve.ini")).unwrap();
    for (file, mac) in [("good", "not asked"), ("forged", "none")] {
        fs::copy(site.path(file), nowhere.path(file)).unwrap();
        assert_eq!(run(&nowhere, &["verify", file, "--json"]).expect(0).json()["mac"], mac);
        assert_eq!(run(&site, &["verify", file, "--unsigned", "--json"]).expect(0).json()["mac"], mac);
    }
    run(&nowhere, &["-i", "pserve.ini", "verify", "good"]).expect(2);
    let other = Site::new();
    other.sessman(&keyed);
    for file in ["good", "forged"] {
        fs::copy(site.path(file), other.path(file)).unwrap();
    }
    run(&other, &["restore", "forged", "--yes"]).expect(1).says("has no MAC");
    // What is not encrypted is not taken by a word for the file alone.
    run(&other, &["restore", "forged", "--yes", "--unsigned"]).expect(1).says("is not encrypted");
    assert!(!other.path("state").exists(), "something was written");
    run(&other, &["restore", "good", "--yes"]).expect(0);
    let pserve = other.start();
    assert_eq!(served(&pserve.client(), &ids), before);
    assert_eq!(pserve.client().get(&format!("/sessman/get?token={}", forged_ids[0])).status, 404);
}

#[test]
fn sessions_that_cannot_be_read_are_counted_and_said() {
    let site = Site::new();
    site.sessman("{}");
    let pserve = site.start();
    let ids = fill(&pserve.client(), 30);
    assert!(pserve.stop().success());
    // As a later version writes it, while both are at work or after a step back.
    let file = rusqlite::Connection::open(site.path("state/sessman.db")).unwrap();
    let sql =
        "UPDATE sessions SET schema = 99 WHERE id IN (SELECT id FROM sessions ORDER BY id LIMIT 2 OFFSET 7)";
    assert_eq!(file.execute(sql, []).unwrap(), 2);
    drop(file);
    let written = run(&site, &["backup", "x", "--json"]).expect(1).says("INCOMPLETE: 2 sessions");
    assert_eq!((&written.json()["records"], &written.json()["unread"]), (&json!(28), &json!(2)));
    let verified = run(&site, &["verify", "x"]).expect(1).says("INCOMPLETE: 2 more sessions");
    assert!(!verified.out.contains("whole"), "{verified:?}");
    assert_eq!(run(&site, &["verify", "x", "--json"]).expect(1).json()["unread"], 2);
    site.write("other.json", json!({ "path": "other.db" }).to_string());
    let migrated = run(&site, &["migrate", "--to", "other.json", "--yes", "--json"]).expect(1);
    let moved = migrated.says("2 sessions of this store could not be read").json();
    assert_eq!((&moved["equal"], &moved["unread"], &moved["copied"]), (&json!(false), &json!(2), &json!(28)));
    let found = run(&site, &["doctor"]).expect(1).out;
    assert!(found.contains("FAULT  readable") && found.contains("2 sessions cannot be read"), "{found}");
    assert_eq!(run(&site, &["stats", "--json"]).expect(0).json()["unreadable"], 2);
    let listed = run(&site, &["list", "--all", "--json"]).expect(0).json();
    let unreadable: Vec<&str> =
        listed["unreadable"].as_array().unwrap().iter().map(|handle| handle.as_str().unwrap()).collect();
    assert_eq!((listed["sessions"].as_array().unwrap().len(), unreadable.len()), (28, 2));
    assert!(unreadable.iter().all(|handle| ids.iter().any(|id| id.starts_with(handle))));
    let text = run(&site, &["list", "--all"]).expect(0).out;
    assert!(text.contains(unreadable[0]) && text.contains("cannot be read"), "{text}");
    // What nobody can read any more can be ended, and then all is well.
    run(&site, &[&["end", "--"], &unreadable[..]].concat()).expect(0);
    run(&site, &["backup", "y"]).expect(0);
    run(&site, &["migrate", "--to", "other.json", "--yes"]).expect(0);
    assert!(!run(&site, &["doctor"]).out.contains("FAULT"));
}

#[test]
fn a_backup_beside_a_busy_server_is_of_one_moment() {
    let site = Site::new();
    site.sessman("{}");
    let pserve = site.start();
    fill(&pserve.client(), 2_000);
    let stop = AtomicBool::new(false);
    let begun = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let client = pserve.client();
            let mut begun = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                begun.push(client.post("/sessman/new", json!({})).expect(201).member("session_id"));
            }
            begun
        });
        run(&site, &["backup", "busy"]).expect(0);
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    drop(pserve);
    let other = Site::new();
    other.sessman("{}");
    fs::copy(site.path("busy"), other.path("busy")).unwrap();
    run(&other, &["restore", "busy", "--yes"]).expect(0);
    let pserve = other.start();
    let client = pserve.client();
    let there: Vec<bool> =
        begun.iter().map(|id| client.get(&format!("/sessman/get?token={id}")).status == 200).collect();
    // They began one after the other: none is there without all before it.
    let first_missing = there.iter().position(|is_there| !is_there).unwrap_or(there.len());
    assert!(!there[first_missing..].contains(&true), "{there:?}");
}

#[test]
fn sessions_move_from_store_to_store_and_stay_what_they_are() {
    let test = "sessions_move_from_store_to_store_and_stay_what_they_are";
    let (Some(mongodb), Some(redis)) = (Store::MongoDb.config(test), Store::Redis.config(test)) else {
        return;
    };
    let site = Site::new();
    site.sessman(&json!({ "encryption_keys": ONE }).to_string());
    let pserve = site.start();
    let ids = fill(&pserve.client(), 400);
    let before = served(&pserve.client(), &ids);
    assert!(pserve.stop().success());

    // The next one has other keys, the one after that none, which has to be said.
    site.write("mongodb.json", with(&mongodb, json!({ "encryption_keys": [TWO] })));
    site.write("redis.json", redis.to_string());
    site.write("back.json", json!({ "path": "back.db" }).to_string());
    run(&site, &["migrate", "--to", "mongodb.json"]).expect(1).says("--yes");
    let first = run(&site, &["migrate", "--to", "mongodb.json", "--yes", "--json"]).expect(0).json();
    assert_eq!(
        (&first["copied"], &first["equal"], &first["records"]),
        (&json!(400), &json!(true), &json!(400))
    );
    let migrate = |from: &str, words: &[&str]| {
        run(&site, &[&["--json-file", from, "migrate", "--json", "--yes"], words].concat())
    };
    migrate("mongodb.json", &["--to", "redis.json"]).expect(2).says("--decrypt");
    let second = migrate("mongodb.json", &["--to", "redis.json", "--decrypt"]).expect(0).json();
    let third = migrate("redis.json", &["--to", "back.json"]).expect(0).json();
    for moved in [&second, &third] {
        assert_eq!((&moved["equal"], &moved["digest"]), (&json!(true), &first["digest"]), "{moved}");
    }
    // Once more changes nothing.
    let again = migrate("redis.json", &["--to", "back.json"]).expect(0).json();
    assert_eq!((&again["copied"], &again["present"]), (&json!(0), &json!(400)));

    let back = Site::new();
    fs::create_dir_all(back.path("state")).unwrap();
    fs::copy(site.path("state/back.db"), back.path("state/sessman.db")).unwrap();
    back.sessman("{}");
    assert_eq!(served(&back.start().client(), &ids), before);
}

#[test]
fn what_changed_since_the_first_run_comes_over_with_the_second() {
    let site = Site::new();
    site.sessman("{}");
    site.write("other.json", json!({ "path": "other.db" }).to_string());
    let pserve = site.start();
    let ids = fill(&pserve.client(), 50);
    let migrate =
        |words: &[&str]| run(&site, &[&["migrate", "--to", "other.json", "--yes", "--json"], words].concat());
    // Beside the server.
    migrate(&[]).expect(0);
    let client = pserve.client();
    client.send("PATCH", &format!("/sessman/update?token={}", ids[0]), r#"{"n":-1}"#).expect(200);
    client.post("/sessman/end", json!({ "token": ids[1] })).expect(200);
    let new = client.post("/sessman/new", json!({})).expect(201).member("session_id");
    drop(pserve);
    let onto_itself = ["--json-file", "other.json", "migrate", "--to", "same.json", "--overwrite", "--yes"];
    std::os::unix::fs::symlink("other.db", site.path("state/same.db")).unwrap();
    site.write("same.json", json!({ "path": "same.db" }).to_string());
    run(&site, &onto_itself).expect(2).says("in the same place");
    let refused = migrate(&[]).expect(1).json();
    assert_eq!(
        (&refused["equal"], &refused["differing"], &refused["surplus"]),
        (&json!(false), &json!(1), &json!(1))
    );
    assert_eq!(refused["copied"], 1);
    let done = migrate(&["--overwrite"]).expect(0).json();
    assert_eq!((&done["replaced"], &done["ended"], &done["equal"]), (&json!(1), &json!(1), &json!(true)));

    site.sessman(&json!({ "path": "other.db" }).to_string());
    let pserve = site.start();
    let now = served(&pserve.client(), &[ids[0].clone(), ids[1].clone(), new]);
    assert_eq!((&now[0]["data"]["n"], &now[1]["status"]), (&json!(-1), &json!(404)));
    assert!(now[2]["handle"].is_string());
    // Not into a file that is in use.
    site.write("other.json", json!({ "path": "sessman.db" }).to_string());
    site.write("in-use.json", json!({ "path": "other.db" }).to_string());
    let words = ["--json-file", "other.json", "migrate", "--to", "in-use.json", "--yes"];
    run(&site, &words).expect(1).says("in use by process").says("pserve has to be stopped");
    run(&site, &["backup", "x"]).expect(0);
    run(&site, &["restore", "x", "--yes"]).expect(1).says("pserve has to be stopped");
}

#[test]
fn a_migration_that_was_killed_goes_on_where_it_was() {
    let Some(redis) = Redis::start("a_migration_that_was_killed_goes_on_where_it_was", &[]) else { return };
    const SESSIONS: usize = 4_000;
    let site = Site::new();
    site.sessman("{}");
    let pserve = site.start();
    fill(&pserve.client(), SESSIONS);
    assert!(pserve.stop().success());
    let config = json!({ "server_url": format!("redis://127.0.0.1:{}", redis.port()) });
    site.write("redis.json", config.to_string());
    let words = ["migrate", "--to", "redis.json", "--yes", "--json"];
    let mut killed = command(&site, &words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Asked by a connection of our own: a program each time would see the end of it only.
    let mut connection = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    let mut ask = |command: &str| {
        connection.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut answer = [0; 64];
        let length = connection.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..length]).trim().to_owned()
    };
    eventually("some are written", || ask("DBSIZE").trim_start_matches(':').parse::<usize>().unwrap() > 200);
    // Writes wait from here on, so that it is killed amid them.
    assert_eq!(ask("CLIENT PAUSE 60000 WRITE"), "+OK");
    assert!(killed.try_wait().unwrap().is_none(), "it was too fast to be killed");
    killed.kill().unwrap();
    assert!(!killed.wait().unwrap().success());
    assert_eq!(ask("CLIENT UNPAUSE"), "+OK");

    let done = run(&site, &words).expect(0).json();
    let (copied, present) = (done["copied"].as_u64().unwrap(), done["present"].as_u64().unwrap());
    assert!(copied > 0 && present > 0 && copied + present == SESSIONS as u64, "{done}");
    assert_eq!((&done["equal"], &done["records"]), (&json!(true), &json!(SESSIONS)));
}

#[test]
fn backups_into_a_folder_are_named_after_the_time_and_the_newest_stay() {
    let site = Site::new();
    site.sessman("{}");
    let pserve = site.start();
    pserve.client().post("/sessman/new", json!({ "user_id": "ada" })).expect(201);
    beside(&site, &pserve, &["backup", "backups", "--keep", "2"]).expect(2).says("has to be a folder");
    let folder = site.path("backups");
    fs::create_dir(&folder).unwrap();
    for old in ["sessman-20200101T000000Z.backup", "sessman-20200102T000000Z.backup", "before-upgrade.backup"]
    {
        fs::write(folder.join(old), "old").unwrap();
    }
    let made = beside(&site, &pserve, &["backup", "backups", "--keep", "2", "--json"]).expect(0).json();
    let made = site.path(made["file"].as_str().unwrap());
    assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o600);
    run(&site, &["verify", made.to_str().unwrap()]).expect(0);
    let mut left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    left.sort();
    assert_eq!(
        left,
        [folder.join("before-upgrade.backup"), folder.join("sessman-20200102T000000Z.backup"), made]
    );
}

#[test]
fn a_backup_that_is_incomplete_removes_no_other() {
    let site = Site::new();
    site.sessman("{}");
    let pserve = site.start();
    pserve.client().post("/sessman/new", json!({ "user_id": "ada" })).expect(201);
    assert!(pserve.stop().success());
    fs::create_dir(site.path("backups")).unwrap();
    fs::write(site.path("backups/sessman-20200101T000000Z.backup"), "old").unwrap();
    let file = rusqlite::Connection::open(site.path("state/sessman.db")).unwrap();
    assert_eq!(file.execute("UPDATE sessions SET schema = 99", []).unwrap(), 1);
    drop(file);
    run(&site, &["backup", "backups", "--keep", "1"]).expect(1).says("INCOMPLETE");
    assert_eq!(fs::read_dir(site.path("backups")).unwrap().count(), 2);
}
