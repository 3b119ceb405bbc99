//! What is asked: one function a section of the page.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::pserve::Site;
use e2e::redis::Redis;
use e2e::store::Store;
use serde_json::json;
use tempfile::TempDir;

use crate::contestants::{PEERS, SESSMAN, bare, sessman, sessman_with};
use crate::machine;
use crate::measure::{Effort, Entry, compare, median};
use crate::pin::Cores;
use crate::running::{Kind, Running, Scene, start};
use crate::table::{FIGURES, figures, table, thousands, time};

/// A section: its name on the command line, and what makes it.
type Part = (&'static str, fn(Effort) -> Result<String>);

/// All sections, in their order on the page.
pub(crate) const ALL: &[Part] = &[
    ("services", services),
    ("connections", connections),
    ("sessions", sessions),
    ("bodies", bodies),
    ("cores", cores),
    ("mongodb", mongodb),
    ("footprint", footprint),
];

/// Connections, unless said otherwise.
const CONNECTIONS: u32 = 64;

fn services(effort: Effort) -> Result<String> {
    let scene = Scene::USUAL;
    let mut running = Vec::new();
    for contestant in SESSMAN.iter().chain(PEERS) {
        eprintln!("filling {}", contestant.name);
        running.push((contestant.start)(scene).with_context(|| contestant.name)?);
    }
    let limit = bare(&running[0], scene)?;
    let mut text = String::from("## Session services\n");
    for (kind, title) in [(Kind::Get, "get"), (Kind::Update, "update"), (Kind::New, "new")] {
        let able: Vec<usize> =
            (0..running.len()).filter(|index| running[*index].requests(kind).is_some()).collect();
        let all = std::iter::once(&limit).chain(able.iter().map(|index| &running[*index]));
        let entries: Vec<Entry<'_>> =
            all.map(|running| Entry { running, kind, connections: CONNECTIONS }).collect();
        let outcomes = compare(&entries, effort, Cores::Second)?;
        let named = std::iter::once(("bare hyper", "")).chain(able.iter().map(|index| {
            let contestant = SESSMAN.iter().chain(PEERS).nth(*index).expect("they are as many");
            (contestant.name, contestant.on_disk)
        }));
        let mut rows: Vec<Vec<String>> = named
            .zip(&outcomes)
            .map(|((name, on_disk), outcome)| {
                let mut row = vec![name.to_owned()];
                row.extend(figures(outcome));
                if kind != Kind::Get {
                    row.push(on_disk.to_owned());
                }
                row
            })
            .collect();
        let bare_rate = outcomes[0].rate;
        match kind {
            Kind::Get => rows.push(redis_benchmark("get", effort, bare_rate)?),
            Kind::Update => {
                let mut row = redis_benchmark("set", effort, bare_rate)?;
                row.push("no".into());
                rows.push(row);
            }
            Kind::New => {}
        }
        let mut columns = [&["service"], &FIGURES[..]].concat();
        if kind != Kind::Get {
            columns.push("on disk when answered");
        }
        text.push_str(&format!("\n### {title}\n\n{}", table(&columns, &rows)));
    }
    text.push_str(&format!(
        "\nThe limit of durable writes here, 64 records of 400 bytes for each `fdatasync`: {} records/s on {}.\n\n",
        thousands(synced(effort)?),
        machine::file_system()?
    ));
    Ok(text)
}

/// Redis by its own benchmark, without HTTP: a request and an answer at a time on each of 64 connections.
fn redis_benchmark(test: &str, effort: Effort, bare_rate: f64) -> Result<Vec<String>> {
    let redis = Cores::First.during(|| Redis::start("bench", &[]))?.context("no redis-server")?;
    let port = redis.port().to_string();
    let run = |test: &str, count: u64| -> Result<Vec<f64>> {
        let mut command = Command::new("redis-benchmark");
        command
            .args(["-p", &port, "-c", "64", "-P", "1", "-d", "400", "-r", "1000", "--csv", "-t", test, "-n"]);
        command.arg(count.to_string());
        let output = Cores::Second.during(|| command.output())??;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = said.lines().last().context("redis-benchmark says nothing")?;
        line.split(',').skip(1).map(|cell| Ok(cell.trim_matches('"').parse()?)).collect()
    };
    run("set", 20_000)?;
    let mut seen: Vec<Vec<f64>> = Vec::new();
    for _ in 0..effort.rounds {
        seen.push(run(test, 60_000 * effort.duration.as_secs())?);
    }
    let of = |column: usize| median(seen.iter().map(|row| row.get(column).copied().unwrap_or(0.0)).collect());
    // Columns: rate, average, least, p50, p95, p99, most; times in milliseconds.
    Ok(vec![
        format!("redis-benchmark {}, no HTTP", test.to_uppercase()),
        thousands(of(0)),
        format!("{:.3}", of(0) / bare_rate),
        String::new(),
        time(of(3) * 1e3),
        time(of(5) * 1e3),
        "0".into(),
        String::new(),
    ])
}

fn synced(effort: Effort) -> Result<f64> {
    let folder = TempDir::new()?;
    let mut rates = Vec::new();
    for _ in 0..effort.rounds {
        let mut command = Command::new(e2e::artifacts().join("syncs"));
        command.arg(folder.path().join("log")).arg(effort.duration.as_secs().to_string());
        let output = Cores::First.during(|| command.output())??;
        rates.push(String::from_utf8_lossy(&output.stdout).trim().parse()?);
    }
    Ok(median(rates))
}

fn connections(effort: Effort) -> Result<String> {
    let scene = Scene::USUAL;
    let sqlite = sessman(Store::Sqlite, scene)?;
    let limit = bare(&sqlite, scene)?;
    let mut rows = Vec::new();
    for connections in [1, 8, 64, 512, 5_000] {
        let entries = [&limit, &sqlite].map(|running| Entry { running, kind: Kind::Get, connections });
        let outcomes = compare(&entries, effort, Cores::Second)?;
        rows.push(vec![
            connections.to_string(),
            thousands(outcomes[0].rate),
            thousands(outcomes[1].rate),
            format!("{:.3}", outcomes[1].ratio),
            time(outcomes[0].p99),
            time(outcomes[1].p99),
            format!("{:.2}", outcomes[1].p99_ratio),
            outcomes[1].errors.to_string(),
        ]);
    }
    let columns = [
        "connections",
        "bare hyper, requests/s",
        "sessman, requests/s",
        "ratio",
        "bare hyper, p99",
        "sessman, p99",
        "ratio of p99",
        "errors",
    ];
    Ok(format!("## Connections: get on SQLite\n\n{}\n", table(&columns, &rows)))
}

fn sessions(effort: Effort) -> Result<String> {
    let mut rows = Vec::new();
    for (store, name) in [(Store::Memory, "memory"), (Store::Sqlite, "SQLite")] {
        let few = sessman(store, Scene::USUAL)?;
        for count in [100_000, 1_000_000] {
            let many = sessman(store, Scene { sessions: count, ..Scene::USUAL })?;
            for (kind, what) in [(Kind::Get, "get"), (Kind::Update, "update")] {
                let entries = [&few, &many].map(|running| Entry { running, kind, connections: CONNECTIONS });
                let outcomes = compare(&entries, effort, Cores::Second)?;
                let bytes =
                    (outcomes[1].memory.saturating_sub(outcomes[0].memory)) * 1024 / (count as u64 - 1_000);
                rows.push(vec![
                    name.to_owned(),
                    thousands(count as f64),
                    what.to_owned(),
                    thousands(outcomes[1].rate),
                    format!("{:.3}", outcomes[1].ratio),
                    format!("{:.2}", outcomes[1].p99_ratio),
                    outcomes[1].errors.to_string(),
                    thousands(bytes as f64),
                ]);
            }
        }
    }
    let columns = [
        "store",
        "sessions",
        "request",
        "requests/s",
        "of that with 1,000",
        "p99 to that with 1,000",
        "errors",
        "bytes of memory a session",
    ];
    Ok(format!("## Sessions\n\n{}\n", table(&columns, &rows)))
}

fn bodies(effort: Effort) -> Result<String> {
    let mut rows = Vec::new();
    for data_bytes in [200, 4_096, 65_536] {
        let scene = Scene { data_bytes, ..Scene::USUAL };
        let sqlite = sessman(Store::Sqlite, scene)?;
        let limit = bare(&sqlite, scene)?;
        for (kind, what) in [(Kind::Get, "get"), (Kind::Update, "update")] {
            let entries = [&limit, &sqlite].map(|running| Entry { running, kind, connections: CONNECTIONS });
            let outcomes = compare(&entries, effort, Cores::Second)?;
            rows.push(vec![
                thousands(f64::from(u32::try_from(data_bytes)?)),
                what.to_owned(),
                thousands(outcomes[0].rate),
                thousands(outcomes[1].rate),
                format!("{:.3}", outcomes[1].ratio),
                outcomes[1].errors.to_string(),
            ]);
        }
    }
    let columns = [
        "bytes of data",
        "request",
        "bare hyper, requests/s",
        "sessman on SQLite, requests/s",
        "ratio",
        "errors",
    ];
    Ok(format!("## Bodies\n\n{}\n", table(&columns, &rows)))
}

fn cores(effort: Effort) -> Result<String> {
    let mut rows = Vec::new();
    let mut measured = Vec::new();
    for cores in [Cores::First, Cores::Both] {
        let scene = Scene { cores, ..Scene::USUAL };
        let sqlite = sessman(Store::Sqlite, scene)?;
        let limit = bare(&sqlite, scene)?;
        measured.push((limit, sqlite));
    }
    for (kind, what) in [(Kind::Get, "get"), (Kind::Update, "update")] {
        // The load shares the cores with servers on both, so that only what a second of CPU does can be compared.
        let entries: Vec<Entry<'_>> = measured
            .iter()
            .flat_map(|(limit, sqlite)| [limit, sqlite])
            .map(|running| Entry { running, kind, connections: CONNECTIONS })
            .collect();
        let outcomes = compare(&entries, effort, Cores::Both)?;
        for (name, one, two) in [("bare hyper", 0, 2), ("sessman on SQLite", 1, 3)] {
            rows.push(vec![
                name.to_owned(),
                what.to_owned(),
                thousands(outcomes[one].per_cpu),
                thousands(outcomes[two].per_cpu),
                format!("{:.3}", outcomes[two].per_cpu / outcomes[one].per_cpu),
            ]);
        }
    }
    let columns = ["service", "request", "requests per CPU-second, one core", "two cores", "ratio"];
    Ok(format!("## Cores\n\n{}\n", table(&columns, &rows)))
}

/// What sessman adds to the driver: the server in it is not MongoDB's own, and is not what is measured.
fn mongodb(effort: Effort) -> Result<String> {
    const TITLE: &str = "## MongoDB: get beside the driver alone";
    let Some(config) = Store::MongoDb.config("bench") else {
        return Ok(format!("{TITLE}\n\nNot measured: there is no server.\n\n"));
    };
    let text = |key: &str| config[key].as_str().unwrap_or_default().to_owned();
    let (uri, database) = (text("server_url"), text("database"));
    let running = sessman_with(Store::MongoDb, config, Scene::USUAL)?;
    let limit = bare(&running, Scene::USUAL)?;
    let mut seen: Vec<Vec<f64>> = Vec::new();
    for _ in 0..effort.rounds {
        let mut command = Command::new(e2e::artifacts().join("mongo_loop"));
        command.arg(&database).arg(effort.duration.as_secs().to_string()).env("MONGODB_URI", &uri);
        let output = Cores::First.during(|| command.output())??;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let row: Result<Vec<f64>, _> = said.split_whitespace().map(str::parse).collect();
        let row = row?;
        ensure!(row.len() == 3, "mongo_loop: {}", String::from_utf8_lossy(&output.stderr));
        seen.push(row);
    }
    let of = |column: usize| median(seen.iter().map(|row| row[column]).collect());
    let entries =
        [&limit, &running].map(|running| Entry { running, kind: Kind::Get, connections: CONNECTIONS });
    let outcomes = compare(&entries, effort, Cores::Second)?;
    let mut rows =
        vec![vec!["the driver alone".to_owned(), thousands(of(0)), format!("{:.1} µs", of(1)), time(of(2))]];
    for (name, outcome) in [("bare hyper", outcomes[0]), ("sessman", outcomes[1])] {
        let cpu = format!("{:.1} µs", 1e6 / outcome.per_cpu);
        rows.push(vec![name.to_owned(), thousands(outcome.rate), cpu, time(outcome.p50)]);
    }
    let columns = ["program", "reads/s", "CPU a read, without the server's", "p50"];
    Ok(format!("{TITLE}\n\n{}\n", table(&columns, &rows)))
}

/// Connections that do nothing.
const IDLE: usize = 2_000;

fn footprint(effort: Effort) -> Result<String> {
    let scene = Scene::USUAL;
    let sqlite = sessman(Store::Sqlite, scene)?;
    let limit = bare(&sqlite, scene)?;
    let mut rows = Vec::new();
    for (name, running) in [("bare hyper", &limit), ("sessman", &sqlite)] {
        let before = running.memory();
        let idle = idle(running)?;
        let bytes = (running.memory().saturating_sub(before)) * 1024 / IDLE as u64;
        drop(idle);
        let starts = (0..effort.rounds.max(3))
            .map(|_| if name == "sessman" { start_of_sessman() } else { start_of_bare() })
            .collect::<Result<Vec<_>>>()?;
        rows.push(vec![name.to_owned(), thousands(bytes as f64), time(median(starts) * 1e6)]);
    }
    let columns = ["service", "bytes an idle connection", "start to first answer"];
    Ok(format!("## Footprint\n\n{}\n", table(&columns, &rows)))
}

/// Connections that have asked once and wait.
fn idle(running: &Running) -> Result<Vec<TcpStream>> {
    use std::io::{Read as _, Write as _};
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        let mut stream = TcpStream::connect(&running.address)?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut buffer = [0; 4_096];
        ensure!(stream.read(&mut buffer)? > 0, "no answer");
        idle.push(stream);
    }
    Ok(idle)
}

fn first_answer(address: &str, started: Instant) -> Result<f64> {
    use std::io::{Read as _, Write as _};
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"POST /sessman/new HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut buffer = [0; 4_096];
    let length = stream.read(&mut buffer)?;
    if !buffer[..length].starts_with(b"HTTP/1.1 20") {
        bail!("{}", String::from_utf8_lossy(&buffer[..length]));
    }
    Ok(started.elapsed().as_secs_f64())
}

fn start_of_sessman() -> Result<f64> {
    let site = Site::new();
    site.sessman("{}");
    let started = Instant::now();
    let pserve = Cores::First.during(|| site.start())?;
    first_answer(pserve.address(), started)
}

fn start_of_bare() -> Result<f64> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), json!({ "status": 200, "headers": [], "body": "{}" }).to_string())?;
    let started = Instant::now();
    let mut command = Command::new(e2e::artifacts().join("bare"));
    let (_process, address) = start(command.arg(file.path()), Cores::First)?;
    first_answer(&address, started)
}
