//! README's commands and the shipped configuration, as they stand.

use std::process::Command;

use e2e::pserve::Site;
use e2e::sessctl;
use serde_json::json;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn read(file: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/{file}")).unwrap()
}

#[test]
fn the_commands_of_the_readme_work_with_the_shipped_configuration() {
    let site = Site::new();
    // The port is the one thing that must differ here.
    site.write("pserve.ini", read("config/pserve.ini").replace("port = 6123", "port = 0"));
    site.write("sessman.json", read("config/sessman.json"));
    let pserve = site.start();
    let readme = read("README.md");
    let blocks = readme.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let block = blocks.filter(|block| block.contains("curl")).collect::<String>();
    assert!(block.matches("curl").count() >= 10, "{block}");
    let mut commands = 0;
    let mut script = String::from("set -eu\n");
    for line in block.replace("localhost:6123", pserve.address()).lines() {
        let line = line.replace("curl ", "curl -sS --fail-with-body ");
        // Each answer on a line of its own.
        script.push_str(&if line.starts_with("curl") {
            format!("{line}; echo\n")
        } else {
            format!("{line}\n")
        });
        commands += usize::from(line.contains("curl"));
    }
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), commands - 1, "one answer a command but the one that keeps the id: {stdout}");
    assert!(lines.last().unwrap().contains("\"ended\":true"));
    assert!(lines.iter().any(|line| line.contains(r#""data":{"theme":"light"}"#)), "{stdout}");
}

#[test]
fn the_shipped_mongodb_configuration_is_accepted() {
    let site = Site::new();
    site.write("pserve.ini", read("config/pserve.ini").replace("port = 6123", "port = 0"));
    site.write("sessman.json", read("config/sessman.mongodb.json"));
    // Nothing listens there: the configuration is good, the store is away.
    let environment = [("MONGODB_URI", "127.0.0.1:1"), ("MONGODB_PASSWORD", "p:w/@%")];
    let pserve = site.try_start_with(&environment).unwrap();
    pserve.client().get("/readyz").expect(503);
    let answer = pserve.client().send("POST", "/sessman/new", "").expect(503);
    assert!(answer.header("retry-after").is_some());
    assert!(!pserve.log().contains("p:w/@%"), "{}", pserve.log());
}

#[test]
fn the_commands_of_the_page_about_sessctl_work() {
    let site = Site::new();
    site.sessman(r#"{ "admin_key": "the-admin-key" }"#);
    site.write("new.json", r#"{ "path": "new.db" }"#);
    site.write("other.json", r#"{ "path": "other.db" }"#);
    let pserve = site.start();
    let session = pserve.client().post("/sessman/new", json!({ "user_id": "eve" })).expect(201);
    let handle = session.member("handle");
    for _ in 0..3 {
        pserve.client().post("/sessman/new", json!({ "user_id": "ada" })).expect(201);
    }
    let page = read("docs/sessctl.md");
    let blocks: Vec<&str> =
        page.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    let named = |line: &str| line.split_whitespace().find(|word| !word.starts_with('-')).map(str::to_owned);
    let path = format!("{}:{}", e2e::artifacts().display(), std::env::var("PATH").unwrap());
    let mut commands = Vec::new();
    for block in &blocks {
        let output = Command::new("bash")
            .args(["-euc", block])
            .current_dir(site.path(""))
            .env("PATH", &path)
            .env("PSERVE_NETWORK_PORT", sessctl::port(&pserve))
            .env("HANDLE", &handle)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{block}\n{told}\n{}", String::from_utf8_lossy(&output.stderr));
        let lines = block.lines().filter_map(|line| line.strip_prefix("sessctl "));
        commands.extend(lines.filter_map(|line| named(line.trim_start_matches("--json-file new.json "))));
    }
    let help = sessctl::run(&site, &["--help"]).expect(0).out;
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    for line in listed.lines() {
        let name = line.split_whitespace().next().unwrap();
        assert!(name == "help" || commands.iter().any(|command| command == name), "{name} is not shown");
    }
}
