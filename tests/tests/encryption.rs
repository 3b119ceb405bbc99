//! `data` and `metadata` encrypted in the store.

use std::fs;

use e2e::on_every_store;
use e2e::pserve::{Pserve, Site};
use e2e::store::Store;
use serde_json::{Value, json};

on_every_store!(sessions_are_encrypted_where_they_are_kept);

const ONE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const TWO: &str = "0202020202020202020202020202020202020202020202020202020202020202";
const SECRET: &str = "a text that is nowhere else";

fn start(site: &Site, config: &Value, more: Value) -> Pserve {
    let mut config = config.clone();
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    site.sessman(&config.to_string());
    site.start()
}

fn sessions_are_encrypted_where_they_are_kept(store: Store, config: Value) {
    let site = Site::new();
    let pserve = start(&site, &config, json!({ "encryption_keys": ONE }));
    let client = pserve.client();
    let new =
        json!({ "user_id": "ada", "data": { "secret": SECRET, "n": 0 }, "metadata": { "device": SECRET } });
    let id = client.post("/sessman/new", new).expect(201).member("session_id");
    let read = format!("/sessman/get?token={id}");
    client.send("PATCH", &format!("/sessman/update?token={id}"), r#"{"n":1}"#).expect(200);
    let session = client.get(&read).expect(200).json();
    assert_eq!(session["data"], json!({ "secret": SECRET, "n": 1 }));
    assert_eq!(session["metadata"]["device"], SECRET);
    assert!(pserve.stop().success());
    if store == Store::Memory {
        return;
    }
    if store == Store::Sqlite {
        for entry in fs::read_dir(site.path("state")).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
            assert!(!found, "the text is on the disk");
        }
    }

    // A new key in front of the old one, and then alone.
    let pserve = start(&site, &config, json!({ "encryption_keys": [TWO, ONE] }));
    let client = pserve.client();
    assert_eq!(client.get(&read).expect(200).json()["data"]["n"], 1);
    let later = client.post("/sessman/new", json!({ "data": 2 })).expect(201).member("session_id");
    drop(pserve);
    let pserve = start(&site, &config, json!({ "encryption_keys": TWO }));
    let client = pserve.client();
    assert_eq!(client.get(&format!("/sessman/get?token={later}")).expect(200).json()["data"], 2);
    client.get(&read).expect(500);
    pserve.wait_for_log("a key that `encryption_keys` does not have");
    drop(pserve);

    // Without any key nothing is taken for what it is not, and a change does not destroy it.
    let pserve = start(&site, &config, json!({}));
    let client = pserve.client();
    client.get(&read).expect(500);
    client.send("PATCH", &format!("/sessman/update?token={id}"), r#"{"n":2}"#).expect(500);
    pserve.wait_for_log("there are no `encryption_keys`");
    let plain = client.post("/sessman/new", json!({ "data": 3 })).expect(201).member("session_id");
    drop(pserve);
    let pserve = start(&site, &config, json!({ "encryption_keys": [TWO, ONE] }));
    let client = pserve.client();
    assert_eq!(client.get(&read).expect(200).json()["data"]["n"], 1);
    client.get(&format!("/sessman/get?token={plain}")).expect(500);
    drop(pserve);
    let pserve = start(&site, &config, json!({ "encryption_keys": [TWO, ONE], "accept_unencrypted": true }));
    assert_eq!(pserve.client().get(&format!("/sessman/get?token={plain}")).expect(200).json()["data"], 3);
    assert!(!pserve.log().contains(ONE) && !pserve.log().contains(TWO) && !pserve.log().contains(SECRET));
}

#[test]
fn a_row_that_was_forged_in_the_file_is_refused() {
    let site = Site::new();
    let keyed = json!({ "encryption_keys": ONE });
    let begin = |pserve: &Pserve, user: &str| {
        let new = json!({ "user_id": user, "data": { "secret": SECRET } });
        pserve.client().post("/sessman/new", new).expect(201).member("session_id")
    };
    let pserve = start(&site, &json!({}), keyed.clone());
    let ids = ["root", "root", "mallory", "mallory"].map(|user| begin(&pserve, user));
    let [taken_over, untouched, own, raised] = &ids;
    assert!(pserve.stop().success());
    let file = rusqlite::Connection::open(site.path("state/sessman.db")).unwrap();
    let rows: Vec<(i64, String)> = file
        .prepare("SELECT id, user_id FROM sessions ORDER BY id")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let users: Vec<&str> = rows.iter().map(|(_, user)| user.as_str()).collect();
    assert_eq!(users, ["root", "root", "mallory", "mallory"]);
    let change = |sql: &str, of: usize, from: usize| {
        assert_eq!(file.execute(sql, [rows[of].0, rows[from].0]).unwrap(), 1);
    };
    // What opens a session of the forger opens that of another, too; and a session of the forger is another's.
    change(
        "UPDATE sessions SET secret_hash = (SELECT secret_hash FROM sessions WHERE id = ?2) WHERE id = ?1",
        0,
        2,
    );
    change("UPDATE sessions SET user_id = (SELECT user_id FROM sessions WHERE id = ?2) WHERE id = ?1", 3, 1);
    drop(file);

    let pserve = start(&site, &json!({}), keyed);
    let client = pserve.client();
    let read = |id: &str| client.get(&format!("/sessman/get?token={id}"));
    let forged = read(&format!("{}{}", &taken_over[..16], &own[16..]));
    assert!(!forged.text.contains(SECRET), "the forger reads {}", forged.text);
    forged.expect(500);
    read(raised).expect(500);
    pserve.wait_for_log("was changed by somebody without the key");
    for id in [untouched, own] {
        assert_eq!(read(id).expect(200).json()["data"]["secret"], SECRET);
    }
}
