//! The crates that the shipped files are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::{fs, mem};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::artifacts;
use crate::process::output_of;
use crate::workspace::Workspace;

/// One of them.
#[derive(Debug)]
pub(super) struct Crate {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) about: String,
    /// An SPDX expression.
    pub(super) licence: String,
    /// SHA-256 of its package; none for a member of this workspace.
    pub(super) checksum: Option<String>,
    /// Where its source is.
    pub(super) folder: PathBuf,
    /// The crates of the list that it calls, by name and version.
    pub(super) needs: BTreeSet<(String, String)>,
}

impl Crate {
    /// The folder with all sources of its registry, if it came from one.
    pub(super) fn registry(&self) -> Option<PathBuf> {
        self.checksum.as_ref().and(self.folder.parent()).map(PathBuf::from)
    }
}

/// What is compiled into the shipped files, by name and version. What only the build needs, macros among it, is left out.
pub(super) fn shipped(workspace: &Workspace) -> Result<Vec<Crate>> {
    let mut tree = workspace.cargo();
    tree.args(["tree", "--locked", "--quiet", "--prefix", "depth", "--edges", "normal,no-proc-macro"]);
    let edges = edges(&output_of(tree.args(artifacts::package_arguments()))?)?;
    let lock = fs::read_to_string(workspace.root.join("Cargo.lock"))?;
    let checksums = checksums(&lock);
    let mut metadata = workspace.cargo();
    let metadata = output_of(metadata.args(["metadata", "--locked", "--quiet", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata printed no JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let mut crates = Vec::new();
    for (key, needs) in edges {
        let package = packages
            .iter()
            .find(|package| package["name"] == key.0.as_str() && package["version"] == key.1.as_str())
            .with_context(|| format!("cargo metadata does not know {} {}", key.0, key.1))?;
        let text = |member: &str| package[member].as_str().unwrap_or_default().to_owned();
        crates.push(Crate {
            about: text("description").split_whitespace().collect::<Vec<_>>().join(" "),
            // Packages of before 2018 may have a slash.
            licence: text("license").replace('/', " OR "),
            checksum: checksums.get(&key).cloned(),
            folder: PathBuf::from(text("manifest_path"))
                .parent()
                .context("a manifest without a folder")?
                .into(),
            name: key.0,
            version: key.1,
            needs,
        });
    }
    Ok(crates)
}

type Key = (String, String);

/// Reads what `cargo tree --prefix depth` prints.
fn edges(tree: &str) -> Result<BTreeMap<Key, BTreeSet<Key>>> {
    let mut edges: BTreeMap<Key, BTreeSet<Key>> = BTreeMap::new();
    let mut above: Vec<Key> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let unexpected = || format!("cargo tree printed `{line}`");
        let digits = line.find(|c: char| !c.is_ascii_digit()).with_context(unexpected)?;
        let depth: usize = line[..digits].parse().with_context(unexpected)?;
        let mut words = line[digits..].split_whitespace();
        let name = words.next().with_context(unexpected)?.to_owned();
        let version =
            words.next().and_then(|word| word.strip_prefix('v')).with_context(unexpected)?.to_owned();
        let key = (name, version);
        above.truncate(depth);
        if let Some(parent) = above.last() {
            edges.entry(parent.clone()).or_default().insert(key.clone());
        }
        edges.entry(key.clone()).or_default();
        above.push(key);
    }
    Ok(edges)
}

/// Reads them from a lock file.
fn checksums(lock: &str) -> BTreeMap<Key, String> {
    let mut checksums = BTreeMap::new();
    let (mut name, mut version) = (String::new(), String::new());
    for line in lock.lines() {
        let Some((member, value)) = line.split_once(" = ") else { continue };
        let value = value.trim_matches('"').to_owned();
        match member {
            "name" => name = value,
            "version" => version = value,
            "checksum" => {
                checksums.insert((mem::take(&mut name), mem::take(&mut version)), value);
            }
            _ => {}
        }
    }
    checksums
}

#[cfg(test)]
mod tests {
    use super::{checksums, edges};

    fn key(name: &str) -> (String, String) {
        (name.to_owned(), "1.0.0".to_owned())
    }

    #[test]
    fn who_calls_whom_is_read_from_the_depth() {
        let tree = "0a v1.0.0 (/somewhere)\n1b v1.0.0\n2c v1.0.0\n1c v1.0.0\n\n0d v1.0.0\n1b v1.0.0 (*)\n";
        let edges = edges(tree).unwrap();
        let needs = |name: &str| edges[&key(name)].iter().map(|(name, _)| name.as_str()).collect::<String>();
        assert_eq!(
            (needs("a"), needs("b"), needs("c"), needs("d")),
            ("bc".into(), "c".into(), "".into(), "b".into())
        );
        assert!(super::edges("no tree").is_err());
    }

    #[test]
    fn members_have_no_checksum() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"b\"\n\
                    version = \"1.0.0\"\nchecksum = \"12ab\"\ndependencies = [\n \"a\",\n]\n";
        let found = checksums(lock);
        assert_eq!((found.len(), found[&key("b")].as_str()), (1, "12ab"));
    }
}
