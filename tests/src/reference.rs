//! The reference in docs/, made from what it describes: keys, meanings and defaults are those of the fields in the
//! source, and what a value may be is what `pserve check` says to one that it may not be.

mod answers;
mod expected;
mod keys;
mod openapi;
mod schema;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use expected::Expected;
use keys::Key;

/// Sections of `pserve.ini` with fixed keys, each with the type that lists them.
const SECTIONS: [(&str, &str); 9] = [
    ("network", "NetworkSection"),
    ("ssl", "SslSection"),
    ("paths", "PathsSection"),
    ("auth", "AuthSection"),
    ("cors", "CorsSection"),
    ("proxy", "ProxySection"),
    ("limits", "LimitsSection"),
    ("log", "LogSection"),
    ("file_server", "FileServerSection"),
];

/// The configuration: every table, and both schemas.
pub struct Configuration {
    sections: Vec<(&'static str, Vec<Key>)>,
    instance: Vec<Key>,
    sessman: Vec<Key>,
}

impl Configuration {
    /// Reads the types, and asks `pserve` what it expects.
    ///
    /// # Panics
    /// When a key has no default or no meaning, or when `pserve` does not know one that the source has.
    pub fn find() -> Self {
        let sections = root().join("host/src/config/sections.rs");
        let mut this = Self {
            sections: SECTIONS.map(|(name, of)| (name, keys::of(&sections, of))).into(),
            instance: keys::of(&sections, "HostKeys"),
            sessman: sessman_keys(),
        };
        let expected = Expected::ask(&this.sections, &this.instance, &this.sessman);
        for (section, keys) in &mut this.sections {
            keys.iter_mut().for_each(|key| key.values = expected.of(section, key));
        }
        this.instance.iter_mut().for_each(|key| key.values = expected.of("plugin_parms", key));
        this.sessman.iter_mut().for_each(|key| key.values = expected.of("sessman", key));
        this
    }

    /// The page with its tables as they should be. Each stands between a comment with its name and an empty line.
    ///
    /// # Panics
    /// When the page has no place for one.
    pub fn page(&self, page: &str) -> String {
        // The first key of a section stands with the section's name.
        let host = self.sections.iter().flat_map(|(section, keys)| {
            let name = move |at| if at == 0 { format!("[{section}] ") } else { String::new() };
            keys.iter().enumerate().map(move |(at, key)| (name(at), key))
        });
        let alone = |keys: &[Key]| keys::table(keys.iter().map(|key| (String::new(), key)));
        let page = put(page, "pserve.ini", &keys::table(host));
        let page = put(&page, "plugin_parms", &alone(&self.instance));
        put(&page, "sessman.json", &alone(&self.sessman))
    }

    /// The JSON schema of `sessman.json`, and that of `pserve.ini` as an object of sections.
    pub fn schemas(&self) -> [(&'static str, Value); 2] {
        [
            ("docs/schema/sessman.schema.json", schema::sessman(&self.sessman, &self.instance)),
            ("docs/schema/pserve.schema.json", schema::pserve(&self.sections)),
        ]
    }
}

/// The keys of `sessman.json`: that which says which store it is, those of each store in the order of the table, and those that
/// are the same whatever keeps the sessions.
fn sessman_keys() -> Vec<Key> {
    let source = root().join("sessman/src");
    let table = source.join("store/backends.rs");
    let mut keys = keys::of(&table, "ChoiceKeys");
    let text = fs::read_to_string(&table).expect("the table of stores");
    let lines =
        text.split("\ntable! {\n").nth(1).and_then(|rest| rest.split("\n}").next()).expect("its lines");
    for line in lines.lines() {
        // `"sqlite" => super::sqlite::SqliteKeys,`
        let (store, path) = line.split_once(" => ").expect("a store and its keys");
        let file = source.join(format!("store/{}/config.rs", store.trim().trim_matches('"')));
        let name = path.trim_end_matches(',').rsplit("::").next().expect("a name");
        for key in keys::of(&file, name) {
            match keys.iter_mut().find(|known| known.name == key.name) {
                Some(known) => known.join(key),
                None => keys.push(key),
            }
        }
    }
    keys.extend(keys::of(&source.join("config/raw.rs"), "RawConfig"));
    keys
}

pub use answers::page as answers;
pub use openapi::page as http_api;

/// The folder of the project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Compares a file of the project with what it should be; writes it instead where `WRITE_DOCS` is set.
///
/// # Panics
/// When they differ.
pub fn keep(file: &str, wanted: &str) {
    let path = root().join(file);
    if std::env::var_os("WRITE_DOCS").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
        fs::write(&path, wanted).expect("the file is written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let same = found.lines().zip(wanted.lines()).take_while(|(found, wanted)| found == wanted).count();
    assert!(
        found == wanted,
        "{file} is not what its source says, from line {}; run `cargo xtask book`",
        same + 1
    );
}

fn put(page: &str, name: &str, table: &str) -> String {
    let mark = format!("<!-- made from the source: {name} -->\n");
    let (before, rest) = page.split_once(&mark).unwrap_or_else(|| panic!("no {mark}"));
    let after = rest.trim_start_matches('\n').split_once("\n\n").map_or("", |(_, after)| after);
    format!("{before}{mark}\n{table}\n{after}")
}
