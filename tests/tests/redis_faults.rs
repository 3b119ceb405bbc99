//! Redis: killed, hanging, set up so that it loses sessions; and the shipped configuration.

use std::time::{Duration, Instant};

use e2e::clock::{WallClock, millis};
use e2e::http::Client;
use e2e::pserve::{Pserve, Site, eventually};
use e2e::redis::{Cluster, KEPT, Redis};
use rustix::process::Signal;
use serde_json::{Value, json};

fn serve(config: &Value) -> (Site, Pserve, Client) {
    let site = Site::new();
    site.sessman(&config.to_string());
    let pserve = site.start();
    let client = pserve.client();
    (site, pserve, client)
}

fn url(redis: &Redis) -> String {
    format!("redis://127.0.0.1:{}", redis.port())
}

/// Every route answers 503 in time.
fn is_away(client: &Client) {
    let id = "A".repeat(48);
    for (path, body) in [
        ("/sessman/new", json!({ "user": "ada" })),
        ("/sessman/get", json!({ "token": id })),
        ("/sessman/update", json!({ "token": id, "data": 1 })),
        ("/sessman/touch", json!({ "token": id })),
        ("/sessman/validate", json!({ "token": id })),
        ("/sessman/end", json!({ "token": id })),
    ] {
        let started = Instant::now();
        let answer = client.post(path, body).expect(503);
        // Two seconds are promised; the rest is for a machine that does other things too.
        assert!(started.elapsed() < Duration::from_secs(5), "{path}: {:?}", started.elapsed());
        assert!(answer.header("retry-after").unwrap().parse::<u32>().is_ok(), "{answer:?}");
    }
    // It is not asked of the store each time.
    eventually("not ready", || client.get("/readyz").status == 503);
    client.get("/healthz").expect(200);
}

fn comes_back(client: &Client) {
    eventually("ready again", || client.get("/readyz").status == 200);
    // What readiness said may be a moment old.
    eventually("sessions begin again", || client.post("/sessman/new", json!({})).status == 201);
}

#[test]
fn redis_killed_or_hanging_is_a_503_in_time_and_nothing_answered_is_lost() {
    let Some(mut redis) = Redis::start("redis_killed_or_hanging", KEPT) else { return };
    // Away at the start.
    redis.kill_9();
    let (_site, pserve, client) = serve(&json!({ "server_url": url(&redis), "max_sessions_per_user": 100 }));
    is_away(&client);
    redis.start_again(KEPT);
    comes_back(&client);

    let read = |id: &str| client.get(&format!("/sessman/get?token={id}"));
    let mut answered = Vec::new();
    for round in 0..3 {
        // Writes go on while it ends; what was answered with 201 is there afterwards.
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    let client = client.clone();
                    scope.spawn(move || {
                        let begin =
                            || client.post("/sessman/new", json!({ "user": format!("{round}-{writer}") }));
                        let mut ids = Vec::new();
                        loop {
                            match begin() {
                                answer if answer.status == 201 => ids.push(answer.member("session_id")),
                                answer => {
                                    answer.expect(503);
                                    return ids;
                                }
                            }
                        }
                    })
                })
                .collect();
            std::thread::sleep(Duration::from_millis(100));
            redis.kill_9();
            answered.extend(writers.into_iter().flat_map(|writer| writer.join().unwrap()));
        });
        is_away(&client);
        redis.start_again(KEPT);
        comes_back(&client);
    }
    assert!(answered.len() > 3, "{}", answered.len());
    for id in &answered {
        read(id).expect(200);
    }

    redis.signal(Signal::STOP);
    is_away(&client);
    redis.signal(Signal::CONT);
    comes_back(&client);
    read(&answered[0]).expect(200);
    assert!(pserve.stop().success());
}

#[test]
fn a_server_that_would_lose_sessions_is_warned_of_once() {
    let settings = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"];
    let Some(mut redis) = Redis::start("a_server_that_would_lose_sessions", &settings) else { return };
    let (_site, pserve, client) = serve(&json!({ "server_url": url(&redis) }));
    client.post("/sessman/new", json!({})).expect(201);
    pserve.wait_for_log("maxmemory-policy is allkeys-lru");
    pserve.wait_for_log("appendonly is no");
    redis.kill_9();
    client.post("/sessman/new", json!({})).expect(503);
    redis.start_again(&settings);
    comes_back(&client);
    // It is asked on the same connection as these are, right after it was made.
    for _ in 0..10 {
        client.get("/readyz").expect(200);
    }
    let log = pserve.log();
    assert_eq!(log.matches("allkeys-lru").count(), 1, "{log}");
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("allkeys-lru")), "{log}");
}

#[test]
fn a_wrong_password_is_an_outage_that_shows_none() {
    const PASSWORD: &str = "correct-horse:/@%#battery";
    let Some(redis) = Redis::start("a_wrong_password", &["--requirepass", PASSWORD]) else { return };
    let (_site, _pserve, client) = serve(&json!({ "server_url": url(&redis), "password": PASSWORD }));
    client.post("/sessman/new", json!({})).expect(201);
    let wrong = format!("redis://:{}@127.0.0.1:{}", "staple", redis.port());
    for config in [
        json!({ "server_url": url(&redis), "password": format!("{PASSWORD}x") }),
        json!({ "server_url": url(&redis) }),
        json!({ "server_url": wrong }),
    ] {
        let (_site, pserve, client) = serve(&config);
        let answer = client.post("/sessman/new", json!({})).expect(503);
        // Whether or not anybody asks for its readiness.
        pserve.wait_for_log(&format!("127.0.0.1:{} did not accept the login", redis.port()));
        let ready = client.get("/readyz").expect(503);
        for text in [pserve.log(), answer.text, ready.text] {
            assert!(!text.contains("correct-horse") && !text.contains("staple"), "{text}");
        }
    }
}

/// The lines of the log about calls that failed.
fn failures(pserve: &Pserve) -> Vec<String> {
    let log = pserve.log();
    log.lines().filter(|line| line.contains("of the session store failed")).map(str::to_owned).collect()
}

#[test]
fn an_outage_is_in_the_log_when_it_begins_and_when_it_ends_and_not_with_every_answer() {
    let Some(mut redis) = Redis::start("an_outage_is_in_the_log", KEPT) else { return };
    let (_site, pserve, client) = serve(&json!({ "server_url": url(&redis) }));
    client.post("/sessman/new", json!({})).expect(201);
    let refused = || {
        let before = failures(&pserve).len();
        for _ in 0..80 {
            client.post("/sessman/new", json!({})).expect(503);
        }
        let said = failures(&pserve).split_off(before);
        // The connection that broke, and one that cannot be made or is refused, are two causes.
        assert!((1..=3).contains(&said.len()), "{said:#?}");
        let address = format!("127.0.0.1:{}", redis.port());
        assert!(said.iter().all(|line| line.contains("WARN") && line.contains(&address)), "{said:#?}");
        said.join("\n")
    };
    assert_eq!(redis.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]), "OK");
    assert!(refused().contains("NOREPLICAS"));
    eventually("not ready", || client.get("/readyz").status == 503);
    assert_eq!(redis.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]), "OK");
    comes_back(&client);
    redis.kill_9();
    let address = format!("no connection to 127.0.0.1:{}", redis.port());
    client.post("/sessman/new", json!({})).expect(503);
    eventually("it says why", || {
        client.post("/sessman/new", json!({})).expect(503);
        failures(&pserve).iter().any(|line| line.contains(&address))
    });
    redis.start_again(KEPT);
    comes_back(&client);
    eventually("it works again", || {
        client.post("/sessman/new", json!({})).expect(201);
        pserve.log().contains("the session store works again")
    });
    redis.signal(Signal::STOP);
    client.post("/sessman/new", json!({})).expect(503);
    assert!(failures(&pserve).last().is_some_and(|line| line.contains("gave no answer in time")));
    redis.signal(Signal::CONT);
    assert_eq!(pserve.log().matches("the session store works again").count(), 1);
}

#[test]
fn a_server_whose_clock_differs_is_warned_of() {
    const TEST: &str = "a_server_whose_clock_differs";
    let Some(redis) = Redis::start(TEST, &[]) else { return };
    // It is the host's clock that is moved, as it is the difference that counts.
    for (ours, said) in [(-71_i32, "s ahead of"), (15, "s behind")] {
        let site = Site::new();
        let Some(clock) = WallClock::new(TEST, &site.path("clock"), ours.into()) else { return };
        site.sessman(&json!({ "server_url": url(&redis) }).to_string());
        site.ini("[auth]\napikey=k\n[plugin_parms]\nsessman=json=sessman.json");
        let pserve = site.try_start_with(&clock.environment()).unwrap();
        let client = pserve.client().with("X-Custom-Auth", "k");
        eventually("ready", || client.get("/readyz").status == 200);
        pserve.wait_for_log("its clock is");
        let log = pserve.log();
        let line = log.lines().find(|line| line.contains("its clock is")).unwrap_or_default();
        assert!(line.contains("WARN") && line.contains(said), "{line}");
        let metrics = client.get("/metrics").text;
        let metric = metrics.lines().find(|line| line.starts_with("sessman_redis_clock_ahead_seconds{"));
        let seconds = metric.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        assert!(seconds.is_some_and(|seconds| (seconds + f64::from(ours)).abs() < 1.0), "{metric:?}");
    }
}

#[test]
fn a_member_of_a_cluster_that_hangs_is_named_and_the_host_goes_on_serving() {
    let Some(cluster) = Cluster::start("a_member_that_hangs", &["--cluster-node-timeout", "600000"]) else {
        return;
    };
    let (_site, pserve, client) = serve(&json!({ "backend": "redis", "server_url": cluster.addresses() }));
    eventually("ready", || client.get("/readyz").status == 200);
    cluster.members[1].signal(Signal::STOP);
    eventually("ready in part", || client.get("/readyz").text.contains("ready in part"));
    let ready = client.get("/readyz").expect(200);
    assert!(ready.text.contains("sessman") && !ready.text.contains("127.0.0.1"), "{}", ready.text);
    let address = format!("127.0.0.1:{}", cluster.members[1].port());
    let said =
        |line: &str| line.contains("WARN") && line.contains("ready in part") && line.contains(&address);
    eventually("the log says which", || pserve.log().lines().any(said));
    cluster.members[1].signal(Signal::CONT);
    eventually("ready", || client.get("/readyz").text == r#"{"status":"ready"}"#);
    for member in &cluster.members {
        member.signal(Signal::STOP);
    }
    eventually("not ready", || client.get("/readyz").status == 503);
}

fn shipped(environment: &[(&str, &str)]) -> (Site, Pserve, Client) {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let read = |file: &str| std::fs::read_to_string(format!("{root}/{file}")).unwrap();
    let site = Site::new();
    // The port of the host is the one thing that must differ here.
    site.write("pserve.ini", read("config/pserve.ini").replace("port = 6123", "port = 0"));
    site.write("sessman.json", read("config/sessman.redis.json"));
    let pserve = site.try_start_with(environment).unwrap();
    let client = pserve.client();
    (site, pserve, client)
}

/// Begins sessions until the first one of their user has given way; how many were kept.
fn kept(client: &Client) -> usize {
    let begin = || client.post("/sessman/new", json!({ "user": "ada" })).expect(201).member("session_id");
    let first = begin();
    for kept in 1..20 {
        begin();
        if client.get(&format!("/sessman/get?token={first}")).status == 404 {
            return kept;
        }
    }
    panic!("no session gave way");
}

fn seconds(client: &Client) -> i64 {
    let session = client.post("/sessman/new", json!({})).expect(201);
    let at = |name: &str| millis(&session.member(name)) / 1_000;
    at("expires_at") - at("created_at")
}

#[test]
fn the_shipped_redis_configuration_takes_the_environment() {
    let settings = ["--requirepass", "p:w/@%\"\\"];
    let Some(redis) = Redis::start("the_shipped_redis_configuration", &settings) else { return };
    let port = redis.port().to_string();
    let (_site, pserve, client) = shipped(&[
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &port),
        ("REDIS_PASSWORD", settings[1]),
        ("REDIS_DB", "3"),
        ("SESSION_TTL_SECONDS", "77"),
        ("MAX_SESSIONS_PER_USER", "2"),
        ("CLEANUP_INTERVAL_SECONDS", "1"),
    ]);
    assert_eq!((seconds(&client), kept(&client)), (77, 2));
    let keys = |database: &str| redis.cli(&["-a", settings[1], "-n", database, "DBSIZE"]);
    assert_eq!(keys("0"), "0");
    assert_ne!(keys("3"), "0");
    // What is not there any more is written again by a clean-up; the next one by default is minutes away.
    let cli = |arguments: &[&str]| redis.cli(&[&["-a", settings[1], "-n", "3"], arguments].concat());
    let names = cli(&["KEYS", "sessman:i:*"]);
    let names: Vec<&str> = names.lines().collect();
    cli(&[&["DEL"], names.as_slice()].concat());
    eventually("a clean-up", || cli(&[&["EXISTS"], names.as_slice()].concat()) == names.len().to_string());
    assert!(!pserve.log().contains("p:w/"), "{}", pserve.log());
}

#[test]
fn the_shipped_redis_configuration_has_defaults() {
    let Some(redis) = Redis::start("the_shipped_redis_configuration", &[]) else { return };
    let port = redis.port().to_string();
    let (_site, _pserve, client) = shipped(&[("REDIS_PORT", &port)]);
    assert_eq!((seconds(&client), kept(&client)), (86_400, 5));
    assert_ne!(redis.cli(&["DBSIZE"]), "0");

    let (_site, pserve, client) = shipped(&[("REDIS_HOST", "redis.invalid"), ("REDIS_PORT", &port)]);
    client.get("/readyz").expect(503);
    pserve.wait_for_log("redis.invalid");

    // Without any variable it is the server of this machine, which may be there or not.
    let (_site, _pserve, client) = shipped(&[]);
    let status = client.post("/sessman/touch", json!({ "token": "A".repeat(48) })).status;
    assert!([404, 503].contains(&status), "{status}");
}
