//! `pserve check` and `pserve plugins`: evaluate the files without a running host.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::budget::{Budget, Size};
use crate::config::{Config, ConfigError};
use crate::error::one_line;
use crate::exposure;
use crate::http::control::inventory;
use crate::http::control::snapshot::Snapshot;
use crate::plugin::{Loader, Want};

/// The result of the files, with all their errors.
pub struct Findings {
    ini_file: PathBuf,
    /// One line each, without values that may be secrets.
    pub problems: Vec<String>,
    /// Values that are accepted as written, but probably not intended; one line each.
    pub warnings: Vec<String>,
    /// None if the configuration cannot be used at all.
    snapshot: Option<Snapshot>,
}

/// The configuration cannot be used, so that nothing can be listed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

impl Findings {
    /// Reads the files and prepares every instance, like a start; nothing is activated.
    pub fn of(ini_file: &Path) -> Self {
        let mut findings = Self {
            ini_file: ini_file.to_owned(),
            problems: Vec::new(),
            warnings: Vec::new(),
            snapshot: None,
        };
        let config = match Config::load(ini_file) {
            Ok(config) => config,
            Err(ConfigError::Invalid(problems)) => {
                findings.problems.extend(problems.iter().map(ToString::to_string));
                findings.problems.push("the plugins were not tried: that needs a configuration".to_owned());
                return findings;
            }
            Err(error) => {
                findings.problems.push(one_line(&error));
                return findings;
            }
        };
        let told = config.warnings.iter().chain(&config.notes);
        findings.warnings.extend(told.map(ToString::to_string));
        let loaded = match Loader::new(Budget::new(Size::of(&config).budget)).load(&config, Want::All(&[])) {
            Ok(loaded) => loaded,
            Err(error) => {
                findings.problems.push(error.line());
                return findings;
            }
        };
        let snapshot = Snapshot::new(Arc::new(config), loaded, Vec::new());
        findings.warnings.extend(snapshot.unused.iter().cloned());
        let missing = snapshot.missing.iter();
        findings.warnings.extend(missing.map(|missing| format!("{}: {}", missing.name, missing.reason)));
        let others = snapshot.others.iter();
        findings
            .warnings
            .extend(others.map(|other| format!("{}: {}; it is left alone", other.name, other.reason)));
        let failures = snapshot.failures.iter();
        findings.problems.extend(failures.map(|failure| format!("{}: {}", failure.name, failure.reason)));
        let exposed = exposure::check_exposure(&snapshot).err();
        match exposed {
            Some(exposed) => findings.problems.push(exposed.to_string()),
            // An address that other machines can reach makes them problems, which are reported with it.
            None => findings.problems.extend(exposure::short_keys(&snapshot)),
        }
        findings.snapshot = Some(snapshot);
        findings
    }

    /// For machines: `ok`, `problems` and `warnings`.
    pub fn json(&self) -> String {
        let Self { problems, warnings, .. } = self;
        pretty(&json!({ "ok": problems.is_empty(), "problems": problems, "warnings": warnings }))
    }

    /// What `/plugins` would show after a start, without the data that only a running host knows.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn plugins_json(&self) -> Result<String, Unusable> {
        Ok(pretty(&self.plugins()?))
    }

    /// The instances as a table, with their routes below.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn plugins_table(&self) -> Result<String, Unusable> {
        let plugins = self.plugins()?;
        let header = ["INSTANCE", "PLUGIN", "VERSION", "ABI", "SHA256", "STATE"].map(str::to_owned);
        let mut rows = vec![header];
        let mut below = vec![Vec::new()];
        for instance in members(&plugins, "instances") {
            let mut sha256 = text(instance, "sha256");
            // Enough to distinguish two files; --json has all of it.
            sha256.truncate(12);
            let names = ["name", "plugin", "version", "plugin_api"];
            let [name, plugin, version, abi] = names.map(|name| text(instance, name));
            rows.push([name, plugin, version, abi, sha256, text(instance, "state")]);
            let routes = members(instance, "routes");
            below.push(routes.iter().map(line_of_route).collect());
        }
        for failure in members(&plugins, "failures") {
            let none = || "-".to_owned();
            rows.push([text(failure, "name"), none(), none(), none(), none(), text(failure, "state")]);
            below.push(vec![format!("  {}", text(failure, "reason"))]);
        }
        Ok(table(&rows, &below))
    }

    fn write_warnings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.warnings.iter().try_for_each(|warning| write!(f, "\n  warning: {warning}"))
    }

    fn plugins(&self) -> Result<Value, Unusable> {
        let snapshot = self.snapshot.as_ref().ok_or_else(|| Unusable(self.to_string()))?;
        let mut plugins = inventory::plugins(snapshot);
        for instance in plugins["instances"].as_array_mut().into_iter().flatten() {
            // Nothing is going to activate it.
            instance["state"] = "loadable".into();
            if let Some(members) = instance.as_object_mut() {
                members.shift_remove("requests");
            }
        }
        Ok(plugins)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.ini_file.display())?;
        let Some(snapshot) = self.snapshot.as_ref().filter(|_| self.problems.is_empty()) else {
            let count = self.problems.len();
            write!(f, "{count} problem{}", if count == 1 { "" } else { "s" })?;
            self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))?;
            return self.write_warnings(f);
        };
        let names: Vec<&str> = snapshot.instances().map(|instance| instance.name.as_str()).collect();
        write!(
            f,
            "good; instances: {}",
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        )?;
        self.write_warnings(f)
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

fn members<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or("-").to_owned()
}

fn line_of_route(route: &Value) -> String {
    let methods: Vec<String> =
        members(route, "methods").iter().filter_map(|method| method.as_str().map(str::to_owned)).collect();
    format!("  {} ({}, {})", text(route, "path"), methods.join(" "), text(route, "class"))
}

/// A table with columns as wide as their content; below each row the lines that belong to it.
fn table<const N: usize>(rows: &[[String; N]], below: &[Vec<String>]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for (row, below) in rows.iter().zip(below) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
        for line in below {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(ini: &str) -> Findings {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("plugins")).unwrap();
        std::fs::write(folder.path().join("p.ini"), ini).unwrap();
        Findings::of(&folder.path().join("p.ini"))
    }

    #[test]
    fn all_problems_of_the_files_are_told() {
        let found = findings("[netwrok]\nport=1\n[log]\nlevel=loud\n[plugin_parms]\na=json=none.json\n");
        let text = found.to_string();
        for problem in ["[netwrok]", "[log] level", "none.json", "not tried"] {
            assert!(text.contains(problem), "{problem}: {text}");
        }
        assert!(text.contains("4 problems"), "{text}");
        assert!(found.plugins_json().is_err());
        let found = findings("[plugin_parms]\na=x=1\nb=json=none.json\n");
        assert_eq!((found.problems.len(), found.warnings.len()), (1, 1), "{found}");
        assert!(found.warnings[0].contains("no plugin called `a` is loaded"), "{found}");
        let json: Value = serde_json::from_str(&found.json()).unwrap();
        assert_eq!((&json["ok"], json["problems"].as_array().unwrap().len()), (&false.into(), 1));
    }

    #[test]
    fn a_comment_behind_a_key_is_warned_of_and_not_shown() {
        let found = findings("[auth]\napikey=s3cret # ma1n\n[paths]\nstate=\"state\"\n");
        let text = found.to_string();
        for part in ["good; instances: none", "p.ini:2: [auth] apikey: the value goes to", "` #`"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(
            text.contains("PSERVE_AUTH_APIKEY")
                && text.contains("p.ini:4: [paths] state: the value is in quotes")
        );
        assert!(!text.contains("s3cret") && !text.contains("ma1n"), "{text}");
        let json: Value = serde_json::from_str(&found.json()).unwrap();
        assert_eq!((&json["ok"], json["warnings"].as_array().unwrap().len()), (&true.into(), 2));
    }

    #[test]
    fn nothing_wrong_is_said_in_a_line() {
        let found = findings("");
        assert!(found.problems.is_empty() && found.to_string().ends_with("p.ini: good; instances: none"));
        assert_eq!(found.plugins_table().unwrap().lines().count(), 1);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned);
        let rows = [row(["A", "B"]), row(["long", "b"]), row(["c", ""])];
        let below = [vec![], vec!["  below".to_owned()], vec![]];
        assert_eq!(table(&rows, &below), "A     B\nlong  b\n  below\nc\n");
    }
}
