//! The drawing of crates and rooms in ARCHITECTURE.md.

/// Crates of the product, and their root files.
pub(super) const CRATES: &[(&str, &str)] = &[
    ("plugin-api", "plugin-api/src/lib.rs"),
    ("plugin-test", "plugin-test/src/lib.rs"),
    ("pserve", "host/src/lib.rs"),
    ("sessctl", "sessctl/src/main.rs"),
    ("sessman", "sessman/src/lib.rs"),
    ("sessman-plugin", "sessman-plugin/src/lib.rs"),
    ("settings", "settings/src/lib.rs"),
];

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::path::Path as FilePath;

    use super::super::tree::Tree;
    use super::CRATES;
    use crate::workspace::Workspace;

    /// Whoever is on the left, and all that it names.
    type Drawing = BTreeMap<String, BTreeSet<String>>;

    /// The fenced block below the heading: a line `left -> right, right` each.
    fn drawn(root: &FilePath, heading: &str) -> Drawing {
        let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
        let section = text.split(&format!("\n### {heading}\n")).nth(1).expect("the section is there");
        let block = section.split("```").nth(1).expect("it has a drawing");
        let lines = block.lines().filter_map(|line| line.split_once("->"));
        let names = |right: &str| {
            right.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
        };
        lines.map(|(left, right)| (left.trim().to_owned(), names(right))).collect()
    }

    #[test]
    fn the_rooms_of_the_host_import_as_they_are_drawn() {
        let root = Workspace::find().unwrap().root;
        let mut found = Drawing::new();
        for (module, imports) in Tree::read(&root.join("host/src/lib.rs")).imports() {
            let room = |path: &[String]| match path {
                [http, room, ..] if http == "http" => Some(room.clone()),
                _ => None,
            };
            let Some(from) = room(&module) else { continue };
            let to = imports.iter().filter_map(|path| room(path)).filter(|to| *to != from);
            found.entry(from.clone()).or_default().extend(to);
        }
        assert_eq!(found, drawn(&root, "Rooms of the host"));
    }

    #[test]
    fn crates_depend_on_each_other_as_they_are_drawn() {
        let root = Workspace::find().unwrap().root;
        let mut found = Drawing::new();
        for (name, file) in CRATES {
            let manifest = root.join(file).parent().unwrap().join("../Cargo.toml");
            let text = fs::read_to_string(manifest).unwrap();
            let dependencies = text.split("\n[dependencies]\n").nth(1).unwrap_or_default();
            let dependencies = dependencies.split("\n[").next().unwrap_or_default();
            let named = dependencies.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
            let ours = named.filter(|named| CRATES.iter().any(|(ours, _)| ours == named));
            found.insert((*name).to_owned(), ours.map(str::to_owned).collect());
        }
        assert_eq!(found, drawn(&root, "Crates"));
    }
}
