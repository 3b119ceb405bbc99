//! What the steps of a request cost, one by one: ids, JSON, the look-up of a session, the plugin behind the ABI, and a
//! write that waits for the disk together with others.
//!
//! `cargo bench --package bench` runs them; the file of the last ones is in `target`, on a disk.
#![allow(missing_docs, reason = "made by criterion's macros")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use fuzz::instance::{Call, Instance};
use sessman::budget::Unlimited;
use sessman::data::Data;
use sessman::id::SessionId;
use sessman::record::Record;
use sessman::rules::Rules;
use sessman::sessions::{Credentials, Key, NewSession, Precondition, Sessions, Update};
use sessman::store::Store;
use sessman::store::memory::{MemoryConfig, MemoryStore};
use sessman::store::sqlite::{CACHE_BYTES, Durability, SqliteConfig, SqliteStore};
use sessman::time::SystemClock;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Sessions in a store.
const SESSIONS: usize = 1_000;
/// Writes that are asked for at a time.
const TOGETHER: usize = 64;

/// 200 bytes of data, another one for each number.
fn text(number: usize) -> String {
    format!("{{\"number\":\"{number:010}\",\"text\":\"{}\"}}", "x".repeat(167))
}

fn ids(criterion: &mut Criterion) {
    let id = SessionId::generate();
    let mut buffer = [0; SessionId::TEXT_LENGTH];
    let shown = id.expose(&mut buffer).to_owned();
    criterion.bench_function("id: made", |bencher| bencher.iter(SessionId::generate));
    criterion.bench_function("id: read and hashed", |bencher| {
        bencher.iter(|| SessionId::read(black_box(&shown)).map(|id| id.secret_hash()));
    });
}

fn json(criterion: &mut Criterion, record: &Record) {
    let small = text(0);
    let large = format!("[{}]", vec![small.as_str(); 20].join(","));
    for (name, text) in [("200 B", &small), ("4 KB", &large)] {
        criterion.bench_function(&format!("JSON in: {name} checked and made canonical"), |bencher| {
            bencher.iter(|| Data::parse(black_box(text)));
        });
    }
    criterion.bench_function("JSON out: a session with 200 B", |bencher| {
        bencher.iter(|| {
            let mut out = Vec::with_capacity(1_024);
            black_box(record).write_members(&mut out);
            out
        });
    });
}

/// A store with sessions in it, and their ids.
fn filled(
    runtime: &Runtime,
    clock: &Arc<SystemClock>,
    store: impl Store + 'static,
) -> (Arc<Sessions>, Vec<SessionId>) {
    let sessions = Arc::new(Sessions::new(Arc::new(store), clock.clone(), Rules::default()));
    let new = |number| NewSession {
        user_id: Some("ann".to_owned()),
        data: Data::parse(&text(number)).expect("it is JSON"),
        metadata: Data::empty(),
        address: None,
        ttl: None,
        idle: None,
        persistent: false,
        labels: sessman::labels::Labels::none(),
        id: None,
    };
    let created = runtime.block_on(join_all((0..SESSIONS).map(|number| sessions.create(new(number)))));
    let ids = created.into_iter().map(|created| created.expect("it is made").0).collect();
    (sessions, ids)
}

fn credentials(id: &SessionId) -> Credentials<'_> {
    Credentials { key: Key::Id(id), user_id: None, address: None }
}

fn look_up(criterion: &mut Criterion, name: &str, sessions: &Sessions, ids: &[SessionId]) {
    let mut number = 0;
    criterion.bench_function(&format!("look-up: {name}"), |bencher| {
        bencher.iter(|| {
            number = (number + 7) % SESSIONS;
            sessions.get_now(credentials(&ids[number])).expect("it is at hand").expect("it lives")
        });
    });
}

/// Writes that come together share a commit; what is measured is one of them.
fn group_commit(criterion: &mut Criterion, runtime: &Runtime, sessions: &Sessions, ids: &[SessionId]) {
    let mut group = criterion.benchmark_group("group commit");
    group.throughput(Throughput::Elements(TOGETHER as u64));
    let mut number = 0;
    group.bench_function("64 updates on disk", |bencher| {
        bencher.iter(|| {
            number += TOGETHER;
            let updates = (number..number + TOGETHER).map(|number| async move {
                let update = Update::Replace(Data::parse(&text(number)).expect("it is JSON"));
                sessions.update(credentials(&ids[number % SESSIONS]), &update, &Precondition::None).await
            });
            runtime.block_on(join_all(updates)).into_iter().for_each(|updated| drop(updated.expect("made")));
        });
    });
    group.finish();
}

/// The plugin as the host calls it: parameters, engine, store in memory, JSON.
fn plugin(criterion: &mut Criterion) {
    let instance = Instance::start();
    let names: Vec<String> =
        instance.raw.routes().into_iter().map(|route| route.path.into_string()).collect();
    let route = |name: &str| names.iter().position(|found| found == name).expect("there is such a route");
    let body = format!("{{\"user_id\":\"ann\",\"data\":{}}}", text(0));
    let new = Call { route: route("new"), method: "POST", body: body.into_bytes(), ..Call::default() };
    let id = instance.answer(&new).json()["session_id"].as_str().expect("it is made").to_owned();
    let get = Call {
        route: route("get"),
        method: "GET",
        headers: vec![("host", "localhost".to_owned()), ("x-session-id", id)],
        ..Call::default()
    };
    criterion.bench_function("plugin: get on the spot", |bencher| {
        bencher.iter(|| instance.now.handle_now(get.raw()));
    });
    criterion.bench_function("plugin: get by a future", |bencher| {
        bencher.iter(|| instance.runtime.block_on(instance.raw.handle(get.raw())));
    });
    criterion.bench_function("plugin: new by a future", |bencher| {
        bencher.iter(|| instance.runtime.block_on(instance.raw.handle(new.raw())));
    });
    let body = format!("{{\"data\":{}}}", text(0)).into_bytes();
    let update = Call { route: route("update"), method: "POST", body, ..get.clone() };
    criterion.bench_function("plugin: update by a future", |bencher| {
        bencher.iter(|| instance.runtime.block_on(instance.raw.handle(update.raw())));
    });
    let unknown = Call { query: "no_such=1".to_owned(), ..get.clone() };
    criterion.bench_function("plugin: parameters refused", |bencher| {
        bencher.iter(|| instance.now.handle_now(unknown.raw()));
    });
}

fn steps(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    ids(criterion);
    let clock = Arc::new(SystemClock::start());
    let (memory, ids) = filled(&runtime, &clock, MemoryStore::new(MemoryConfig::default(), clock.clone()));
    let record = memory.get_now(credentials(&ids[0])).expect("it is at hand").expect("it lives");
    json(criterion, &record);
    look_up(criterion, "memory", &memory, &ids);
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("sessions.db");
    let config = SqliteConfig { path, durability: Durability::Full, cache_bytes: CACHE_BYTES };
    let (sqlite, ids) = filled(
        &runtime,
        &clock,
        SqliteStore::open(config, clock.clone(), &Unlimited::shared()).expect("it opens"),
    );
    look_up(criterion, "SQLite's cache", &sqlite, &ids);
    group_commit(criterion, &runtime, &sqlite, &ids);
    plugin(criterion);
}

criterion_group!(benches, steps);
criterion_main!(benches);
