//! What requests meet while one instance takes the place of another.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use e2e::http::{Client, status};
use e2e::pserve::{Pserve, Site, eventually};
use serde_json::json;

/// The host, with a plugin that does not let go.
fn start(limits: &str) -> (Site, Pserve, Client) {
    let site = Site::new();
    site.plugin("libmisbehaves.so");
    site.ini(&format!(
        "[auth]\napikey=k\n[limits]\n{limits}\n[plugin_parms]\nsessman=backend=memory\n\
         misbehaves=auth_type=none&mode=hang-in-deactivate\n"
    ));
    let pserve = site.start();
    let client = pserve.client().with("X-Custom-Auth", "k");
    (site, pserve, client)
}

fn is_draining(client: &Client) -> bool {
    let plugins = client.get("/plugins").expect(200).json();
    let mut instances = plugins["instances"].as_array().expect("instances").iter();
    instances.any(|instance| instance["name"] == "misbehaves" && instance["state"] == "draining")
}

#[test]
fn who_waits_for_a_hand_over_that_is_given_up_is_answered() {
    // Long before the grace is over, nobody would have time left.
    let (_site, _pserve, client) = start("request_timeout=10\nshutdown_grace=600");
    thread::scope(|scope| {
        let reload = scope.spawn(|| client.post("/reload/misbehaves", json!({})));
        eventually("the hand-over", || is_draining(&client));
        assert_eq!(client.get("/misbehaves/fine").expect(200).text, "fine\n");
        let error = reload.join().unwrap().expect(409).member("error");
        assert!(
            error.contains("`misbehaves` did not let go") && error.contains("request_timeout"),
            "{error}"
        );
    });
}

#[test]
fn who_waits_for_a_hand_over_takes_no_more_memory_than_bodies_may() {
    // The least that a host may have: there is room for a few bodies of a stranger.
    let limits = "request_timeout=20\nshutdown_grace=600\nmax_memory=67108864";
    const BODY: usize = 100_000;
    let (_site, pserve, client) = start(limits);
    thread::scope(|scope| {
        let reload = scope.spawn(|| client.post("/reload/misbehaves", json!({})));
        eventually("the hand-over", || is_draining(&client));
        let send = || {
            let mut stream = TcpStream::connect(pserve.address()).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let head = "GET /misbehaves/fine HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
            write!(stream, "{head}Content-Length: {BODY}\r\n\r\n{}", "x".repeat(BODY)).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        let answers = [(); 16].map(|()| scope.spawn(send)).map(|sent| sent.join().unwrap());
        let (good, refused): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| status(answer) == Some(200));
        assert!(!good.is_empty() && !refused.is_empty(), "{answers:?}");
        let is_short = |answer: &&String| answer.contains("there is no memory for the");
        assert!(refused.iter().all(is_short), "{refused:?}");
        reload.join().unwrap().expect(409);
    });
}

#[test]
fn a_reload_of_one_instance_leaves_the_hosts_own_folders() {
    let site = Site::new();
    let write = |paths: &str| {
        let rest = "[network]\nport=0\n[auth]\napikey=k\n[plugin_parms]\nsessman=";
        site.write("pserve.ini", format!("[paths]\n{paths}\n{rest}\n"));
    };
    write("state=one");
    let pserve = site.start();
    let client = pserve.client().with("X-Custom-Auth", "k");
    let id = client.post("/sessman/new", json!({})).expect(201).member("session_id");
    let get = format!("/sessman/get?session_id={id}");
    write("state=two\nplugins=nowhere");
    client.post("/reload/sessman", json!({})).expect(200);
    client.get(&get).expect(200);
    assert!(!site.path("two").exists());
    write("state=two");
    client.post("/reload/all", json!({})).expect(200);
    client.get(&get).expect(404);
    assert!(site.path("two").exists());
}

#[test]
fn a_command_that_has_the_file_for_a_moment_delays_a_start_and_breaks_nothing() {
    let site = Site::new();
    site.sessman("{}");
    let pserve = site.start();
    let begun = pserve.client().post("/sessman/new", json!({})).expect(201).member("session_id");
    pserve.stop();
    // As `sessctl` does that comes between the two instances of a reload.
    let lock = File::options().write(true).open(site.path("state/sessman.db.lock")).unwrap();
    lock.lock().unwrap();
    let pserve = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(700));
            drop(lock);
        });
        site.start()
    });
    pserve.client().with("X-Session-Id", &begun).get("/sessman/get").expect(200);
    assert!(!pserve.log().contains("in use"), "{}", pserve.log());
}
