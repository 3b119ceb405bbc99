//! The files of a crate as modules, and which of them a path leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path as FilePath;

use super::source::{Path, Source};

/// A crate's modules by their paths; that of the root is empty.
#[derive(Debug, Default)]
pub(super) struct Tree(BTreeMap<Path, Source>);

/// Modules that name items of others.
pub(super) type Imports = BTreeMap<Path, BTreeSet<Path>>;

impl Tree {
    /// Reads the crate whose root file this is.
    pub(super) fn read(root: &FilePath) -> Self {
        let mut tree = Self::default();
        let folder = root.parent().expect("a folder").to_owned();
        tree.add(root, &folder, Vec::new());
        tree
    }

    fn add(&mut self, file: &FilePath, folder: &FilePath, module: Path) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let source = Source::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for name in &source.modules {
            let inner = folder.join(name);
            let beside = folder.join(format!("{name}.rs"));
            let file = if beside.is_file() { beside } else { inner.join("mod.rs") };
            self.add(&file, &inner, [&module[..], std::slice::from_ref(name)].concat());
        }
        self.0.insert(module, source);
    }

    /// Each module, and the others whose items it names. What it only passes on is not imported.
    pub(super) fn imports(&self) -> Imports {
        self.0.iter().map(|(module, source)| (module.clone(), self.of(module, source))).collect()
    }

    fn of(&self, module: &Path, source: &Source) -> BTreeSet<Path> {
        let passed_on = |name: &str| source.shown.iter().any(|shown| shown == name);
        let names = source.names.iter().filter(|(name, _)| !passed_on(name)).map(|(_, path)| path);
        let mut found: BTreeSet<Path> =
            names.chain(&source.paths).filter_map(|path| self.owner(module, path)).collect();
        let all = source.globs.iter().filter_map(|path| self.module(module, path));
        found.extend(all);
        found.remove(module);
        found
    }

    /// The module that defines the item that a path in `module` names; `None` for a module, and what is of other crates.
    fn owner(&self, module: &Path, path: &Path) -> Option<Path> {
        let (mut at, mut rest) = self.begin(module, path)?;
        // A name may stand for another a few times over.
        for _ in 0..20 {
            let (first, after) = rest.split_first()?;
            let inner = [&at[..], std::slice::from_ref(first)].concat();
            if self.0.contains_key(&inner) {
                (at, rest) = (inner, after.to_vec());
                continue;
            }
            let source = &self.0[&at];
            if let Some(target) = source.names.get(first) {
                let (start, mut more) = self.begin(&at, target)?;
                more.extend(after.iter().cloned());
                (at, rest) = (start, more);
                continue;
            }
            let through = source.globs.iter().find_map(|glob| {
                let inner = self.module(&at, glob)?;
                self.0[&inner].names.contains_key(first).then_some(inner)
            });
            match through {
                Some(inner) => at = inner,
                None => return Some(at),
            }
        }
        None
    }

    /// The module that a path in `module` names.
    fn module(&self, module: &Path, path: &Path) -> Option<Path> {
        let (mut at, rest) = self.begin(module, path)?;
        at.extend(rest);
        self.0.contains_key(&at).then_some(at)
    }

    /// From where the rest of a path is looked for.
    fn begin(&self, module: &Path, path: &Path) -> Option<(Path, Path)> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Path::new(),
            "self" => module.clone(),
            "super" => module[..module.len().checked_sub(1)?].to_vec(),
            name => {
                let inner = [&module[..], &[name.to_owned()]].concat();
                if self.0.contains_key(&inner) {
                    return Some((inner, rest.to_vec()));
                }
                let target = self.0[module].names.get(name)?;
                // `use a::a`, of another crate.
                if target.first() == Some(first) {
                    return None;
                }
                let (at, mut more) = self.begin(module, target)?;
                more.extend(rest.iter().cloned());
                return Some((at, more));
            }
        };
        while let [next, after @ ..] = rest
            && next == "super"
        {
            at.pop();
            rest = after;
        }
        Some((at, rest.to_vec()))
    }
}
