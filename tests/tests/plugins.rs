//! Plugins that misbehave, and files that are none.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::pserve::{Site, overwrite_in_place};
use serde_json::json;

fn site() -> Site {
    let site = Site::new();
    site.plugin("libmisbehaves.so");
    site.write("sessman.json", r#"{ "backend": "memory" }"#);
    site
}

#[test]
fn a_plugin_that_panics_answers_500_and_the_others_go_on() {
    let site = site();
    site.ini("[limits]\nrequest_timeout=1\n[plugin_parms]\nsessman=json=sessman.json");
    let mut pserve = site.start();
    let client = pserve.client();
    let id = client.post("/sessman/new", json!({})).expect(201).member("session_id");
    for _ in 0..3 {
        for path in ["now", "now-payload", "handle", "poll", "drop", "payload"] {
            let error = client.get(&format!("/misbehaves/{path}")).expect(500).member("error");
            assert!(!error.contains("panics"), "the panic's text is for the log: {error}");
        }
        for path in ["status", "header"] {
            let answer = client.get(&format!("/misbehaves/{path}")).expect(500);
            assert_eq!(answer.header("x-injected"), None);
        }
        assert!(client.try_send("GET", "/misbehaves/stream", "").is_err(), "a body that breaks off is seen");
        for path in ["later-drop", "never"] {
            let answer = client.get(&format!("/misbehaves/{path}"));
            assert!(matches!(answer.status, 503 | 504), "{answer:?}");
        }
        client.get(&format!("/sessman/get?token={id}")).expect(200);
        assert_eq!(client.get("/misbehaves/fine").expect(200).text, "fine\n");
    }
    assert!(pserve.is_running());
    pserve.wait_for_log("this plugin panics in handle");
    pserve.wait_for_log("this plugin panics in poll");
}

#[test]
fn a_plugin_that_panics_or_dies_at_the_start_is_reported() {
    for (parameters, said) in [
        ("do=panic-in-prepare", "this plugin panics in prepare"),
        ("do=payload-in-prepare", "panicked: (no message)"),
        ("do=abort-in-prepare", "signal"),
        ("do=refuse", "this plugin refuses its configuration"),
    ] {
        let site = site();
        site.ini(&format!("[plugin_parms]\nsessman=json=sessman.json\nmisbehaves={parameters}"));
        let pserve = site.start();
        pserve.client().post("/sessman/new", json!({})).expect(201);
        pserve.client().get("/misbehaves/fine").expect(503);
        pserve.client().get("/readyz").expect(503);
        pserve.wait_for_log(said);
    }
}

#[test]
fn a_plugin_that_panics_at_the_end_does_not_spoil_the_stop() {
    let site = site();
    site.ini("[plugin_parms]\nsessman=json=sessman.json\nmisbehaves=do=panic-at-the-end");
    let pserve = site.start();
    pserve.client().get("/misbehaves/fine").expect(200);
    assert!(pserve.stop().success());
}

#[test]
fn a_plugin_that_blocks_its_thread_holds_up_nobody_else() {
    let site = site();
    site.ini("[network]\nport=0\nthreads=2\n[limits]\nrequest_timeout=1\n[plugin_parms]\nsessman=json=sessman.json");
    let pserve = site.start();
    let id = pserve.client().post("/sessman/new", json!({})).expect(201).member("session_id");
    let is_blocked = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let block = scope.spawn(|| {
            let answer = pserve.client().get("/misbehaves/block");
            is_blocked.store(false, Ordering::Relaxed);
            answer
        });
        let mut answered = 0;
        while is_blocked.load(Ordering::Relaxed) {
            let started = Instant::now();
            // A client of its own each time: new connections are taken too.
            pserve.client().get(&format!("/sessman/get?token={id}")).expect(200);
            // The block lasts two seconds: who is held up by it waits nearly as long.
            let waited = started.elapsed();
            assert!(waited < Duration::from_millis(1_800), "{waited:?} after {answered}");
            answered += 1;
        }
        assert!(answered > 3, "{answered} requests were answered meanwhile");
        assert!(matches!(block.join().unwrap().status, 200 | 503 | 504));
    });
    // As many as there are threads: the host stands still, and then goes on.
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| pserve.client().get("/misbehaves/block"));
        }
    });
    pserve.client().get(&format!("/sessman/get?token={id}")).expect(200);
    assert_eq!(pserve.client().get("/misbehaves/fine").expect(200).text, "fine\n");
}

#[test]
fn a_plugin_of_another_layout_is_told_in_one_line_and_the_others_serve() {
    let site = site();
    site.plugin("libother_layout.so");
    site.ini("[plugin_parms]\nsessman=json=sessman.json");
    let pserve = site.start();
    pserve.client().post("/sessman/new", json!({})).expect(201);
    pserve.client().get("/misbehaves/fine").expect(200);
    pserve.client().get("/readyz").expect(503);
    let log = pserve.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("other_layout")).collect();
    let [line] = lines[..] else { panic!("one line about it: {log}") };
    for said in [
        "ERROR",
        "built with plugin-api 1.0.0",
        "this host has 1.0.0",
        "expected 3, found 4",
        "`prepare.summary`",
    ] {
        assert!(line.contains(said), "{said:?}: {line}");
    }
    assert!(line.len() < 400, "{line}");
}

#[test]
fn files_that_are_no_plugins_stop_nothing() {
    let site = site();
    site.ini("[auth]\napikey=k\n[plugin_parms]\nsessman=json=sessman.json");
    let library = fs::read(site.path("plugins/libmisbehaves.so")).unwrap();
    fs::write(site.path("plugins/a-text.so"), "not a library\n").unwrap();
    fs::write(site.path("plugins/empty.so"), "").unwrap();
    fs::write(site.path("plugins/half.so"), &library[..library.len() / 2]).unwrap();
    fs::write(site.path("plugins/head.so"), &library[..4096]).unwrap();
    fs::write(site.path("plugins/README.txt"), "not looked at").unwrap();
    let pserve = site.start();
    let client = pserve.client().with("X-Custom-Auth", "k");
    client.post("/sessman/new", json!({})).expect(201);
    client.get("/readyz").expect(503);
    let plugins = client.get("/plugins").expect(200).text;
    for file in ["a-text.so", "empty.so", "half.so", "head.so"] {
        assert!(plugins.contains(file), "{file}: {plugins}");
    }
    assert!(!plugins.contains("README"));
}

#[test]
fn the_file_of_a_loaded_plugin_may_be_overwritten_in_place() {
    let site = site();
    site.ini("[plugin_parms]\nsessman=json=sessman.json");
    let mut pserve = site.start();
    let client = pserve.client();
    let id = client.post("/sessman/new", json!({})).expect(201).member("session_id");
    let file = site.path("plugins/libsessman_plugin.so");
    let length = usize::try_from(fs::metadata(&file).unwrap().len()).unwrap();
    for content in [vec![0xCC; length], b"short".to_vec(), Vec::new()] {
        overwrite_in_place(&file, &content);
        client.get(&format!("/sessman/get?token={id}")).expect(200);
        client.post("/sessman/update", json!({ "token": id, "data": { "more": "code paths" } })).expect(200);
        client.send("POST", "/sessman/new", "{").expect(400);
        std::thread::sleep(Duration::from_millis(50));
        assert!(pserve.is_running());
    }
}
