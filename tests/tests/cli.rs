//! The commands beside serving, with the real program.

use std::fs;
use std::process::{Command, Output};

use e2e::pserve::Site;
use serde_json::Value;

fn pserve(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new(e2e::artifacts().join("pserve"));
    command.arg("-i").arg(site.path("pserve.ini")).args(arguments).env_remove("MONGODB_URI");
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

fn good() -> Site {
    let site = Site::new();
    site.plugin("libhello.so");
    site.sessman("{}");
    site
}

#[test]
fn check_finds_nothing_wrong_with_a_good_configuration_and_touches_nothing() {
    let site = good();
    let checked = pserve(&site, &["check"]);
    assert!(checked.status.success(), "{}", text(&checked));
    assert!(text(&checked).contains("good; instances: hello, sessman"), "{}", text(&checked));
    assert!(!site.path("state").exists(), "no folder, no lock, no store");
    let checked = pserve(&site, &["check", "--json"]);
    assert_eq!(json(&checked)["ok"], true);
    // Beside a host that holds the store's lock, too.
    let _running = site.start();
    assert!(pserve(&site, &["check"]).status.success());
}

#[test]
fn check_tells_everything_that_is_wrong_at_once_and_no_secret() {
    let site = good();
    site.plugin("libmisbehaves.so");
    site.write("sessman.json", r#"{ "sesion_ttl": 5, "password": "hunter2" }"#);
    site.write("plugins/broken.so", "not a library");
    site.ini(
        "[network]\nport=0\nbindto=0.0.0.0\n[plugin_parms]\nsessman=json=sessman.json\nghost=plugin=helo\n\
         lost=json=nowhere.json\nmisbehaves=do=abort-in-prepare&password=hunter2",
    );
    let checked = pserve(&site, &["check", "--json"]);
    assert_eq!(checked.status.code(), Some(1));
    let problems = json(&checked)["problems"].clone();
    let problems: Vec<&str> =
        problems.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    for said in
        ["session_ttl", "broken.so", "did you mean `hello`?", "nowhere.json", "signal", "auth_type=none"]
    {
        assert!(problems.iter().any(|problem| problem.contains(said)), "{said}: {problems:#?}");
    }
    // The line of the plugin that died is told about, too.
    assert_eq!(problems.len(), 7, "{problems:#?}");
    assert!(!text(&checked).contains("hunter2"));
    assert!(!site.path("state").exists());

    site.ini("[netwrok]\nport=1\n[limits]\nmax_body=lots\n[auth]\napikye=hunter2\n[plugin_parms]\nlost=json=nowhere.json");
    let checked = pserve(&site, &["check"]);
    assert_eq!(checked.status.code(), Some(1));
    for said in ["[netwrok]", "pserve.ini:", "max_body", "`apikey`", "nowhere.json", "not tried"] {
        assert!(text(&checked).contains(said), "{said}: {}", text(&checked));
    }
    assert!(!text(&checked).contains("hunter2"));
    fs::remove_file(site.path("pserve.ini")).unwrap();
    let checked = pserve(&site, &["check"]);
    assert!(checked.status.code() == Some(1) && text(&checked).contains("cannot read"), "{}", text(&checked));
}

#[test]
fn plugins_lists_what_the_files_come_to() {
    let site = good();
    site.ini("[plugin_parms]\nsessman=json=sessman.json\nhi=plugin=hello\nghost=plugin=helo");
    let listed = pserve(&site, &["plugins"]);
    assert!(listed.status.success(), "{}", text(&listed));
    let table = text(&listed);
    let row =
        |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{table}"));
    let words: Vec<&str> = row("hi ").split_whitespace().collect();
    let [_, plugin, _version, abi, sha256, state] = words[..] else { panic!("{table}") };
    assert_eq!((plugin, abi, sha256.len(), state), ("hello", "1.0.0", 12, "loadable"));
    assert!(row("ghost").ends_with("failed") && table.contains("did you mean `hello`?"), "{table}");
    assert!(
        table.contains("  /hi (GET, public)") && table.contains("  /sessman/new (POST, service)"),
        "{table}"
    );

    let listed = json(&pserve(&site, &["plugins", "--json"]));
    let found = listed["instances"].as_array().unwrap().iter().find(|found| found["name"] == "hi").unwrap();
    assert!(found["sha256"].as_str().unwrap().starts_with(sha256));
    assert_eq!((&found["state"], &found["routes"][0]["path"]), (&"loadable".into(), &"/hi".into()));
    assert!(!site.path("state").exists());

    site.ini("[netwrok]\nport=1");
    let listed = pserve(&site, &["plugins"]);
    assert!(listed.status.code() == Some(1) && text(&listed).contains("[netwrok]"), "{}", text(&listed));
}

#[test]
fn plugins_says_session_of_each_route_behind_a_guard() {
    let site = good();
    site.ini(
        "[auth]\napikey=a-key-for-the-guard\n[plugin_parms]\nsessman=json=sessman.json\n\
         hi=plugin=hello&auth_type=none\nguarded=plugin=hello&auth_type=session",
    );
    let table = text(&pserve(&site, &["plugins"]));
    for line in [
        "  /hi (GET, public)",
        "  /guarded (GET, session)",
        "  /sessman/get (GET POST, session)",
        "  /sessman/verify (GET *, forward-auth)",
        "  /sessman/stats (GET, admin)",
    ] {
        assert!(table.lines().any(|found| found == line), "{line}\n{table}");
    }
    let listed = json(&pserve(&site, &["plugins", "--json"]));
    let found =
        listed["instances"].as_array().unwrap().iter().find(|found| found["name"] == "guarded").unwrap();
    let classes: Vec<&Value> =
        found["routes"].as_array().unwrap().iter().map(|route| &route["class"]).collect();
    assert!(found["access"] == "session" && classes.iter().all(|class| *class == "session"), "{found:#}");
}

#[test]
fn healthcheck_tells_ready_from_live_from_gone() {
    let site = good();
    let refused = pserve(&site, &["healthcheck"]);
    assert!(refused.status.code() == Some(1) && text(&refused).contains("--address"), "{}", text(&refused));
    let running = site.start();
    let address = running.address().to_owned();
    let ask = |arguments: &[&str]| pserve(&site, &[&["healthcheck", "--timeout", "60"], arguments].concat());
    assert!(ask(&["--address", &address]).status.success());
    // The configured address, as a container asks.
    let port = address.rsplit(':').next().unwrap();
    site.ini(&format!("[network]\nbindto=0.0.0.0\nport={port}\n[auth]\napikey=k"));
    let ready = ask(&[]);
    assert!(ready.status.success() && text(&ready).contains("ready"), "{}", text(&ready));

    drop(running);
    let gone = ask(&[]);
    assert!(gone.status.code() == Some(1) && text(&gone).contains("no answer"), "{}", text(&gone));

    site.sessman(r#"{ "sesion_ttl": 5 }"#);
    let running = site.start();
    let not_ready = ask(&["--address", running.address()]);
    assert!(not_ready.status.code() == Some(1) && text(&not_ready).contains("503"), "{}", text(&not_ready));
    assert!(ask(&["--live", "--address", running.address()]).status.success());
}

#[test]
fn help_names_every_command_with_examples() {
    let site = good();
    let help = text(&pserve(&site, &["--help"]));
    for word in
        ["check", "plugins", "healthcheck", "Examples:", "PSERVE_NETWORK_PORT", "SIGHUP", "--ini-file"]
    {
        assert!(help.contains(word), "{word}: {help}");
    }
    assert!(
        help.contains("network, ssl, paths, auth, cors, proxy, limits, log, file_server, plugin_parms."),
        "{help}"
    );
    assert!(!help.contains("probe"), "{help}");
    for command in ["check", "plugins", "healthcheck"] {
        let help = text(&pserve(&site, &[command, "--help"]));
        assert!(help.contains("Examples:") && help.contains("Exit codes: 0"), "{help}");
    }
}
