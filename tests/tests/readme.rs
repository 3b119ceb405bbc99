//! README's commands and the shipped configuration, as they stand.

use std::process::Command;

use e2e::pserve::Site;

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
    let environment = [("MONGODB_HOST", "127.0.0.1:1"), ("MONGODB_PASSWORD", "p:w/@%")];
    let pserve = site.try_start_with(&environment).unwrap();
    pserve.client().get("/readyz").expect(503);
    let answer = pserve.client().send("POST", "/sessman/new", "").expect(503);
    assert!(answer.header("retry-after").is_some());
    assert!(!pserve.log().contains("p:w/@%"), "{}", pserve.log());
}
