//! The end of the host, whatever it is at and whatever plugins do.

use std::thread;
use std::time::{Duration, Instant};

use e2e::pserve::{Site, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// A site with instances of the plugin that misbehaves, each with its mode.
fn site(settings: &str, instances: &[(&str, &str)]) -> Site {
    let site = Site::new();
    site.plugin("libmisbehaves.so");
    write(&site, settings, instances);
    site
}

fn write(site: &Site, settings: &str, instances: &[(&str, &str)]) {
    let line = |(name, mode): &(&str, &str)| format!("{name}=plugin=misbehaves&auth_type=none&mode={mode}\n");
    let lines: String = instances.iter().map(line).collect();
    site.ini(&format!("{settings}\n[plugin_parms]\nsessman=auth_type=none\n{lines}"));
}

/// The process that has written its id; it may not listen yet.
fn process(site: &Site) -> Pid {
    let read = || std::fs::read_to_string(site.path("pid")).ok()?.trim().parse().ok();
    eventually("the process id", || read().is_some());
    Pid::from_raw(read().unwrap()).unwrap()
}

#[test]
fn shutdown_grace_is_for_all_plugins_at_once() {
    let modes = [("a", "hang-in-deactivate+hang-in-shutdown"), ("b", "slow-in-deactivate"), ("c", "fine")];
    let site = site("[limits]\nshutdown_grace=10", &modes);
    let pserve = site.start();
    pserve.client().post("/sessman/new", json!({})).expect(201);
    let (begun, log) = (Instant::now(), site.path("pserve.log"));
    assert!(pserve.stop().success());
    let took = begun.elapsed();
    // One after the other, what hangs twice takes it twice.
    assert!((10..20).contains(&took.as_secs()), "{took:?}");
    let log = std::fs::read_to_string(log).unwrap();
    let late: Vec<&str> = log.lines().filter(|line| line.contains("did not stop in order")).collect();
    assert!(late.len() == 1 && late[0].contains("instance=\"a\""), "{log}");
}

#[test]
fn a_request_that_hangs_takes_nothing_from_the_last_moment_of_its_plugin() {
    let site = site("[limits]\nshutdown_grace=1\n[auth]\napikey=k", &[("a", "brief-in-deactivate")]);
    let pserve = site.start();
    let keyed = pserve.client().with("X-Custom-Auth", "k");
    let (client, log) = (pserve.client(), site.path("pserve.log"));
    let hanging = thread::spawn(move || client.try_send("GET", "/a/never", ""));
    let under_way = || keyed.get("/metrics").expect(200).text.contains("pserve_requests_in_flight 1");
    eventually("the request is under way", under_way);
    assert!(pserve.stop().success());
    assert!(hanging.join().unwrap().is_err());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(!log.contains("did not stop in order"), "{log}");
}

#[test]
fn a_stop_does_not_wait_for_reloads_that_wait() {
    let site = site("[limits]\nshutdown_grace=1", &[("a", "fine")]);
    let pserve = site.start();
    write(&site, "[limits]\nshutdown_grace=1", &[("a", "hang-in-prepare")]);
    for _ in 0..3 {
        pserve.signal(Signal::HUP);
        // Signals that come at once are one.
        thread::sleep(Duration::from_millis(300));
    }
    eventually("a plugin is tried", || children(pserve.pid()) > 0);
    let begun = Instant::now();
    assert!(pserve.stop().success());
    // A plugin that does not answer is left after ten seconds, each time.
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
}

#[test]
fn a_stop_does_not_wait_for_an_instance_that_is_being_activated() {
    let settings = "[limits]\nshutdown_grace=1\n[auth]\napikey=k";
    let site = site(settings, &[("a", "fine")]);
    let pserve = site.start();
    write(&site, settings, &[("a", "hang-in-activate")]);
    pserve.signal(Signal::HUP);
    let plugins = || pserve.client().with("X-Custom-Auth", "k").get("/plugins").expect(200).text;
    eventually("the hand-over", || plugins().contains("draining"));
    let (begun, log) = (Instant::now(), site.path("pserve.log"));
    assert!(pserve.stop().success());
    // It would be given up after half a minute.
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("a reload was still under way after shutdown_grace"), "{log}");
}

/// How many processes that process has started, on whichever thread.
fn children(process: u32) -> usize {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().map_while(Result::ok);
    let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    children.map(|children| children.split_whitespace().count()).sum()
}

#[test]
fn a_signal_ends_a_host_that_is_still_starting() {
    let site = site("pidfile=pid", &[("a", "hang-in-activate")]);
    thread::scope(|scope| {
        let started = scope.spawn(|| site.try_start());
        kill_process(process(&site), Signal::TERM).unwrap();
        let log = started.join().unwrap().err().expect("it does not begin to listen");
        assert!(log.contains("stopping") && log.contains("stopped"), "{log}");
    });
    assert!(!site.path("pid").exists());
}

#[test]
fn a_second_signal_ends_it_at_once_while_it_starts_too() {
    let settings = "pidfile=pid\n[limits]\nshutdown_grace=600";
    let site = site(settings, &[("a", "hang-in-activate+hang-in-shutdown")]);
    thread::scope(|scope| {
        let started = scope.spawn(|| site.try_start());
        let process = process(&site);
        kill_process(process, Signal::TERM).unwrap();
        let log = || std::fs::read_to_string(site.path("pserve.log")).unwrap_or_default();
        eventually("it stops", || log().contains("stopping"));
        kill_process(process, Signal::INT).unwrap();
        let log = started.join().unwrap().err().expect("it does not begin to listen");
        assert!(log.contains("stopped at once by a second signal"), "{log}");
    });
}
