//! Who is measured: sessman on each store, the limit, and the peers.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use e2e::pserve::{Site, eventually};
use e2e::redis::Redis;
use e2e::store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::running::{Dialect, Process, Running, Scene, request, start};
use crate::wire::{self, Answer};

/// Somebody who is measured.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    /// Whether a write is on the disk when it is answered.
    pub(crate) on_disk: &'static str,
    pub(crate) start: fn(Scene) -> Result<Running>,
}

/// sessman on each store; the first is measured as the pattern for the baseline.
pub(crate) const SESSMAN: &[Contestant] = &[
    Contestant { name: "sessman, memory", on_disk: "no store", start: |scene| sessman(Store::Memory, scene) },
    Contestant { name: "sessman, SQLite", on_disk: "yes", start: |scene| sessman(Store::Sqlite, scene) },
    Contestant { name: "sessman, Redis", on_disk: "no", start: |scene| sessman(Store::Redis, scene) },
];

pub(crate) const PEERS: &[Contestant] = &[
    Contestant {
        name: "axum + tower-sessions, memory",
        on_disk: "no store",
        start: |scene| axum("memory", scene),
    },
    Contestant { name: "axum + tower-sessions, Redis", on_disk: "no", start: |scene| axum("redis", scene) },
    Contestant {
        name: "axum + tower-sessions, SQLite",
        on_disk: "yes",
        start: |scene| axum("sqlite", scene),
    },
    Contestant { name: "webdis + Redis", on_disk: "no", start: |scene| webdis(scene, &[]) },
    Contestant {
        name: "webdis + Redis, appendfsync always",
        on_disk: "yes",
        start: |scene| webdis(scene, &["--appendonly", "yes", "--appendfsync", "always"]),
    },
    Contestant { name: "express-session + connect-redis", on_disk: "no", start: express },
];

/// Where what `cargo xtask bench` installs and builds for the peers is.
fn built(name: &str) -> PathBuf {
    e2e::artifacts().join("..").join(name)
}

fn sessman_dialect(scene: Scene) -> Dialect {
    let id = "X-Session-Id: {id}\r\n";
    let data = scene.data();
    Dialect {
        get: request("GET /sessman/get", id, ""),
        update: request("POST /sessman/update", id, &format!("{{\"data\":{data}}}")),
        new: Some(request("POST /sessman/new", "", &format!("{{\"user_id\":\"ann\",\"data\":{data}}}"))),
        id: |_, answer| {
            let session: Value = serde_json::from_str(&answer.body).ok()?;
            Some(session["session_id"].as_str()?.to_owned())
        },
    }
}

pub(crate) fn sessman(store: Store, scene: Scene) -> Result<Running> {
    sessman_with(store, store.config("bench").context("the store is not there")?, scene)
}

/// sessman with this configuration of the store.
pub(crate) fn sessman_with(store: Store, mut config: Value, scene: Scene) -> Result<Running> {
    let site = Site::new();
    let mut pids = Vec::new();
    let redis = match store {
        // One of its own, on the server's core.
        Store::Redis => {
            let redis = own_redis(scene, &[])?;
            pids.push(redis.pid());
            config["server_url"] = json!(format!("redis://127.0.0.1:{}", redis.port()));
            Some(redis)
        }
        Store::Memory => {
            config["max_memory_bytes"] = json!(8_u64 << 30);
            None
        }
        // So much that sessions are read from memory, however many there are.
        Store::Sqlite => {
            config["cache_bytes"] = json!(4_u64 << 30);
            None
        }
        Store::MongoDb | Store::RedisCluster => None,
    };
    site.sessman(&config.to_string());
    // Of the limits, the one that the load would go beyond.
    site.ini("[limits]\nmax_connections=8192\n[plugin_parms]\nsessman=json=sessman.json");
    let pserve = scene.cores.during(|| site.start())?;
    pids.push(pserve.pid());
    let address = pserve.address().to_owned();
    Running::fill(address, sessman_dialect(scene), scene, pids, (pserve, site, redis))
}

/// hyper, with the answer that `pattern` gives to a read.
pub(crate) fn bare(pattern: &Running, scene: Scene) -> Result<Running> {
    let first = fs::read_to_string(pattern.ids())?.lines().next().context("no session")?.to_owned();
    let dialect = sessman_dialect(scene);
    let mut answer = None;
    wire::exchange(
        &pattern.address,
        1,
        |_| dialect.get.replace("{id}", &first),
        |_, found| {
            answer = Some(found);
            Ok(())
        },
    )?;
    let mut answer = answer.context("no answer")?;
    // These are hyper's own.
    answer.headers.retain(|(name, _)| name != "date" && name != "content-length");
    let file = tempfile::NamedTempFile::new()?;
    let described = json!({ "status": answer.status, "headers": answer.headers, "body": answer.body });
    fs::write(file.path(), described.to_string())?;
    let mut command = Command::new(e2e::artifacts().join("bare"));
    let (process, address) = start(command.arg(file.path()), scene.cores)?;
    let pids = vec![process.0.id()];
    Running::filled(address, dialect, &[first], pids, (process, file))
}

fn own_redis(scene: Scene, settings: &[&str]) -> Result<Redis> {
    scene.cores.during(|| Redis::start("bench", settings))?.context("no redis-server")
}

/// The cookie that an answer sets.
fn cookie(_: usize, answer: &Answer) -> Option<String> {
    Some(answer.header("set-cookie")?.split(';').next()?.to_owned())
}

fn by_cookie(scene: Scene) -> Dialect {
    let headers = "Cookie: {id}\r\nContent-Type: application/json\r\n";
    Dialect {
        get: request("GET /get", headers, ""),
        update: request("POST /update", headers, &scene.data()),
        new: Some(request("POST /new", "Content-Type: application/json\r\n", &scene.data())),
        id: cookie,
    }
}

fn axum(kind: &str, scene: Scene) -> Result<Running> {
    let folder = TempDir::new()?;
    let mut command = Command::new(built("peers/release/peers"));
    command.arg(kind);
    let mut pids = Vec::new();
    let mut redis = None;
    match kind {
        "redis" => {
            let server = own_redis(scene, &[])?;
            pids.push(server.pid());
            command.arg(server.port().to_string());
            redis = Some(server);
        }
        "sqlite" => {
            command.arg(folder.path().join("sessions.db"));
        }
        _ => {}
    }
    let (process, address) = start(&mut command, scene.cores)?;
    pids.push(process.0.id());
    Running::fill(address, by_cookie(scene), scene, pids, (process, redis, folder))
}

fn express(scene: Scene) -> Result<Running> {
    let redis = own_redis(scene, &[])?;
    let mut command = Command::new("node");
    command.arg(built("express/server.mjs")).arg(redis.port().to_string()).env("NODE_ENV", "production");
    let (process, address) = start(&mut command, scene.cores)?;
    let pids = vec![redis.pid(), process.0.id()];
    Running::fill(address, by_cookie(scene), scene, pids, (process, redis))
}

fn webdis(scene: Scene, settings: &[&str]) -> Result<Running> {
    let redis = own_redis(scene, settings)?;
    let folder = TempDir::new()?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = json!({
        "redis_host": "127.0.0.1", "redis_port": redis.port(), "http_host": "127.0.0.1", "http_port": port,
        "threads": 1, "pool_size": 4, "daemonize": false, "verbosity": 0,
        "logfile": folder.path().join("webdis.log"),
    });
    let file = folder.path().join("webdis.json");
    fs::write(&file, config.to_string())?;
    let mut command = Command::new("webdis");
    command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let process = Process(scene.cores.during(|| command.spawn())?.context("webdis starts")?);
    let address = format!("127.0.0.1:{port}");
    eventually("webdis listens", || std::net::TcpStream::connect(&address).is_ok());
    let pids = vec![redis.pid(), process.0.id()];
    let dialect = Dialect {
        get: request("GET /GET/session:{id}", "", ""),
        update: request("PUT /SET/session:{id}", "", &scene.data()),
        new: None,
        id: |number, _| Some(format!("{number:08}")),
    };
    Running::fill(address, dialect, scene, pids, (process, redis, folder))
}
