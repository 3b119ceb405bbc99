//! What `/metrics` says, as a reader of the format that is not ours understands it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use e2e::pserve::{Pserve, Site, eventually};
use e2e::store::Store;
use serde_json::{Value, json};

/// Reads a text strictly and prints its samples as JSON; what it does not understand ends it.
const READER: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families as read
families = list(read(sys.stdin.read()))
names = [family.name for family in families]
assert len(names) == len(set(names)), 'a family twice'
samples = [[s.name, s.labels, s.value] for family in families for s in family.samples]
keys = [json.dumps(sample[:2], sort_keys=True) for sample in samples]
assert len(keys) == len(set(keys)), 'a sample twice'
print(json.dumps({'samples': samples, 'types': {family.name: family.type for family in families}}))
";

/// A scrape, as it was understood.
struct Scrape {
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
    types: Value,
}

impl Scrape {
    /// None where the reader is not installed: `cargo xtask test e2e` does it.
    fn of(pserve: &Pserve, test: &str) -> Option<Self> {
        let package = e2e::artifacts().join("../tools/prometheus-client");
        if !package.join("prometheus_client").exists() {
            e2e::skip(test, "the Python package prometheus-client is not installed");
            return None;
        }
        let answer = pserve.client().with("X-Custom-Auth", "k").get("/metrics").expect(200);
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        Some(Self::read(&answer.text, package))
    }

    fn read(text: &str, package: PathBuf) -> Self {
        let mut reader = Command::new("python3");
        let reader = reader.args(["-c", READER]).env("PYTHONPATH", package);
        let mut reader =
            reader.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        reader.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = reader.wait_with_output().unwrap();
        assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
        let read: Value = serde_json::from_slice(&output.stdout).unwrap();
        let samples = read["samples"].as_array().unwrap().iter().map(|sample| {
            let labels = sample[1].as_object().unwrap().iter();
            let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
            (sample[0].as_str().unwrap().to_owned(), labels.collect(), sample[2].as_f64().unwrap_or(f64::NAN))
        });
        Self { samples: samples.collect(), types: read["types"].clone() }
    }

    /// The sum of the samples with this name that have these labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |found: &BTreeMap<String, String>| {
            labels.iter().all(|(label, value)| found.get(*label).is_some_and(|found| found == value))
        };
        let found: Vec<f64> =
            self.samples.iter().filter(|(n, l, _)| n == name && has(l)).map(|(_, _, value)| *value).collect();
        if found.is_empty() { f64::NAN } else { found.iter().sum() }
    }
}

#[test]
fn what_the_drivers_count_is_read_too() {
    for store in [Store::MongoDb, Store::Redis] {
        let Some(config) = store.config("what_the_drivers_count") else { continue };
        let site = Site::new();
        site.write("sessman.json", config.to_string());
        site.ini("[auth]\napikey=k\n[plugin_parms]\nsessman=json=sessman.json");
        let pserve = site.start();
        let client = pserve.client().with("X-Custom-Auth", "k");
        let ids: Vec<String> = (0..5)
            .map(|_| client.post("/sessman/new", json!({ "user": "ada" })).expect(201).member("session_id"))
            .collect();
        for id in &ids {
            client.get(&format!("/sessman/get?token={id}")).expect(200);
        }
        let Some(scrape) = Scrape::of(&pserve, "what_the_drivers_count") else { return };
        if store == Store::Redis {
            // The server of the run keeps nothing on its disk.
            assert_eq!(scrape.sum("sessman_redis_hazards", &[("hazard", "no_append_only_file")]), 1.0);
            assert_eq!(scrape.sum("sessman_redis_hazards", &[("hazard", "evicts")]), 0.0);
            continue;
        }
        let commands =
            |command| scrape.sum("sessman_mongodb_command_duration_seconds_count", &[("command", command)]);
        // A few are the service's own: it asks who cleans up, and whether the server takes a write.
        for asked in [commands("insert"), commands("find")] {
            assert!((5.0..25.0).contains(&asked), "{asked}");
        }
        assert_eq!(scrape.sum("sessman_mongodb_errors_total", &[]), 0.0);
        let connections = scrape.sum("sessman_mongodb_connections", &[]);
        assert!((1.0..=50.0).contains(&connections), "{connections}");
        assert!(scrape.sum("sessman_mongodb_checkout_duration_seconds_count", &[]) >= 10.0);
        eventually("the indexes are there", || {
            let scrape = Scrape::of(&pserve, "what_the_drivers_count").expect("it was there");
            scrape.sum("sessman_mongodb_index_ready", &[]) == 4.0
        });
    }
}

fn site() -> Site {
    let site = Site::new();
    site.plugin("libhello.so");
    site.write("sessman.json", r#"{ "backend": "memory" }"#);
    site
}

const LINES: &str = "[auth]\napikey=k\n[plugin_parms]\nsessman=json=sessman.json\nhello=auth_type=none\n\
                     hi=plugin=hello&auth_type=none";

#[test]
fn metrics_count_what_was_sent_and_a_foreign_reader_accepts_them() {
    let site = site();
    site.ini(LINES);
    let pserve = site.start();
    let client = pserve.client();
    let keyed = client.with("X-Custom-Auth", "k");
    client.get("/metrics").expect(401);
    for _ in 0..7 {
        keyed.post("/sessman/new", json!({ "user": "ada" })).expect(201);
    }
    for _ in 0..3 {
        client.post("/sessman/new", json!({})).expect(401);
    }
    for _ in 0..5 {
        client.get("/hello").expect(200);
    }
    client.get("/hi").expect(200);
    client.send("HEAD", "/hi", "");
    client.send("DELETE", "/hi", "").expect(405);
    client.send("MADEUP", "/hi", "x").expect(405);
    client.get("/hello/what-only-the-client-knows").expect(404);
    client.with("X-Custom-Auth", "wrong").get("/plugins").expect(401);

    let Some(first) = Scrape::of(&pserve, "metrics") else { return };
    let count = |instance: &str, route: &str, method: &str, status: &str| {
        let labels =
            [("plugin_instance", instance), ("route", route), ("method", method), ("status", status)];
        first.sum("pserve_requests_total", &labels)
    };
    assert_eq!(count("sessman", "/sessman/new", "POST", "201"), 7.0);
    assert_eq!(count("sessman", "/sessman/new", "POST", "401"), 3.0);
    assert_eq!(count("hello", "/hello", "GET", "200"), 5.0);
    assert_eq!(count("hi", "/hi", "GET", "200"), 1.0);
    assert_eq!(count("hi", "/hi", "HEAD", "200"), 1.0);
    assert_eq!(count("hi", "/hi", "DELETE", "405"), 1.0);
    assert_eq!(count("hi", "/hi", "other", "405"), 1.0);
    assert_eq!(count("-", "-", "GET", "404"), 1.0);
    assert_eq!(count("-", "/metrics", "GET", "401"), 1.0);
    assert_eq!(first.sum("pserve_requests_total", &[]), 22.0);
    assert_eq!(first.sum("pserve_request_duration_seconds_count", &[]), 22.0);
    let new = [("plugin_instance", "sessman"), ("route", "/sessman/new"), ("le", "+Inf")];
    assert_eq!(first.sum("pserve_request_duration_seconds_bucket", &new), 10.0);
    assert!(first.sum("pserve_request_duration_seconds_sum", &new[..2]) > 0.0);
    assert_eq!(first.sum("pserve_key_failures_total", &[("reason", "missing")]), 4.0);
    assert_eq!(first.sum("pserve_key_failures_total", &[("reason", "wrong")]), 1.0);
    assert_eq!(first.sum("pserve_requests_in_flight", &[]), 0.0);
    assert!(first.sum("pserve_open_connections", &[]) >= 1.0);
    assert!(first.sum("pserve_connections_total", &[]) >= 1.0);
    // What the plugin adds, told apart by instance.
    assert_eq!(first.sum("hello_greetings_total", &[("plugin_instance", "hello")]), 5.0);
    assert_eq!(first.sum("hello_greetings_total", &[("plugin_instance", "hi")]), 2.0);
    assert_eq!(first.sum("pserve_plugin_metrics_ok", &[]), 3.0);

    assert_eq!(first.sum("pserve_instance_state", &[("plugin_instance", "hi"), ("state", "ready")]), 1.0);
    assert_eq!(first.sum("pserve_instance_state", &[]), 3.0);
    assert_eq!(first.sum("pserve_load_failures", &[]), 0.0);
    assert_eq!(first.sum("pserve_build_info", &[]), 1.0);
    assert_eq!(first.sum("pserve_plugin_info", &[("plugin", "hello")]), 1.0);
    assert_eq!(first.types["pserve_request_duration_seconds"], "histogram");
    assert!(first.sum("process_resident_memory_bytes", &[]) > 1e6);
    assert!(first.sum("process_open_fds", &[]) > 3.0);
    assert!(first.sum("process_cpu_seconds_total", &[]) >= 0.0);
    assert!(first.sum("process_start_time_seconds", &[]) > 1.7e9);

    let second = Scrape::of(&pserve, "metrics").unwrap();
    assert_eq!(second.sum("pserve_requests_total", &[("route", "/metrics"), ("status", "200")]), 1.0);
}

#[test]
fn counters_outlive_a_reload_and_reloads_are_counted() {
    let site = site();
    site.ini(LINES);
    let pserve = site.start();
    let keyed = pserve.client().with("X-Custom-Auth", "k");
    keyed.get("/hello").expect(200);
    keyed.send("POST", "/reload/all", "").expect(200);
    keyed.send("POST", "/reload/hello", "").expect(200);
    keyed.get("/hello").expect(200);
    site.ini(&LINES.replace("memory", "x").replace("[auth]", "[auht]"));
    keyed.send("POST", "/reload/all", "").expect(422);
    let Some(scrape) = Scrape::of(&pserve, "counters_outlive_a_reload") else { return };
    assert_eq!(scrape.sum("pserve_requests_total", &[("route", "/hello"), ("status", "200")]), 2.0);
    assert_eq!(scrape.sum("pserve_reloads_total", &[("result", "ok")]), 2.0);
    assert_eq!(scrape.sum("pserve_reloads_total", &[("result", "failed")]), 1.0);
    assert_eq!(scrape.sum("pserve_last_reload_successful", &[]), 0.0);
    assert!(scrape.sum("pserve_last_reload_timestamp_seconds", &[]) > 1.7e9);
    site.ini(LINES);
    keyed.send("POST", "/unload/hi", "").expect(200);
    eventually("the series of what is unloaded are gone", || {
        let text = keyed.get("/metrics").expect(200).text;
        text.contains("plugin_instance=\"hello\"") && !text.contains("plugin_instance=\"hi\"")
    });
}

#[test]
fn metrics_of_one_plugin_cannot_spoil_the_whole() {
    for (parameters, said) in [
        ("bad-metrics", "no number"),
        ("foreign-metrics", "are the host's"),
        ("panic-in-metrics", "this plugin panics in metrics"),
        ("silent-metrics", "no answer within"),
    ] {
        let site = site();
        site.plugin("libmisbehaves.so");
        site.ini(&format!("{LINES}\nmisbehaves=auth_type=none&do={parameters}"));
        let pserve = site.start();
        pserve.client().get("/hello").expect(200);
        let Some(scrape) = Scrape::of(&pserve, "metrics_of_one_plugin") else { return };
        assert_eq!(scrape.sum("hello_greetings_total", &[]), 1.0, "{parameters}");
        let ok = |instance| scrape.sum("pserve_plugin_metrics_ok", &[("plugin_instance", instance)]);
        assert_eq!((ok("hello"), ok("misbehaves")), (1.0, 0.0), "{parameters}");
        assert!(scrape.sum("misbehaves_good", &[]).is_nan(), "{parameters}: taken in part");
        pserve.wait_for_log(said);
    }
}

#[test]
fn without_a_key_nobody_sees_the_metrics() {
    let site = site();
    site.ini("[plugin_parms]\nsessman=json=sessman.json");
    let pserve = site.start();
    let error = pserve.client().get("/metrics").expect(403).member("error");
    assert!(error.contains("[auth]"), "{error}");
}
