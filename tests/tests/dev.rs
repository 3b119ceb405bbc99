//! `pserve dev`: what changes on disk is reloaded, and said on standard output.

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::thread;
use std::time::Duration;

use e2e::pserve::{Pserve, Site, eventually};
use rustix::process::Signal;

const HELLO: &str = "plugins/libhello.so";

/// A site with `hello` as a line of its own, or without one.
fn site(line: &str) -> Site {
    let site = Site::new();
    fs::remove_file(site.path("plugins/libsessman_plugin.so")).unwrap();
    site.plugin("libhello.so");
    site.ini(&format!("[plugin_parms]\n{line}"));
    site
}

/// `pserve dev`, and how much of its output was looked at.
struct Dev {
    pserve: Pserve,
    read: Cell<usize>,
}

impl Dev {
    fn of(site: &Site) -> Self {
        Self { pserve: site.start_dev(), read: Cell::new(0) }
    }

    /// Waits until it says this, after what was waited for before.
    fn says(&self, text: &str) {
        let read = || self.pserve.output().get(self.read.get()..).and_then(|rest| rest.find(text));
        eventually(text, || read().is_some());
        self.read.set(self.read.get() + read().unwrap() + text.len());
    }
}

/// Another build of the plugin: what follows the end of a library is not looked at, but it is another file.
fn build(site: &Site, number: usize) {
    let file = site.path(HELLO);
    let mut library = fs::read(&file).unwrap();
    library.extend([b'x'].repeat(number));
    let unfinished = site.path("plugins/unfinished");
    fs::write(&unfinished, library).unwrap();
    fs::rename(unfinished, file).unwrap();
}

#[test]
fn a_new_build_is_served_and_said() {
    let site = site("hello=auth_type=none");
    let dev = Dev::of(&site);
    let client = dev.pserve.client();
    for number in 1..=2 {
        build(&site, number);
        dev.says("pserve: plugins/libhello.so changed: reloaded hello (");
        assert_eq!(client.get("/hello").expect(200).text, "hello from hello\n");
    }
    assert!(!dev.pserve.output().contains("not reloaded"), "{}", dev.pserve.output());
    dev.pserve.signal(Signal::INT);
    assert!(dev.pserve.wait().success());
}

#[test]
fn a_plugin_that_is_still_being_written_is_waited_for() {
    let site = site("hello=auth_type=none");
    let dev = Dev::of(&site);
    let mut library = fs::read(site.path(HELLO)).unwrap();
    library.push(b'x');
    // As a slow linker does it: in place, with pauses.
    let mut file = fs::File::create(site.path(HELLO)).unwrap();
    for piece in library.chunks(library.len() / 12) {
        file.write_all(piece).unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    drop(file);
    dev.says("libhello.so changed: reloaded hello (");
    assert!(!dev.pserve.output().contains("not reloaded"), "{}", dev.pserve.output());
    assert!(!dev.pserve.log().contains("ERROR"), "{}", dev.pserve.log());
}

#[test]
fn what_is_broken_is_refused_and_the_old_one_serves() {
    let site = site("hello=auth_type=none");
    let dev = Dev::of(&site);
    let library = fs::read(site.path(HELLO)).unwrap();
    fs::write(site.path(HELLO), &library[..4096]).unwrap();
    dev.says("libhello.so changed: not reloaded, what was loaded goes on serving (");
    dev.says("libhello.so: ");
    let client = dev.pserve.client();
    client.get("/hello").expect(200);
    fs::write(site.path(HELLO), &library).unwrap();
    dev.says("libhello.so changed: nothing to reload (");

    // Its line still wants it.
    fs::remove_file(site.path(HELLO)).unwrap();
    dev.says("libhello.so was removed: not reloaded, what was loaded goes on serving (");
    client.get("/hello").expect(200);
}

#[test]
fn plugins_that_come_and_go_are_loaded_and_unloaded() {
    let site = site("");
    let dev = Dev::of(&site);
    let client = dev.pserve.client();
    fs::remove_file(site.path(HELLO)).unwrap();
    dev.says("libhello.so was removed: unloaded hello (");
    client.get("/hello").expect(404);
    site.plugin("libhello.so");
    dev.says("libhello.so is new: loaded hello (");
    client.get("/hello").expect(200);
}

#[test]
fn the_ini_file_and_the_json_files_that_it_names_are_watched() {
    let site = site("hello=json=hello.json");
    site.write("hello.json", r#"{ "auth_type": "none" }"#);
    let dev = Dev::of(&site);
    let client = dev.pserve.client();
    site.write("hello.json", r#"{ "route_path": "/greet" }"#);
    dev.says("hello.json changed: reloaded hello (");
    client.get("/greet").expect(200);
    site.write("hello.json", r#"{ "route_path": "#);
    dev.says("hello.json changed: not reloaded");
    client.get("/greet").expect(200);
    site.write("hello.json", r#"{ "route_path": "/greet", "auth_type": "none" }"#);
    dev.says("hello.json changed: reloaded hello (");

    // A line that comes with a file which is corrected later.
    site.write("more.json", r#"{ "route_path": "#);
    site.ini("[plugin_parms]\nhello=json=hello.json\nmore=json=more.json&plugin=hello");
    dev.says("pserve.ini changed: nothing to reload (");
    dev.says("  failed: more: ");
    site.write("more.json", "{}");
    dev.says("more.json changed: loaded more (");
    assert_eq!(client.get("/more").expect(200).text, "hello from more\n");
    site.ini("[plugin_parms]\nhello=json=hello.json\n[netwrk]\nport=1");
    dev.says("pserve.ini changed: not reloaded");
    dev.says("did you mean [network]?");
    client.get("/more").expect(200);
}
