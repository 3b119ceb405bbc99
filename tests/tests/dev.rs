//! `pserve dev`: what changes on disk is reloaded, and said on standard output.

use std::fs;
use std::io::Write;
use std::thread;
use std::time::Duration;

use e2e::pserve::{Site, eventually};
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
    let pserve = site.start_dev();
    let client = pserve.client();
    for number in 1..=2 {
        build(&site, number);
        let said = "pserve: plugins/libhello.so changed: reloaded hello (";
        eventually(said, || pserve.output().matches(said).count() == number);
        assert_eq!(client.get("/hello").expect(200).text, "hello from hello\n");
    }
    assert!(!pserve.output().contains("not reloaded"), "{}", pserve.output());
    pserve.signal(Signal::INT);
    assert!(pserve.wait().success());
}

#[test]
fn a_plugin_that_is_still_being_written_is_waited_for() {
    let site = site("hello=auth_type=none");
    let pserve = site.start_dev();
    let mut library = fs::read(site.path(HELLO)).unwrap();
    library.push(b'x');
    // As a slow linker does it: in place, with pauses.
    let mut file = fs::File::create(site.path(HELLO)).unwrap();
    for piece in library.chunks(library.len() / 12) {
        file.write_all(piece).unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    drop(file);
    pserve.wait_for_output("libhello.so changed: reloaded hello (");
    assert!(!pserve.output().contains("not reloaded"), "{}", pserve.output());
    assert!(!pserve.log().contains("ERROR"), "{}", pserve.log());
}

#[test]
fn what_is_broken_is_refused_and_the_old_one_serves() {
    let site = site("hello=auth_type=none");
    let pserve = site.start_dev();
    let library = fs::read(site.path(HELLO)).unwrap();
    fs::write(site.path(HELLO), &library[..library.len() / 2]).unwrap();
    pserve.wait_for_output("libhello.so changed: not reloaded, what was loaded goes on serving (");
    pserve.wait_for_output("  libhello.so: ");
    let client = pserve.client();
    client.get("/hello").expect(200);
    fs::write(site.path(HELLO), &library).unwrap();
    pserve.wait_for_output("libhello.so changed: nothing to reload (");

    // Its line still wants it.
    fs::remove_file(site.path(HELLO)).unwrap();
    pserve.wait_for_output("libhello.so was removed: not reloaded, what was loaded goes on serving (");
    client.get("/hello").expect(200);
}

#[test]
fn plugins_that_come_and_go_are_loaded_and_unloaded() {
    let site = site("");
    let pserve = site.start_dev();
    let client = pserve.client();
    fs::remove_file(site.path(HELLO)).unwrap();
    pserve.wait_for_output("libhello.so was removed: unloaded hello (");
    client.get("/hello").expect(404);
    site.plugin("libhello.so");
    pserve.wait_for_output("libhello.so is new: loaded hello (");
    client.get("/hello").expect(200);
}

#[test]
fn the_ini_file_and_the_json_files_that_it_names_are_watched() {
    let site = site("hello=json=hello.json");
    site.write("hello.json", r#"{ "auth_type": "none" }"#);
    let pserve = site.start_dev();
    let client = pserve.client();
    site.write("hello.json", r#"{ "route_path": "/greet" }"#);
    pserve.wait_for_output("hello.json changed: reloaded hello (");
    client.get("/greet").expect(200);
    site.write("hello.json", r#"{ "route_path": "#);
    pserve.wait_for_output("hello.json changed: not reloaded");
    client.get("/greet").expect(200);
    site.write("hello.json", r#"{ "route_path": "/greet", "auth_type": "none" }"#);
    pserve.wait_for_output("hello.json changed: reloaded hello (");

    // A line that comes with a file which is corrected later.
    site.write("more.json", r#"{ "route_path": "#);
    site.ini("[plugin_parms]\nhello=json=hello.json\nmore=json=more.json&plugin=hello");
    pserve.wait_for_output("pserve.ini changed: nothing to reload (");
    pserve.wait_for_output("  failed: more: ");
    site.write("more.json", "{}");
    pserve.wait_for_output("more.json changed: loaded more (");
    assert_eq!(client.get("/more").expect(200).text, "hello from more\n");
    site.ini("[plugin_parms]\nhello=json=hello.json\n[netwrk]\nport=1");
    pserve.wait_for_output("pserve.ini changed: not reloaded");
    pserve.wait_for_output("did you mean [network]?");
    client.get("/more").expect(200);
}
