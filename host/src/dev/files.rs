//! The files that a host reads, and whether they have changed.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::plugin::plugin_files;

/// How many looks in a row a change must look the same: a linker, a copy or an editor may still be writing.
const QUIET_LOOKS: u32 = 2;

/// What tells one state of a file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// In seconds and nanoseconds; the second one changes with the mode, too.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file that a link leads to; `None` if there is none.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

type Stamps = BTreeMap<PathBuf, Stamp>;

/// A file that has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// As seen from the folder of the INI file.
    pub(super) name: PathBuf,
    pub(super) kind: Kind,
}

/// How it has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Changed,
    New,
    Removed,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Changed => "changed",
            Kind::New => "is new",
            Kind::Removed => "was removed",
        };
        write!(f, "{} {what}", self.name.display())
    }
}

/// The files that a host reads.
#[derive(Debug)]
pub(super) struct Files {
    ini_file: PathBuf,
    plugins: PathBuf,
    json_files: Vec<PathBuf>,
    /// At the last reload, or before the host read them.
    loaded: Stamps,
    /// At the last look.
    seen: Stamps,
    /// How many looks in a row have seen the same.
    quiet: u32,
}

impl Files {
    /// Those that `config` names, which came from `ini_file`.
    pub(super) fn new(ini_file: &Path, config: &Config) -> Self {
        // It fails only without a current folder, where the host does not start.
        let ini_file = std::path::absolute(ini_file).unwrap_or_else(|_| ini_file.to_owned());
        let (plugins, json_files) = named(config);
        let (loaded, seen) = (Stamps::new(), Stamps::new());
        let mut files = Self { ini_file, plugins, json_files, loaded, seen, quiet: 0 };
        files.begin();
        files
    }

    /// What has changed since the last time that it said something, once it does not change any more. The caller reads
    /// the files after that.
    pub(super) fn look(&mut self) -> Vec<Change> {
        let now = self.stamps();
        if now != self.seen {
            (self.seen, self.quiet) = (now, 0);
            return Vec::new();
        }
        if self.seen == self.loaded {
            return Vec::new();
        }
        self.quiet += 1;
        if self.quiet < QUIET_LOOKS {
            return Vec::new();
        }
        let changes = self.changes();
        // Also when it is refused: it may name a file that is to be corrected next.
        if let Ok(config) = Config::load(&self.ini_file) {
            (self.plugins, self.json_files) = named(&config);
        }
        self.begin();
        changes
    }

    /// Takes the files as they are now for those that are read next.
    fn begin(&mut self) {
        self.loaded = self.stamps();
        (self.seen, self.quiet) = (self.loaded.clone(), 0);
    }

    fn stamps(&self) -> Stamps {
        // A directory that cannot be read has no files: the reload says what is wrong with it.
        let plugins = plugin_files(&self.plugins).unwrap_or_default();
        let others = self.json_files.iter().chain([&self.ini_file]).cloned();
        let stamped = plugins.into_iter().chain(others).map(|path| (Stamp::of(&path), path));
        stamped.filter_map(|(stamp, path)| Some((path, stamp?))).collect()
    }

    fn changes(&self) -> Vec<Change> {
        let (before, after) = (&self.loaded, &self.seen);
        let changed = after.iter().filter_map(|(path, stamp)| match before.get(path) {
            None => Some((path, Kind::New)),
            Some(before) => (before != stamp).then_some((path, Kind::Changed)),
        });
        let removed =
            before.keys().filter(|path| !after.contains_key(*path)).map(|path| (path, Kind::Removed));
        changed.chain(removed).map(|(path, kind)| Change { name: self.name(path), kind }).collect()
    }

    fn name(&self, path: &Path) -> PathBuf {
        let folder = self.ini_file.parent().unwrap_or(Path::new("/"));
        path.strip_prefix(folder).unwrap_or(path).to_owned()
    }
}

/// The plugin directory, and where JSON files are looked for.
fn named(config: &Config) -> (PathBuf, Vec<PathBuf>) {
    let lines = config.instances.iter().chain(config.sections.iter().map(|section| &section.instance));
    let json_files = lines.flat_map(|line| line.json_files.iter().cloned());
    (config.paths.plugins.clone(), json_files.collect())
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, the files it names, and the plugins in {}",
            self.ini_file.display(),
            self.plugins.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    struct Site {
        folder: TempDir,
        files: Files,
    }

    impl Site {
        fn new(parms: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("plugins")).unwrap();
            let ini_file = folder.path().join("p.ini");
            fs::write(&ini_file, ini(parms)).unwrap();
            let files = Files::new(&ini_file, &Config::load(&ini_file).unwrap());
            Self { folder, files }
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.folder.path().join(name), text).unwrap();
        }

        /// What is said once nothing changes any more.
        fn said(&mut self) -> Vec<String> {
            let looks = (0..=QUIET_LOOKS).flat_map(|_| self.files.look());
            looks.map(|change| change.to_string()).collect()
        }
    }

    fn ini(parms: &str) -> String {
        format!("[paths]\nplugins=plugins\n[plugin_parms]\n{parms}\n")
    }

    #[test]
    fn each_change_is_told_once() {
        let mut site = Site::new("a=json=a.json");
        assert!(site.said().is_empty());
        site.write("plugins/a.so", "1");
        site.write("plugins/a.txt", "not looked at");
        assert_eq!(site.said(), ["plugins/a.so is new"]);
        assert!(site.said().is_empty());
        site.write("plugins/a.so", "22");
        site.write("a.json", "{}");
        assert_eq!(site.said(), ["a.json is new", "plugins/a.so changed"]);
        fs::remove_file(site.folder.path().join("plugins/a.so")).unwrap();
        assert_eq!(site.said(), ["plugins/a.so was removed"]);
        assert!(site.said().is_empty());
    }

    #[test]
    fn what_is_still_being_written_is_waited_for() {
        let mut site = Site::new("");
        for length in 1..10 {
            site.write("plugins/a.so", &"x".repeat(length));
            assert!(site.files.look().is_empty() && site.files.look().is_empty());
        }
        assert_eq!(site.said(), ["plugins/a.so is new"]);
    }

    #[test]
    fn a_file_that_the_ini_file_names_since_then_is_watched_even_if_it_is_bad() {
        let mut site = Site::new("");
        site.write("b.json", "{");
        site.write("p.ini", &ini("b=json=b.json"));
        assert_eq!(site.said(), ["p.ini changed"]);
        site.write("b.json", "{}");
        assert_eq!(site.said(), ["b.json changed"]);
    }

    #[test]
    fn a_mode_that_was_corrected_is_a_change() {
        use std::os::unix::fs::PermissionsExt;

        let mut site = Site::new("");
        site.write("plugins/a.so", "1");
        site.said();
        let file = site.folder.path().join("plugins/a.so");
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(site.said(), ["plugins/a.so changed"]);
    }
}
