//! Reload, load and unload while the host serves.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use e2e::http::{Answer, Client};
use e2e::on_every_store;
use e2e::pserve::{Pserve, Site, eventually, overwrite_in_place};
use e2e::store::Store;
use rustix::process::Signal;
use serde_json::{Value, json};

const KEY: &str = "[auth]\napikey=k\n";

fn ini(parms: &str) -> String {
    format!("{KEY}[plugin_parms]\n{parms}\n")
}

fn keyed(pserve: &Pserve) -> Client {
    pserve.client().with("X-Custom-Auth", "k")
}

/// What `/plugins` says about an instance.
fn instance(client: &Client, name: &str) -> Value {
    let plugins = client.get("/plugins").expect(200).json();
    let mut instances = plugins["instances"].as_array().expect("instances").iter();
    instances.find(|instance| instance["name"] == name).cloned().unwrap_or_default()
}

/// The name of the cookie that a new session sets: it tells which configuration is in effect.
fn cookie(client: &Client) -> String {
    let created = client.post("/sessman/new", json!({ "user_id": "ann" })).expect(201);
    let cookie = created.header("set-cookie").expect("a cookie");
    cookie.split_once('=').expect("a cookie").0.to_owned()
}

fn named(config: &Value, cookie: &str) -> String {
    let mut config = config.clone();
    config["cookie"] = json!({ "name": cookie });
    config.to_string()
}

fn names(answer: &Answer, member: &str) -> Vec<String> {
    let list = answer.json()[member].as_array().cloned().unwrap_or_default();
    list.iter().map(|name| name.as_str().unwrap_or_default().to_owned()).collect()
}

on_every_store!(a_reload_takes_the_new_configuration_and_keeps_the_sessions);

fn a_reload_takes_the_new_configuration_and_keeps_the_sessions(store: Store, config: Value) {
    let site = Site::new();
    let write = |cookie: &str| site.write("sessman.json", named(&config, cookie));
    write("c1");
    site.ini(&ini("sessman=json=sessman.json"));
    let pserve = site.start();
    let client = keyed(&pserve);
    let id = client.post("/sessman/new", json!({ "data": { "a": 1 } })).expect(201).member("session_id");
    write("c2");
    assert_eq!(cookie(&client), "c1");
    let report = client.post("/reload/sessman", json!({})).expect(200);
    assert_eq!(names(&report, "reloaded"), ["sessman"]);
    assert_eq!(cookie(&client), "c2");
    write("c3");
    client.post("/reload/all", json!({})).expect(200);
    assert_eq!(cookie(&client), "c3");
    let unchanged = client.post("/reload/all", json!({})).expect(200);
    assert_eq!((names(&unchanged, "reloaded").len(), names(&unchanged, "kept")), (0, vec!["sessman".into()]));
    for (signal, name) in [(Signal::HUP, "c4"), (Signal::USR1, "c5")] {
        write(name);
        pserve.signal(signal);
        eventually("the reload by a signal", || cookie(&client) == name);
    }
    // Memory is the one store that a reload empties, as documented.
    let expected = if store == Store::Memory { 404 } else { 200 };
    let session = client.get(&format!("/sessman/get?token={id}")).expect(expected).json();
    assert!(store == Store::Memory || session["data"] == json!({ "a": 1 }), "{session}");
    assert!(pserve.stop().success());
}

#[test]
fn what_is_bad_leaves_the_running_one_in_place_and_says_why() {
    let site = Site::new();
    let good = r#"{ "cookie": { "name": "c1" } }"#;
    site.write("sessman.json", good);
    site.ini(&ini("sessman=json=sessman.json"));
    let pserve = site.start();
    let client = keyed(&pserve);
    let id = client.post("/sessman/new", json!({})).expect(201).member("session_id");
    let serves = || {
        client.get(&format!("/sessman/get?token={id}")).expect(200);
        assert_eq!(cookie(&client), "c1");
        client.get("/readyz").expect(200);
        assert_eq!(instance(&client, "sessman")["state"], "ready");
    };
    let refused = |said: &str| {
        for path in ["/reload/all", "/reload/sessman"] {
            let error = client.post(path, json!({})).expect(422).member("error");
            assert!(error.contains(said) && error.ends_with("nothing was changed"), "{path}: {error}");
            serves();
        }
    };
    site.write("sessman.json", r#"{ "session_ttl": "#);
    refused("sessman.json");
    site.write("sessman.json", r#"{ "sesion_ttl": 5 }"#);
    refused("session_ttl");
    site.write("sessman.json", r#"{ "path": "/nowhere/at/all.db" }"#);
    refused("/nowhere/at/all.db");
    site.write("sessman.json", good);
    site.ini(&format!("{}[netwrk]\nport=1\n", ini("sessman=json=sessman.json")));
    refused("did you mean [network]?");
    site.ini(&ini("sessman=json=sessman.json"));
    let file = site.path("plugins/libsessman_plugin.so");
    let library = fs::read(&file).unwrap();
    overwrite_in_place(&file, &library[..library.len() / 2]);
    refused("sessman");
    overwrite_in_place(&file, &library);
    client.post("/reload/all", json!({})).expect(200);
    serves();
}

#[test]
fn a_new_plugin_file_is_served_after_a_reload() {
    let site = Site::new();
    site.plugin("libhello.so");
    site.ini(&ini("sessman=backend=memory&auth_type=none\nhello=auth_type=none"));
    let pserve = site.start();
    let client = keyed(&pserve);
    client.get("/hello-v1").expect(404);
    let before = instance(&client, "hello");
    fs::remove_file(site.path("plugins/libhello.so")).unwrap();
    site.plugin("libhello_v1.so");
    site.ini(&ini("sessman=backend=memory&auth_type=none\nhello=auth_type=none&plugin=hello-v1"));
    client.post("/reload/hello", json!({})).expect(200);
    let after = instance(&client, "hello");
    assert_eq!((&before["plugin"], &after["plugin"]), (&json!("hello"), &json!("hello-v1")));
    assert_ne!(before["sha256"], after["sha256"]);
    assert_eq!(client.get("/hello/extension").expect(200).text, "none");
    let report = client.post("/reload/all", json!({})).expect(200);
    assert_eq!(names(&report, "kept"), ["hello", "sessman"]);
}

#[test]
fn instances_come_and_go_by_hand() {
    let site = Site::new();
    site.plugin("libhello.so");
    site.ini(&ini("sessman=backend=memory\nhello=auth_type=none"));
    let pserve = site.start();
    let client = keyed(&pserve);
    client.get("/hello").expect(200);
    assert_eq!(names(&client.post("/unload/hello", json!({})).expect(200), "unloaded"), ["hello"]);
    let gone = client.get("/hello").expect(503);
    assert!(gone.member("error").contains("unloaded"), "{gone:?}");
    client.get("/readyz").expect(200);
    assert_eq!(instance(&client, "hello")["state"], "unloaded");
    client.post("/unload/hello", json!({})).expect(409);
    client.post("/reload/hello", json!({})).expect(409);
    assert_eq!(names(&client.post("/load/hello", json!({})).expect(200), "loaded"), ["hello"]);
    client.post("/load/hello", json!({})).expect(409);
    client.get("/hello").expect(200);
    let unknown = client.post("/load/nobody", json!({})).expect(404).member("error");
    assert!(unknown.contains("hello") && unknown.contains("sessman"), "{unknown}");
    client.post("/unload/hello", json!({})).expect(200);
    site.plugin("libmisbehaves.so");
    client.post("/load/misbehaves", json!({})).expect(200);
    client.get("/misbehaves/fine").expect(200);
    client.get("/hello").expect(503);
    assert_eq!(names(&client.post("/reload/all", json!({})).expect(200), "loaded"), ["hello"]);
    client.get("/hello").expect(200);
}

#[test]
fn only_the_key_of_auth_changes_what_is_loaded() {
    let site = Site::new();
    site.ini("[plugin_parms]\nsessman=backend=memory&apikey=own");
    let without = site.start();
    without.client().post("/reload/all", json!({})).expect(403);
    drop(without);
    site.ini(&ini("sessman=backend=memory&auth_type=plugin&apikey=own"));
    let pserve = site.start();
    for path in ["/reload/all", "/reload/sessman", "/load/sessman", "/unload/sessman"] {
        pserve.client().post(path, json!({})).expect(401);
        pserve.client().with("X-Custom-Auth", "own").post(path, json!({})).expect(401);
        assert_eq!(keyed(&pserve).get(path).expect(405).header("allow"), Some("POST, OPTIONS"));
    }
    keyed(&pserve).post("/reload/all/more", json!({})).expect(404);
    keyed(&pserve).post("/reload/", json!({})).expect(404);
    assert_eq!(instance(&keyed(&pserve), "sessman")["state"], "ready");
}

#[test]
fn keys_and_limits_of_the_host_are_taken_over_without_touching_the_plugins() {
    let site = Site::new();
    site.ini("[auth]\napikey=list:old new\n[plugin_parms]\nsessman=backend=memory");
    let pserve = site.start();
    let (old, new) =
        (pserve.client().with("X-Custom-Auth", "old"), pserve.client().with("X-Custom-Auth", "new"));
    let id = old.post("/sessman/new", json!({})).expect(201).member("session_id");
    site.ini("[auth]\napikey=new\n[limits]\nmax_body=100\n[plugin_parms]\nsessman=backend=memory");
    assert_eq!(names(&old.post("/reload/all", json!({})).expect(200), "kept"), ["sessman"]);
    old.get(&format!("/sessman/get?token={id}")).expect(401);
    new.get(&format!("/sessman/get?token={id}")).expect(200);
    new.post("/sessman/new", json!({ "data": "x".repeat(200) })).expect(413);
}

/// The rotation of docs/operations.md, with its own lines, from the set-up of the systemd unit and the Compose files: the key is in
/// the environment.
#[test]
fn a_key_is_replaced_as_the_page_has_it() {
    const OLD: &str = "the-old-key-of-the-host";
    const NEW: &str = "the-new-key-of-the-host";
    let page = e2e::pages::read("docs/operations.md");
    let site = Site::new();
    fs::create_dir(site.path("keys")).unwrap();
    let folder = site.path("keys").display().to_string();
    let documented = |line: &str| {
        assert!(page.contains(line), "the page does not have {line:?}");
        line.replace("/etc/pserve/keys", &folder)
    };
    let both = documented("apikey = list:${FILE:/etc/pserve/keys/new} ${FILE:/etc/pserve/keys/current}");
    let one = documented("apikey = ${FILE:/etc/pserve/keys/current}");
    let ini = |line: &str| site.ini(&format!("[auth]\n{line}\n[plugin_parms]\nsessman=backend=memory"));
    let opens =
        |pserve: &Pserve, key: &str| pserve.client().with("X-Custom-Auth", key).get("/plugins").status == 200;
    let reload = |pserve: &Pserve, key: &str| {
        pserve.client().with("X-Custom-Auth", key).post("/reload/all", json!({})).expect(200);
    };
    let check = |environment: &[(&str, &str)]| {
        let mut command = std::process::Command::new(e2e::artifacts().join("pserve"));
        command.args(["check", "-i"]).arg(site.path("pserve.ini")).envs(environment.iter().copied());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    const TOLD: &str =
        "[auth] apikey: this line counts for nothing: the environment variable PSERVE_AUTH_APIKEY";

    // The key is withdrawn in the file alone: it still counts, and everybody is told.
    site.write("keys/new", format!("{NEW}\n"));
    site.write("keys/current", format!("{NEW}\n"));
    ini(&one);
    let variable = [("PSERVE_AUTH_APIKEY", OLD)];
    let pserve = site.try_start_with(&variable).unwrap();
    assert!(opens(&pserve, OLD) && !opens(&pserve, NEW));
    assert_eq!(pserve.log().matches(TOLD).count(), 1, "{}", pserve.log());
    for times in 2..4 {
        reload(&pserve, OLD);
        assert_eq!(pserve.log().matches(TOLD).count(), times, "{}", pserve.log());
    }
    assert!(check(&variable).contains(TOLD));
    assert!(!check(&[]).contains("counts for nothing"));
    assert!(!pserve.log().contains(OLD) && !pserve.log().contains(NEW));
    drop(pserve);

    // Step 1: the files, and a start without the variable.
    site.write("keys/current", format!("{OLD}\n"));
    ini(&both);
    let pserve = site.start();
    assert!(opens(&pserve, OLD) && opens(&pserve, NEW));
    assert_eq!(pserve.log().matches(TOLD).count(), 3, "those of before: {}", pserve.log());
    // Step 2, by a reload.
    site.write("keys/current", format!("{NEW}\n"));
    ini(&one);
    reload(&pserve, NEW);
    assert!(!opens(&pserve, OLD) && opens(&pserve, NEW));
    // From then on the file alone is changed.
    site.write("keys/current", "another-key-of-the-host\n");
    reload(&pserve, NEW);
    assert!(!opens(&pserve, NEW) && opens(&pserve, "another-key-of-the-host"));
    // A file that is gone refuses the reload, and the key goes on.
    fs::remove_file(site.path("keys/current")).unwrap();
    let keyed = pserve.client().with("X-Custom-Auth", "another-key-of-the-host");
    let refused = keyed.post("/reload/all", json!({})).expect(422);
    assert!(refused.member("error").contains("keys/current cannot be read"), "{refused:?}");
    keyed.get("/plugins").expect(200);
}

#[test]
fn an_instance_that_does_not_come_to_rest_is_not_replaced() {
    let site = Site::new();
    site.plugin("libmisbehaves.so");
    site.ini(&format!(
        "[limits]\nrequest_timeout=6\nshutdown_grace=1\n{}",
        ini("sessman=backend=memory\nmisbehaves=auth_type=none")
    ));
    let pserve = site.start();
    let client = keyed(&pserve);
    thread::scope(|scope| {
        let never = scope.spawn(|| client.get("/misbehaves/never"));
        eventually("a request under way", || instance(&client, "misbehaves")["requests"] == 1);
        let error = client.post("/reload/misbehaves", json!({})).expect(409).member("error");
        assert!(error.contains("misbehaves still answered requests"), "{error}");
        client.get("/misbehaves/fine").expect(200);
        never.join().unwrap().expect(504);
    });
    client.post("/reload/misbehaves", json!({})).expect(200);
    client.get("/misbehaves/fine").expect(200);
}

#[test]
fn an_instance_that_could_not_be_activated_is_tried_again() {
    let site = Site::new();
    fs::create_dir(site.path("state")).unwrap();
    site.write("state/blocked", "a file where a folder should be");
    site.ini(&ini("sessman=path=blocked/sessions.db"));
    let pserve = site.start();
    let client = keyed(&pserve);
    client.post("/sessman/new", json!({})).expect(503);
    client.get("/readyz").expect(503);
    let state = instance(&client, "sessman");
    assert!(state["state"] == "failed" && state["reason"].is_string(), "{state}");
    fs::remove_file(site.path("state/blocked")).unwrap();
    fs::create_dir(site.path("state/blocked")).unwrap();
    eventually("ready", || client.get("/readyz").status == 200);
    client.post("/sessman/new", json!({})).expect(201);
}

#[test]
fn no_request_fails_while_instances_are_replaced() {
    let site = Site::new();
    let write = |cookie: &str| site.write("sessman.json", named(&json!({}), cookie));
    write("c0");
    site.ini(&ini("sessman=json=sessman.json"));
    let pserve = site.start();
    let client = keyed(&pserve);
    let id = client.post("/sessman/new", json!({})).expect(201).member("session_id");
    let (is_done, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        for worker in 0..4 {
            let (client, id, is_done, answered) = (&client, &id, &is_done, &answered);
            scope.spawn(move || {
                while !is_done.load(Ordering::Relaxed) {
                    match worker {
                        0 => client.post("/sessman/new", json!({})).expect(201),
                        1 => client.post("/sessman/touch", json!({ "token": id })).expect(200),
                        _ => client.get(&format!("/sessman/get?token={id}")).expect(200),
                    };
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for name in (1..=10).map(|number| format!("c{number}")) {
            write(&name);
            let before = answered.load(Ordering::Relaxed);
            client.post("/reload/sessman", json!({})).expect(200);
            assert_eq!(cookie(&client), name);
            eventually("requests", || answered.load(Ordering::Relaxed) > before + 10);
        }
        is_done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_plugin_file_is_the_one_that_was_pinned_and_nobody_else_may_write_to_it() {
    use std::os::unix::fs::PermissionsExt;

    let site = Site::new();
    site.plugin("libhello.so");
    site.ini(&ini("sessman=backend=memory\nhello=auth_type=none"));
    let sha256 = {
        let pserve = site.start();
        instance(&keyed(&pserve), "hello")["sha256"].as_str().unwrap().to_owned()
    };
    let other = "0".repeat(64);
    site.ini(&ini(&format!("sessman=backend=memory\nhello=auth_type=none&sha256={other}")));
    let pserve = site.start();
    pserve.client().get("/hello").expect(503);
    pserve.wait_for_log(&format!("has sha256 {sha256}, but its line in [plugin_parms] asks for {other}"));
    site.ini(&ini(&format!("hello=auth_type=none&sha256={sha256}")));
    let failed = keyed(&pserve).post("/reload/all", json!({})).expect(422).member("error");
    assert!(failed.contains("libsessman_plugin.so: not opened"), "{failed}");
    drop(pserve);
    let pserve = site.start();
    pserve.client().get("/hello").expect(200);
    pserve.client().post("/sessman/new", json!({})).expect(404);
    drop(pserve);

    site.ini(&ini("sessman=backend=memory\nhello=auth_type=none"));
    let file = site.path("plugins/libhello.so");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o646)).unwrap();
    let pserve = site.start();
    pserve.client().get("/hello").expect(503);
    pserve.wait_for_log("everybody may write to it");
    keyed(&pserve).post("/sessman/new", json!({})).expect(201);
    drop(pserve);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(site.path("plugins"), fs::Permissions::from_mode(0o777)).unwrap();
    let Err(log) = site.try_start() else { panic!("plugins from a folder that everybody may write to") };
    assert!(log.contains("plugins") && log.contains("everybody may write to it"), "{log}");
}

#[test]
fn a_guarded_plugin_is_for_those_who_are_logged_in() {
    let site = Site::new();
    site.plugin("libhello.so");
    site.ini(&ini("sessman=backend=memory\nhello=auth_type=session"));
    let pserve = site.start();
    let id =
        keyed(&pserve).post("/sessman/new", json!({ "user_id": "ann" })).expect(201).member("session_id");
    let anonymous = keyed(&pserve).post("/sessman/new", json!({})).expect(201).member("session_id");
    keyed(&pserve).get("/hello").expect(401);
    pserve.client().with("X-Session-User", "ann").with("X-Session-Handle", "h").get("/hello").expect(401);
    pserve.client().with("X-Session-Id", &anonymous).get("/hello").expect(401);
    pserve.client().get(&format!("/hello?session_id={id}")).expect(401);
    let by_header = pserve.client().with("X-Session-Id", &id).with("X-Session-User", "bob");
    assert_eq!(by_header.get("/hello").expect(200).text, "hello from hello to ann\n");
    let by_cookie = pserve.client().with("Cookie", &format!("PS_SESSID={id}"));
    assert_eq!(by_cookie.get("/hello").expect(200).text, "hello from hello to ann\n");
    keyed(&pserve).post("/reload/sessman", json!({})).expect(200);
    by_header.get("/hello").expect(401);
    keyed(&pserve).post("/unload/sessman", json!({})).expect(422);
    drop(pserve);

    for (parms, status) in [
        ("sessman=backend=memory&auth_type=none", 503),
        ("sessman=backend=memory&auth_type=none&allow_open_login=true", 401),
    ] {
        site.ini(&format!("[plugin_parms]\n{parms}\nhello=auth_type=session"));
        let pserve = site.start();
        pserve.client().get("/hello").expect(status);
        pserve.client().post("/sessman/new", json!({ "user_id": "ann" })).expect(201);
    }
}
