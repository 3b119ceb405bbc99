//! The shipped configuration, and every block of the README and the book: commands are run, configurations checked, and
//! what is neither says why.

use e2e::blocks::{self, Place};
use e2e::pages::{self, Page};
use e2e::promtool;
use e2e::pserve::Site;

/// Blocks that are marked as not run. One more is to be a decision: most can be.
const NOT_RUN: usize = 36;

fn page(path: &str) -> Page {
    Page { path: path.into(), text: pages::read(path) }
}

#[test]
fn the_commands_of_the_readme_work_with_the_shipped_configuration() {
    let readme = page("README.md");
    let (out, _) = Place::shipped().run(&readme);
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines.len() >= 9, "{out}");
    assert!(lines.last().unwrap().contains("\"ended\":true"));
    assert!(lines.iter().any(|line| line.contains(r#""data":{"theme":"light"}"#)), "{out}");
}

#[test]
fn the_shipped_mongodb_configuration_is_accepted() {
    let site = Site::new();
    site.write("pserve.ini", pages::read("config/pserve.ini").replace("port = 6123", "port = 0"));
    site.write("sessman.json", pages::read("config/sessman.mongodb.json"));
    // Nothing listens there: the configuration is good, the store is away.
    let environment = [("MONGODB_URI", "127.0.0.1:1"), ("MONGODB_PASSWORD", "p:w/@%")];
    let pserve = site.try_start_with(&environment).unwrap();
    pserve.client().get("/readyz").expect(503);
    let answer = pserve.client().send("POST", "/sessman/new", "").expect(503);
    assert!(answer.header("retry-after").is_some());
    assert!(!pserve.log().contains("p:w/@%"), "{}", pserve.log());
}

#[test]
fn the_commands_of_the_page_about_sessctl_work_and_show_every_command() {
    let sessctl = page("docs/sessctl.md");
    let place = Place::with_stores();
    place.run(&sessctl);
    let blocks = sessctl.blocks();
    let lines = blocks.iter().filter(|block| block.language == "sh").flat_map(|block| block.text.lines());
    let lines = lines.filter_map(|line| line.strip_prefix("sessctl "));
    let shown: Vec<&str> = lines
        .filter_map(|line| {
            let line = line.trim_start_matches("--json-file new.json ");
            line.split_whitespace().find(|word| !word.starts_with('-'))
        })
        .collect();
    let help = e2e::sessctl::run(&Site::new(), &["--help"]).expect(0).out;
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    for line in listed.lines() {
        let name = line.split_whitespace().next().unwrap();
        assert!(name == "help" || shown.contains(&name), "{name} is not shown");
    }
}

#[test]
fn the_commands_of_every_other_page_work() {
    let mut run = 0;
    for page in pages::all() {
        let place = match page.path.as_str() {
            "README.md" | "docs/sessctl.md" => continue,
            _ if !page.blocks().iter().any(|block| block.language == "sh" && block.not_run.is_none()) => {
                continue;
            }
            "docs/start.md" => Place::shipped(),
            _ => Place::with_keys(),
        };
        run += place.run(&page).1;
    }
    assert!(run >= 6, "{run} blocks were run");
}

#[test]
fn the_configurations_of_every_page_are_accepted() {
    let mut checked = 0;
    for page in pages::all() {
        let blocks = page.blocks();
        for block in blocks.iter().filter(|block| matches!(block.language, "ini" | "json")) {
            match block.not_run {
                // An answer, or what something else reads; it is JSON all the same.
                Some(_) if block.language == "json" => {
                    serde_json::from_str::<serde_json::Value>(&block.text)
                        .unwrap_or_else(|error| panic!("{}:{}: {error}", page.path, block.line));
                }
                Some(_) => {}
                None => {
                    let outcome = blocks::check(block);
                    outcome.unwrap_or_else(|said| panic!("{}:{}: {said}", page.path, block.line));
                    checked += 1;
                }
            }
        }
    }
    assert!(checked >= 8, "{checked} configurations were checked");
}

#[test]
fn what_prometheus_reads_is_accepted_by_its_own_tool() {
    let Some(promtool) = promtool::find() else {
        e2e::skip("what_prometheus_reads_is_accepted_by_its_own_tool", "promtool is not installed");
        return;
    };
    let mut configurations = 0;
    for page in pages::all() {
        for block in page.blocks().iter().filter(|block| block.language == "yaml" && block.not_run.is_none())
        {
            promtool::check(&promtool, "config", &block.text);
            configurations += 1;
        }
    }
    assert!(configurations > 0);
    promtool::check(&promtool, "rules", &pages::read("config/alerts.yml"));
}

#[test]
fn alerts_are_about_metrics_that_there_are_and_explained() {
    let place = Place::with_keys();
    let metrics = place.metrics();
    let described = pages::read("docs/http-api.md");
    let explained = pages::read("docs/operations.md");
    let rules = pages::read("config/alerts.yml");
    let mut known = 0;
    for word in rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
        if word.starts_with("pserve_") || word.starts_with("sessman_") || word.starts_with("process_") {
            let name = word.trim_end_matches("_bucket");
            // Those of a server are there where it is the store.
            let is_there =
                metrics.contains(&format!("# TYPE {name} ")) || described.contains(&format!("`{name}`"));
            assert!(is_there, "no metric {name}");
            known += 1;
        }
    }
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts = alerts.inspect(|alert| assert!(explained.contains(&format!("| `{alert}` |")), "{alert}"));
    assert!(alerts.count() >= 10 && known >= 10);
}

/// What the clients' own tests run: their READMEs and the examples.
const CLIENTS: [&str; 5] = [
    "clients/javascript/README.md",
    "clients/python/README.md",
    "examples/express-shop/server.mjs",
    "examples/sign-out-other-devices/sign_out.py",
    "examples/web-login/web_login.py",
];

#[test]
fn the_code_of_the_pages_is_that_of_the_clients() {
    let clients = CLIENTS.map(pages::read).join("\n");
    let known: Vec<&str> = clients.lines().map(str::trim).collect();
    let mut compared = 0;
    for page in pages::all() {
        for block in page.blocks() {
            // The Python of that page is a back end, which those of proxies have behind them.
            let is_back_end = block.language == "python" && page.path == "docs/network.md";
            if !matches!(block.language, "js" | "python") || is_back_end {
                continue;
            }
            for line in block.text.lines() {
                assert!(known.contains(&line.trim()), "{}:{}: no client has {line:?}", page.path, block.line);
                compared += 1;
            }
        }
    }
    assert!(compared > 20, "{compared} lines were compared");
}

#[test]
fn a_block_that_is_not_run_says_why_and_is_counted() {
    let mut not_run = Vec::new();
    for page in pages::all() {
        for block in page.blocks() {
            let place = format!("{}:{}", page.path, block.line);
            let is_known =
                matches!(block.language, "sh" | "ini" | "json" | "yaml" | "rust" | "python" | "js" | "text");
            // That page is made by a test.
            let is_known = is_known || (block.language == "http" && page.path == "docs/answers.md");
            assert!(is_known, "{place}: nothing runs `{}`", block.language);
            // What is shown as text is run by nothing either.
            assert!(block.language != "text" || block.not_run.is_some(), "{place}: say why it is not run");
            // Rust is compared with the template of a plugin, or the example of calls, which are built and served.
            let has_source = matches!(page.path.as_str(), "docs/plugins.md" | "docs/sessions-in-plugins.md");
            assert!(block.language != "rust" || has_source, "{place}: nothing runs it");
            // Python and JavaScript are compared with the clients: `the_code_of_the_pages_is_that_of_the_clients`.
            if let Some(reason) = block.not_run {
                assert!(reason.len() > 10, "{place}: {reason}");
                not_run.push(format!("{place}: {reason}"));
            }
        }
    }
    assert_eq!(not_run.len(), NOT_RUN, "{not_run:#?}");
}
