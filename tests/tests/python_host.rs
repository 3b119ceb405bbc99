//! The configuration files of the Python host, in the forms that its pages show (`tests/fixtures/python-host`), as they stand.

use std::fs;
use std::process::{Command, Output};

use e2e::http::Client;
use e2e::ports;
use e2e::pserve::{Pserve, Site};
use e2e::reference::root;
use e2e::tls::{curl, make_pair};
use serde_json::{Value, json};

const KEY: &str = "a-key-of-the-whole-host";

/// A file as it stands, but for ports: other servers of this machine may have them.
fn form(name: &str, port: u16) -> String {
    let text = fs::read_to_string(root().join("tests/fixtures/python-host").join(name)).unwrap();
    // No MongoDB is meant to be found.
    text.replace("9192", &port.to_string()).replace("127.0.0.1:27017", "127.0.0.1:1")
}

fn check(site: &Site, home: &str) -> (bool, String) {
    let mut command = Command::new(e2e::artifacts().join("pserve"));
    command.arg("-i").arg(site.path("pserve.ini")).args(["check", "--json"]).env("HOME", home);
    let Output { stdout, .. } = command.output().unwrap();
    let found: Value = serde_json::from_slice(&stdout).unwrap();
    (found["ok"] == true, found["warnings"].to_string())
}

/// A site whose files are below a HOME of its own, as `documented.ini` has them.
fn documented(port: u16, sessman: &str) -> (Site, String) {
    let site = Site::new();
    site.plugin("libfiles.so");
    for folder in ["etc", "etc/certs", "apidocs"] {
        fs::create_dir(site.path(folder)).unwrap();
    }
    fs::rename(site.path("plugins"), site.path("etc/plugins")).unwrap();
    make_pair(&site, "own");
    fs::rename(site.path("own.key"), site.path("etc/certs/example.org-key.pem")).unwrap();
    fs::rename(site.path("own.pem"), site.path("etc/certs/example.org.pem")).unwrap();
    site.write("apidocs/app.html", "<h1>The application</h1>\n");
    site.write("apidocs/style.css", "h1 { color: green }\n");
    site.write("pserve.ini", form("documented.ini", port));
    site.write("sessman.json", sessman);
    let home = site.path("").display().to_string();
    (site, home)
}

#[test]
fn the_documented_file_serves_tls_documents_sessions_and_cors() {
    let port = ports::free();
    let (site, home) = documented(port, &form("sessman-sqlite.json", port));
    let _pserve = site.try_start_with(&[("HOME", &home)]).unwrap();
    let certificate = site.path("etc/certs/example.org.pem");
    let ask = |arguments: &[&str], path: &str| {
        let url = format!("https://127.0.0.1:{port}{path}");
        let output = curl(&certificate, &[arguments, &["-i", &url]].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for path in ["/html/", "/html/app.html"] {
        let page = ask(&[], path);
        assert!(page.contains(" 200") && page.ends_with("\r\n\r\n<h1>The application</h1>\n"), "{page}");
        assert!(page.contains("content-type: text/html; charset=utf-8\r\n"), "{page}");
    }
    assert!(ask(&[], "/html").contains("location: ./html/\r\n"));
    assert!(ask(&[], "/html/style.css").contains("content-type: text/css"));
    // A plugin that is not installed has no routes, and the others serve.
    assert!(ask(&["-H", &format!("X-Custom-Auth: {KEY}")], "/systeminfo").contains(" 404"));
    assert!(ask(&[], "/readyz").contains(" 200"));

    let key = format!("Authorization: Bearer {KEY}");
    let body = ["-X", "POST", "-d", r#"{"user": "ada", "data": {"a": 1}}"#];
    assert!(ask(&body, "/sessman/new").contains(" 401"));
    let origin = ["-H", "Origin: https://two.example.org"];
    let made = ask(&[&body[..], &["-H", &key], &origin].concat(), "/sessman/new");
    assert!(made.contains(" 201") && made.contains("session_id"), "{made}");
    assert!(made.contains("access-control-allow-origin: https://two.example.org\r\n"), "{made}");
    let stranger = ask(&["-H", &key, "-H", "Origin: https://three.example.org"], "/sessman/stats");
    assert!(!stranger.contains("access-control-allow-origin"), "{stranger}");
    assert!(site.path("state/sessions.db").exists());
    assert!(check(&site, &home).1.contains("no plugin called `systeminfo` is loaded"));
    assert!(check(&site, &home).0, "{:?}", check(&site, &home));
}

#[test]
fn the_documented_file_with_mongodb_starts_without_one() {
    let port = ports::free();
    let (site, home) = documented(port, &form("sessman.json", port));
    let pserve = site.try_start_with(&[("HOME", &home)]).unwrap();
    let url = format!("https://127.0.0.1:{port}/sessman/new");
    let key = format!("X-Custom-Auth: {KEY}");
    let asked = ["-i", "-X", "POST", "-H", &key, "-d", "{}", &url];
    let answer = String::from_utf8(curl(&site.path("etc/certs/example.org.pem"), &asked).stdout).unwrap();
    assert!(answer.contains(" 503") && answer.contains("retry-after"), "{answer}");
    assert!(!pserve.log().contains("with % and $"));
}

#[test]
fn the_file_of_the_examples_serves_what_is_there() {
    let port = ports::free();
    let site = Site::new();
    site.plugin("libfiles.so");
    site.write("pserve.ini", form("examples.ini", port));
    site.write("sessman.json", form("sessman-sqlite.json", port));
    let pserve = site.start();
    assert!(pserve.address().ends_with(&format!(":{port}")));
    let client = pserve.client();
    let keyed = client.with("X-Custom-Auth", KEY);
    for path in ["/network", "/network/x", "/cpuinfo", "/diskinfo", "/files/", "/html/"] {
        keyed.get(path).expect(404);
    }
    for name in ["ifinfo.py", "cpuinfo", "diskinfo"] {
        pserve.wait_for_log(&format!("name=\"{name}\""));
    }
    client.post("/sessman/new", json!({ "user": "ada" })).expect(401);
    let made = keyed.with("Origin", "https://one.example.org").post("/sessman/new", json!({})).expect(201);
    assert_eq!(made.header("access-control-allow-origin"), Some("https://one.example.org"));
    assert!(site.path("state/sessions.db").exists());
    client.get("/readyz").expect(200);
    let missing = keyed.get("/plugins").json()["failures"].clone();
    assert_eq!(
        (&missing[0]["state"], missing.as_array().unwrap().len()),
        (&"missing".into(), 3),
        "{missing}"
    );
    let (is_good, warnings) = check(&site, "/");
    assert!(is_good && warnings.contains("[file_server] common_log: it has no effect"), "{warnings}");
}

#[test]
fn the_options_of_the_command_line_are_a_log_file_and_a_level() {
    let site = Site::new();
    let log = site.path("own.log");
    let mut command = Command::new(e2e::artifacts().join("pserve"));
    command.args(["-i", "pserve.ini", "-l", "own.log", "-v", "INFO"]).current_dir(site.path(""));
    let pserve = Pserve::spawn(command, site.path("stderr.log")).unwrap();
    let read = || fs::read_to_string(&log).unwrap();
    assert!(read().contains("listening on") && !read().contains("DEBUG"), "{}", read());
    assert_eq!(pserve.log(), "");
    drop(pserve);
    let mut command = Command::new(e2e::artifacts().join("pserve"));
    command.args(["-l", "warn"]).current_dir(site.path(""));
    let refused = Pserve::spawn(command, site.path("stderr.log")).err().unwrap();
    assert!(refused.contains("the level is `-v warn`") && !site.path("warn").exists(), "{refused}");
}

#[test]
fn a_misspelt_section_with_a_key_does_not_start_a_host_without_it() {
    for (section, said) in
        [("auht", "did you mean [auth]?"), ("security", "`apikey` in it is a key of [auth]")]
    {
        let site = Site::new();
        site.ini(&format!("[{section}]\napikey=hunter2hunter2"));
        let log = site.try_start().err().expect("it refuses to start");
        assert!(log.contains(&format!("[{section}]")) && log.contains(said), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
        assert!(!check(&site, "/").0);
    }
    // Nor does a line whose plugin is nearly one that is there: that would be without its key.
    let site = Site::new();
    site.ini("[plugin_parms]\nsesman=apikey=hunter2hunter2");
    let pserve = site.start();
    pserve.client().get("/readyz").expect(503);
    pserve.client().get("/sesman/get").expect(503);
    pserve.wait_for_log("did you mean `sessman`?");
}

#[test]
fn a_section_with_the_name_of_a_plugin_is_the_line_of_its_instance() {
    let site = Site::new();
    site.ini("[sessman]\nbackend=memory\napikey=key-of-the-section\n[spare]\na=1");
    let pserve = site.start();
    pserve.wait_for_log("nothing refers to section [spare]");
    let client = pserve.client();
    client.post("/sessman/new", json!({})).expect(401);
    client.with("X-Custom-Auth", "key-of-the-section").post("/sessman/new", json!({})).expect(201);
    assert!(!site.path("state/sessman.db").exists());
    assert!(check(&site, "/").1.contains("section [spare]"));
}

#[test]
fn documents_without_the_plugin_are_warned_of() {
    let site = Site::new();
    site.ini("documents=html:apidocs");
    let pserve = site.start();
    pserve.wait_for_log("no documents are served");
    let client: Client = pserve.client();
    client.get("/html/").expect(404);
    client.get("/readyz").expect(200);
    let (is_good, warnings) = check(&site, "/");
    assert!(is_good && warnings.contains("libfiles.so"), "{warnings}");
}
