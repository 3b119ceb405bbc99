//! What `pserve check` expects, found out by writing what it does not.

use std::collections::HashMap;
use std::process::Command;

use serde_json::{Map, Value, json};

use super::keys::Key;
use crate::artifacts;
use crate::pserve::Site;

/// Above every bound.
const TOO_MUCH: u64 = 1_000_000_000_000_000_000;
/// A text that is nowhere one of those to choose from.
const NO_CHOICE: &str = "?";

/// What was said to each key, the first thing first.
pub(super) struct Expected(HashMap<(String, String), Vec<String>>);

impl Expected {
    /// Asks for every key.
    pub(super) fn ask(sections: &[(&'static str, Vec<Key>)], instance: &[Key], sessman: &[Key]) -> Self {
        let mut this = Self(HashMap::new());
        for wrong in ["x".to_owned(), TOO_MUCH.to_string()] {
            this.ask_host(sections, &wrong);
        }
        let not_text = |_: &Key| Some(json!({ "x": 1 }));
        let too_much = |key: &Key| match key.of.as_str() {
            // Already asked; a value of another type keeps all others from being looked at closer.
            "bool" | "u8" => None,
            "u64" | "usize" => Some(json!(TOO_MUCH)),
            _ if key.name == "cookie" => Some(json!(7)),
            // `backend` as well, so that each key of a store is said to belong to another one; that is passed over.
            _ => Some(json!(NO_CHOICE)),
        };
        this.ask_instance("plugin_parms", instance, &not_text);
        // Only the first of these is told of.
        for name in ["auth_type", "auth", "sha256"] {
            this.ask_instance("plugin_parms", instance, &|key| (key.name == name).then(|| json!(NO_CHOICE)));
        }
        this.ask_instance("sessman", sessman, &|key| not_text(key).filter(|_| key.of != "Value"));
        this.ask_instance("sessman", sessman, &too_much);
        // Any text can be a key.
        this.ask_instance("sessman", sessman, &|key| (key.name == "admin_key").then(|| json!({ "x": 1 })));
        // The one choice that a store has: with no other word the store is SQLite.
        this.ask_instance("sessman", sessman, &|key| (key.name == "durability").then(|| json!(NO_CHOICE)));
        this
    }

    /// What a key may be.
    ///
    /// # Panics
    /// When `pserve` did not mind anything that was tried: then it does not know the key.
    pub(super) fn of(&self, section: &str, key: &Key) -> String {
        let said = self.0.get(&(section.to_owned(), key.name.clone())).map_or(&[][..], Vec::as_slice);
        let expected = said.iter().rev().find_map(|line| line.strip_prefix("expected "));
        let text = match (expected, key.of.as_str()) {
            // What is said of the very value that was tried stands behind.
            (Some(text), _) => text.split("; `").next().unwrap_or(text),
            // An INI line is a text whatever stands there.
            (None, "String") if said.is_empty() && section != "sessman" => "text",
            // Some texts are refused for what another key is, and not for what they are.
            (None, "OneOrMany") if !said.iter().any(|line| line.starts_with("unknown")) => {
                "text, or a list of texts"
            }
            (None, of) => panic!("pserve says nothing about [{section}] {} ({of}): {said:?}", key.name),
        };
        text.replace(" from 0 to 18446744073709551615", "")
            .replace(" (also on/off, 1/0, enable/disable, enabled/disabled, yes/no)", "")
    }

    fn ask_host(&mut self, sections: &[(&'static str, Vec<Key>)], wrong: &str) {
        let mut ini = String::new();
        for (section, keys) in sections {
            ini.push_str(&format!("[{section}]\n"));
            // The folder of the plugins may be wrong like all else: it is not looked at before the rest is right.
            keys.iter().for_each(|key| ini.push_str(&format!("{}={wrong}\n", key.name)));
        }
        let site = Site::new();
        site.write("pserve.ini", ini);
        for problem in check(&site) {
            let Some((section, rest)) = problem.split_once("[").and_then(|(_, rest)| rest.split_once("] "))
            else {
                continue;
            };
            let (key, said) = rest.split_once(": ").expect("a key");
            // Of a key that two sections have.
            if said.ends_with("write it once") {
                continue;
            }
            self.note(section, key, said);
        }
    }

    fn ask_instance(&mut self, section: &str, keys: &[Key], wrong: &dyn Fn(&Key) -> Option<Value>) {
        let members: Map<String, Value> =
            keys.iter().filter_map(|key| Some((key.name.clone(), wrong(key)?))).collect();
        let site = Site::new();
        site.sessman(&Value::Object(members).to_string());
        for problem in check(&site) {
            for said in problem.split("; ") {
                // A place may stand before the first of them.
                let parts: Vec<&str> = said.split(": ").collect();
                let at = parts.iter().position(|part| keys.iter().any(|key| key.name == *part));
                if let Some(at) = at {
                    self.note(section, parts[at], &parts[at + 1..].join(": "));
                }
            }
        }
    }

    fn note(&mut self, section: &str, key: &str, said: &str) {
        self.0.entry((section.to_owned(), key.to_owned())).or_default().push(said.to_owned());
    }
}

/// What `pserve check` finds wrong with a site.
fn check(site: &Site) -> Vec<String> {
    let mut pserve = Command::new(artifacts().join("pserve"));
    let output = pserve.args(["check", "--json", "-i"]).arg(site.path("pserve.ini")).output();
    let report: Value = serde_json::from_slice(&output.expect("pserve runs").stdout).expect("a report");
    let problems = report["problems"].as_array().expect("its problems");
    problems.iter().filter_map(|problem| problem.as_str().map(str::to_owned)).collect()
}
