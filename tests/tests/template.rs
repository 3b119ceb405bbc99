//! The way of a plugin's author: what docs/plugins.md says, from the template to a plugin that answers.

use std::fs;
use std::path::Path;
use std::process::Command;

use e2e::artifacts;
use e2e::pserve::{Pserve, Site};
use serde_json::json;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn guide() -> String {
    fs::read_to_string(format!("{ROOT}/docs/plugins.md")).unwrap()
}

/// The blocks of the guide in this language, which is given with its line break.
fn blocks<'a>(guide: &'a str, language: &str) -> Vec<&'a str> {
    // Every second piece is a block, and begins with its language.
    guide.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix(language)).collect()
}

fn cargo(folder: impl AsRef<Path>, arguments: &[&str]) {
    let mut cargo = Command::new(env!("CARGO"));
    // The target folder of this workspace: what a plugin needs is built there already.
    let target = std::path::absolute(artifacts().parent().unwrap()).unwrap();
    cargo
        .args(arguments)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_NET_OFFLINE", "true");
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{cargo:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_plugin_from_the_template_is_tested_built_and_served_as_the_guide_says() {
    let site = Site::new();
    let folder = site.path("greeter");
    let guide = guide();
    let commands: Vec<&str> = blocks(&guide, "sh\n").into_iter().flat_map(str::lines).collect();
    assert_eq!(commands[..2], ["cargo xtask new ../greeter", "cargo xtask run --plugin ../greeter -- dev"]);
    cargo(ROOT, &["xtask", "new", folder.to_str().unwrap()]);
    cargo(&folder, &["fmt", "--check"]);
    cargo(&folder, &["test", "--release"]);
    // What `run --plugin` does before it starts pserve.
    cargo(&folder, &["build", "--release"]);
    site.plugin("libgreeter.so");

    site.ini("[auth]\napikey=k\n[plugin_parms]\nsessman=backend=memory\ngreeter=auth_type=global");
    let pserve = site.start();
    let client = pserve.client();
    client.get("/readyz").expect(200);
    assert_eq!(client.get("/greeter").expect(200).text, "hello\n");
    client.get("/greeter/count").expect(401);
    let count = client.with("X-Custom-Auth", "k").get("/greeter/count").expect(200);
    assert_eq!(count.json(), json!({ "greeted": 1 }));
    assert!(pserve.stop().success());

    // The line of the guide.
    let ini = blocks(&guide, "ini\n").concat();
    site.ini(&ini);
    let pserve = site.start();
    assert_eq!(pserve.client().get("/greeter").expect(200).text, "Good morning\n".repeat(2));
    assert!(pserve.stop().success());

    edited_and_built_again(&site, &folder);

    site.ini(&ini.replace("greeting=", "greting="));
    let pserve = site.start();
    pserve.client().get("/greeter").expect(503);
    pserve.wait_for_log("did you mean `greeting`?");
}

/// With the project's own `pserve.ini`.
fn edited_and_built_again(site: &Site, folder: &Path) {
    let folder_of_cargo = folder.join("target/debug");
    fs::create_dir_all(&folder_of_cargo).unwrap();
    // The tests' cargo builds elsewhere.
    let place =
        || fs::copy(artifacts().join("libgreeter.so"), folder_of_cargo.join("libgreeter.so")).unwrap();
    place();
    let mut command = Command::new(artifacts().join("pserve"));
    command.arg("dev").current_dir(folder).env("PSERVE_NETWORK_PORT", "0");
    let pserve = Pserve::spawn(command, site.path("dev.log")).unwrap();
    assert_eq!(pserve.client().get("/greeter").expect(200).text, "hello\n");

    let file = folder.join("src/lib.rs");
    let source = fs::read_to_string(&file).unwrap();
    fs::write(file, source.replace("\"hello\".to_owned()", "\"good day\".to_owned()")).unwrap();
    cargo(folder, &["build", "--release"]);
    place();
    pserve.wait_for_output("pserve: target/debug/libgreeter.so changed: reloaded greeter (");
    assert_eq!(pserve.client().get("/greeter").expect(200).text, "good day\n");
    assert!(pserve.stop().success());
}

#[test]
fn the_code_in_the_guide_is_that_of_the_template() {
    let plain = |code: &str| code.split_whitespace().collect::<String>();
    let template = plain(&fs::read_to_string(format!("{ROOT}/templates/plugin/src/lib.rs")).unwrap());
    let guide = guide();
    let blocks = blocks(&guide, "rust\n");
    assert!(blocks.len() >= 3);
    for block in blocks {
        assert!(template.contains(&plain(block)), "not in the template: {block}");
    }
}

#[test]
fn a_plugin_is_not_made_where_something_is_or_under_a_name_that_is_none() {
    let site = Site::new();
    let refused = |folder: &str| {
        let output = Command::new(env!("CARGO"))
            .args(["xtask", "new", site.path(folder).to_str().unwrap()])
            .current_dir(ROOT)
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused("plugins").contains("could not make"));
    assert!(refused("Greeter").contains("no name for a plugin"));
    assert!(!site.path("Greeter").exists());
}
