//! No circle between files.

use std::collections::BTreeMap;

use super::source::Path;
use super::tree::Imports;

/// Groups of modules each of which reaches all others of its group.
pub(super) fn circles(imports: &Imports) -> Vec<Vec<&Path>> {
    let mut search = Search { imports, seen: BTreeMap::new(), stack: Vec::new(), found: Vec::new() };
    for module in imports.keys() {
        if !search.seen.contains_key(module) {
            search.visit(module);
        }
    }
    search.found
}

/// Tarjan's search for strongly connected components.
struct Search<'a> {
    imports: &'a Imports,
    /// When each was seen, and the earliest that it reaches.
    seen: BTreeMap<&'a Path, (usize, usize)>,
    stack: Vec<&'a Path>,
    found: Vec<Vec<&'a Path>>,
}

impl<'a> Search<'a> {
    fn visit(&mut self, module: &'a Path) -> usize {
        let when = self.seen.len();
        self.seen.insert(module, (when, when));
        self.stack.push(module);
        let mut earliest = when;
        for other in &self.imports[module] {
            let reached = match self.seen.get(other) {
                None => self.visit(other),
                Some((when, _)) if self.stack.contains(&other) => *when,
                Some(_) => continue,
            };
            earliest = earliest.min(reached);
        }
        self.seen.insert(module, (when, earliest));
        if earliest == when {
            let at = self.stack.iter().position(|other| *other == module).expect("it is there");
            let group = self.stack.split_off(at);
            if group.len() > 1 {
                self.found.push(group);
            }
        }
        earliest
    }
}

#[cfg(test)]
mod tests {
    use super::super::drawing::CRATES;
    use super::super::tree::Tree;
    use super::*;
    use crate::workspace::Workspace;

    fn imports(pairs: &[(&str, &[&str])]) -> Imports {
        let path = |name: &str| vec![name.to_owned()];
        pairs
            .iter()
            .map(|(name, others)| (path(name), others.iter().map(|other| path(other)).collect()))
            .collect()
    }

    #[test]
    fn circles_are_found() {
        let circle = imports(&[("a", &["b", "d"]), ("b", &["c"]), ("c", &["a", "d"]), ("d", &[])]);
        assert_eq!(circles(&circle).iter().map(Vec::len).collect::<Vec<_>>(), [3]);
        let none = imports(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]);
        assert!(circles(&none).is_empty());
    }

    #[test]
    fn no_circle_stands_between_files() {
        let root = Workspace::find().unwrap().root;
        let mut found = Vec::new();
        for (name, file) in CRATES {
            let imports = Tree::read(&root.join(file)).imports();
            assert!(imports.len() > 1, "{name}");
            for circle in circles(&imports) {
                let inside = |module: &Path| -> Vec<String> {
                    imports[module]
                        .iter()
                        .filter(|other| circle.contains(other))
                        .map(|path| path.join("::"))
                        .collect()
                };
                let lines: Vec<String> = circle
                    .iter()
                    .map(|module| format!("  {} -> {}", module.join("::"), inside(module).join(", ")))
                    .collect();
                found.push(format!("{name}:\n{}", lines.join("\n")));
            }
        }
        assert!(found.is_empty(), "files that import from each other:\n{}", found.join("\n"));
    }
}
