//! What the release is made of, for machines: CycloneDX 1.5.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Release;
use super::crates::Crate;
use crate::process::output_of;

/// The file. It has no serial number and the time of the release, so that it is the same whenever it is made.
pub(super) fn text(release: &Release, crates: &[Crate]) -> Result<String> {
    let sqlite = sqlite(crates)?;
    let mut components: Vec<Value> = crates.iter().map(component).collect();
    let mut dependencies: Vec<Value> = crates.iter().map(|each| needs(each, sqlite.as_ref())).collect();
    components.extend(sqlite);
    let members: Vec<String> = crates.iter().filter(|each| each.checksum.is_none()).map(reference).collect();
    dependencies.push(json!({ "ref": "sessman", "dependsOn": members }));
    let time = output_of(
        Command::new("date").args(["--utc", "+%FT%TZ", "--date"]).arg(format!("@{}", release.epoch)),
    )?;
    let bom = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time.trim(),
            "component": {
                "type": "application",
                "bom-ref": "sessman",
                "name": "sessman",
                "version": release.version,
                "licenses": [{ "expression": env!("CARGO_PKG_LICENSE") }],
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&bom)?))
}

fn component(each: &Crate) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": reference(each),
        "name": each.name,
        "version": each.version,
        "description": each.about,
        "licenses": [{ "expression": each.licence }],
    });
    // What a scanner looks up; a member of this workspace is in no registry.
    if let Some(checksum) = &each.checksum {
        component["purl"] = json!(reference(each));
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

fn needs(each: &Crate, sqlite: Option<&Value>) -> Value {
    let mut needs: Vec<String> =
        each.needs.iter().map(|(name, version)| format!("pkg:cargo/{name}@{version}")).collect();
    if let Some(sqlite) = sqlite.filter(|_| each.name == SQLITE) {
        needs.extend(sqlite["bom-ref"].as_str().map(str::to_owned));
    }
    json!({ "ref": reference(each), "dependsOn": needs })
}

fn reference(each: &Crate) -> String {
    format!("pkg:cargo/{}@{}", each.name, each.version)
}

const SQLITE: &str = "libsqlite3-sys";

/// SQLite itself, whose faults are told under its own name and version, and not under those of the crate that brings it.
fn sqlite(crates: &[Crate]) -> Result<Option<Value>> {
    let Some(brings) = crates.iter().find(|each| each.name == SQLITE) else { return Ok(None) };
    let header = fs::read_to_string(brings.folder.join("sqlite3/sqlite3.h"))?;
    let version = header.lines().find_map(|line| line.strip_prefix("#define SQLITE_VERSION "));
    let version = version.context("sqlite3.h names no version")?.trim().trim_matches('"');
    let purl = format!("pkg:generic/sqlite@{version}");
    Ok(Some(json!({
        "type": "library",
        "bom-ref": purl,
        "name": "sqlite",
        "version": version,
        "purl": purl,
        "licenses": [{ "expression": "blessing" }],
    })))
}
