//! A handful of sessions in each store, as it has them, and as the release showed them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bson::{Bson, doc};
use serde_json::{Value, json};

use crate::clock::WallClock;
use crate::http::Client;
use crate::pserve::Site;
use crate::races::ADMIN_KEY;
use crate::raw::{MongoDb, Redis, Reply};
use crate::release::succeed;
use crate::standin::StandIn;

/// What the names of the keys, or the name of the collection, begin with.
const PREFIX: &str = "layout-1";
/// Until the year 2099, so that they live as long as this is tested.
const TTL: u64 = 2_320_000_000;
const OWN_TTL: u64 = 2_310_000_000;
/// Begun so many seconds ago, so that they are of the past wherever a clock stands.
const AGO: i64 = 365 * 86_400;
/// Whose sessions there are several of.
pub const USER: &str = "zoë 🦊/\"ada\"";

/// What is kept of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The file.
    Sqlite,
    /// Commands that write all keys.
    Redis,
    /// Documents of all collections.
    MongoDb,
    /// The file of a backup of SQLite.
    Backup,
}

/// The sessions of a store.
pub struct Fixture {
    kept: Kept,
    /// Each as `get` showed it, in the order in which they began.
    pub sessions: Vec<Value>,
}

impl Kept {
    fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite-file",
            Self::Redis => "redis.json",
            Self::MongoDb => "mongodb.json",
            Self::Backup => "backup",
        }
    }
}

/// Under which rules they began, and are read.
pub fn rules() -> Value {
    json!({ "session_ttl": TTL, "max_ttl": TTL, "max_sessions_per_user": 5, "admin_key": ADMIN_KEY })
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/layout-1")
}

fn read(name: &str) -> Vec<u8> {
    let file = folder().join(name);
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn read_json(name: &str) -> Value {
    serde_json::from_slice(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn write_json(name: &str, value: &Value) {
    let text = serde_json::to_string_pretty(value).expect("it is JSON");
    fs::write(folder().join(name), text + "\n").expect("a fixture is written");
}

impl Fixture {
    /// The one that is kept.
    ///
    /// # Panics
    /// When it is not there.
    pub fn open(kept: Kept) -> Self {
        // A backup has the sessions of the file that it is of.
        let of = if kept == Kept::Backup { Kept::Sqlite } else { kept };
        let shown = read_json("sessions.json");
        let sessions = shown[of.name()].as_array().expect("sessions").clone();
        Self { kept, sessions }
    }

    /// The file, where one is kept.
    pub fn file(&self) -> Vec<u8> {
        read(self.kept.name())
    }

    /// Writes the keys into a Redis, `host:port`, with names that begin with `prefix`.
    pub fn put_into_redis(&self, address: &str, prefix: &str) {
        let mut redis = Redis::to(address);
        let commands = read_json(self.kept.name());
        for command in commands.as_array().expect("commands") {
            let mut parts: Vec<Vec<u8>> =
                command.as_array().expect("a command").iter().map(|part| from_text(part.as_str())).collect();
            let rest = parts[1].strip_prefix(PREFIX.as_bytes()).expect("a key of ours");
            parts[1] = [prefix.as_bytes(), rest].concat();
            redis.ask(&parts);
        }
    }

    /// Writes the documents into a MongoDB, `host:port`, below a name of a collection.
    pub fn put_into_mongodb(&self, address: &str, database: &str, name: &str) {
        let mut mongodb = MongoDb::to(address);
        let collections = read_json(self.kept.name());
        for (collection, documents) in collections.as_object().expect("collections") {
            let rest = collection.strip_prefix(PREFIX).expect("a collection of ours");
            let documents: Vec<Bson> = documents
                .as_array()
                .expect("documents")
                .iter()
                .map(|document| Bson::try_from(document.clone()).expect("extended JSON"))
                .collect();
            mongodb.run(database, doc! { "insert": format!("{name}{rest}"), "documents": documents });
        }
    }
}

/// Makes all of them anew, with the files of the release that are in that folder.
///
/// # Panics
/// When something is missing.
pub fn make_all(release: &Path) {
    fs::create_dir_all(folder()).expect("a folder");
    let test = "layout-1";
    let mut shown = json!({});

    let site = Site::with_artifacts(release);
    shown[Kept::Sqlite.name()] = fill(&site, json!({}));
    fs::copy(site.path("state/sessman.db"), folder().join(Kept::Sqlite.name())).expect("the file");
    let backup = folder().join(Kept::Backup.name());
    let _ = fs::remove_file(&backup);
    let mut sessctl = Command::new(release.join("sessctl"));
    succeed(sessctl.arg("backup").arg(&backup).current_dir(site.path("")));

    let redis = crate::redis::Redis::start(test, &[]).expect("a redis-server");
    let mut config = redis.config();
    config["collection"] = json!(PREFIX);
    shown[Kept::Redis.name()] = fill(&Site::with_artifacts(release), config);
    write_json(Kept::Redis.name(), &keys(&format!("127.0.0.1:{}", redis.port())));

    let mongo = StandIn::start(test, 0).expect("a MongoDB stand-in");
    let address = format!("127.0.0.1:{}", mongo.port());
    let config = json!({ "server_url": format!("mongodb://{address}"), "collection": PREFIX });
    shown[Kept::MongoDb.name()] = fill(&Site::with_artifacts(release), config);
    write_json(Kept::MongoDb.name(), &documents(&address));

    write_json("sessions.json", &shown);
}

/// Begins sessions of many kinds, and says what they are like in the end; the host has stopped then.
fn fill(site: &Site, mut config: Value) -> Value {
    let clock = WallClock::new("layout-1", &site.path("clock"), -AGO).expect("libfaketime");
    let start = || {
        let started = site.try_start_with(&clock.environment());
        started.unwrap_or_else(|log| panic!("pserve did not start:\n{log}"))
    };
    config.as_object_mut().expect("an object").extend(rules().as_object().expect("an object").clone());
    let limited = config.to_string();
    // A session that is only about to have a place would be past its time for a Redis whose clock is right.
    config["max_sessions_per_user"] = json!(0);
    site.sessman(&config.to_string());
    let pserve = start();
    let client = pserve.client();
    let data = json!({ "n": -1, "float": 0.125, "text": "ä\u{1f600}\"\\", "list": [null, true, { "": [] }], "a.b": {} });
    let begin = |body: Value| {
        // Their order is that of their times, which are whole milliseconds.
        sleep(Duration::from_millis(3));
        client.post("/sessman/new", body).expect(201).member("session_id")
    };
    let mut ids = [
        begin(json!({})),
        begin(json!({ "user_id": USER, "data": data, "metadata": { "device": "téléphone", "n": 1 } })),
        begin(json!({ "user_id": USER, "external_id": "an-external-id-0123456789", "data": "text" })),
        begin(json!({ "ttl_seconds": OWN_TTL, "data": [1, 2, 3], "metadata": { "client_ip": "192.0.2.7" } })),
        begin(json!({ "user_id": "bob", "ttl_seconds": OWN_TTL })),
        begin(json!({ "data": { "cart": [] } })),
    ];
    assert!(pserve.stop().success());

    site.sessman(&limited);
    let pserve = start();
    let client = pserve.client();
    let merge = |id: &str, data: Value| {
        client.post("/sessman/update?mode=merge", json!({ "token": id, "data": data })).expect(200);
    };
    merge(&ids[1], json!({ "n": 2, "more": "\u{10ffff}" }));
    merge(&ids[5], json!({ "cart": ["ü"] }));
    // It takes a place, behind those that came before there was a limit.
    let rotated = client.post("/sessman/rotate", json!({ "token": ids[5], "user_id": USER })).expect(200);
    ids[5] = rotated.member("session_id");
    let shown = ids.iter().map(|id| shown(&client, id)).collect();
    assert!(pserve.stop().success());
    shown
}

fn shown(client: &Client, id: &str) -> Value {
    let mut session = client.get(&format!("/sessman/get?token={id}")).expect(200).json();
    session["session_id"] = json!(id);
    session
}

/// The commands that write what a Redis holds.
fn keys(address: &str) -> Value {
    let mut redis = Redis::to(address);
    let mut ask = |parts: &[&[u8]]| redis.ask(&parts.iter().map(|part| part.to_vec()).collect::<Vec<_>>());
    let mut names: Vec<Vec<u8>> = ask(&[b"KEYS", b"*"]).array().into_iter().map(Reply::bytes).collect();
    names.sort_unstable();
    let mut commands = Vec::new();
    for name in names {
        let kind = String::from_utf8(ask(&[b"TYPE", &name]).bytes()).expect("a type");
        let mut command: Vec<Vec<u8>> = Vec::new();
        match kind.as_str() {
            "string" => {
                command.extend([b"SET".to_vec(), name.clone(), ask(&[b"GET", &name]).bytes()]);
                if let Reply::Integer(at @ 0..) = ask(&[b"PEXPIRETIME", &name]) {
                    command.extend([b"PXAT".to_vec(), at.to_string().into_bytes()]);
                }
            }
            "list" => {
                command.extend([b"RPUSH".to_vec(), name.clone()]);
                command.extend(ask(&[b"LRANGE", &name, b"0", b"-1"]).array().into_iter().map(Reply::bytes));
            }
            "zset" => {
                command.extend([b"ZADD".to_vec(), name.clone()]);
                let members = ask(&[b"ZRANGE", &name, b"0", b"-1", b"WITHSCORES"]).array();
                for pair in members.chunks(2) {
                    command.extend([pair[1].clone().bytes(), pair[0].clone().bytes()]);
                }
            }
            other => panic!("a key of the type {other}"),
        }
        commands.push(command.iter().map(|part| json!(to_text(part))).collect::<Vec<Value>>());
    }
    json!(commands)
}

/// What a MongoDB holds: for each collection its documents as extended JSON.
fn documents(address: &str) -> Value {
    let mut mongodb = MongoDb::to(address);
    let mut found = json!({});
    for name in [PREFIX.to_owned(), format!("{PREFIX}_users")] {
        let answer = mongodb.run("sessman", doc! { "find": &name, "sort": { "_id": 1 } });
        let batch = answer.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        let documents: Vec<Value> = batch
            .expect("documents")
            .iter()
            .map(|document| document.clone().into_canonical_extjson())
            .collect();
        found[name] = json!(documents);
    }
    found
}

const ENCODED: &str = "base64:";

/// Text as it is, anything else encoded.
fn to_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(|c: char| c.is_control()) && !text.starts_with(ENCODED) => text.to_owned(),
        _ => format!("{ENCODED}{}", STANDARD.encode(bytes)),
    }
}

fn from_text(text: Option<&str>) -> Vec<u8> {
    let text = text.expect("text");
    match text.strip_prefix(ENCODED) {
        Some(encoded) => STANDARD.decode(encoded).expect("base64"),
        None => text.as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::{from_text, to_text};

    #[test]
    fn bytes_are_read_as_they_were() {
        for bytes in [&b"plain"[..], "zoë".as_bytes(), b"\x00\xff", b"base64:x", b""] {
            assert_eq!(from_text(Some(&to_text(bytes))), bytes);
        }
    }
}
