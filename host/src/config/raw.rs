//! The configuration as written: texts with their places, before validation and interpolation.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use config::{Map, Value, ValueKind};

use super::interpolation::{self, Piece};
use super::sections;
use super::values::{self, Kind};

/// Limit of references followed for one value: far more than a person writes, and few enough to stop files in which
/// each line references the next one twice.
const MAX_REFERENCES: usize = 1_000;
/// Limit of the length of a value after interpolation, in bytes.
const MAX_LENGTH: usize = 1 << 20;

/// All sections as written.
#[derive(Default)]
pub(crate) struct RawConfig {
    pub(crate) sections: Vec<RawSection>,
}

/// One section as written. No `Debug` on purpose: values may be secrets.
pub(crate) struct RawSection {
    pub(crate) name: String,
    /// `file:line` of its header.
    pub(crate) place: String,
    pub(crate) entries: Vec<RawEntry>,
}

/// One key as written.
pub(crate) struct RawEntry {
    pub(crate) key: String,
    pub(crate) text: String,
    /// `file:line`, or the name of the environment variable.
    pub(crate) place: String,
    /// Whether it came from the environment, so that `${..}` in it is not a reference.
    pub(crate) literal: bool,
}

impl RawConfig {
    /// Converts the merged layers. A place that does not begin with `file` is an environment variable.
    pub(crate) fn from_layers(cache: Value, file: &str) -> Self {
        let sections = table(cache).into_iter().map(|(name, section)| {
            let place = section.origin().unwrap_or(file).to_owned();
            let entries = table(section).into_iter().map(|(key, value)| {
                let place = value.origin().unwrap_or(file).to_owned();
                let literal = place.strip_prefix(file).is_none_or(|line| !line.starts_with(':'));
                RawEntry { key, text: value.into_string().unwrap_or_default(), place, literal }
            });
            RawSection { name, place, entries: entries.collect() }
        });
        Self { sections: sections.collect() }
    }

    /// The section of that name.
    pub(crate) fn section(&self, name: &str) -> Option<&RawSection> {
        self.sections.iter().find(|section| section.name == name)
    }

    pub(crate) fn entry(&self, section: &str, key: &str) -> Option<&RawEntry> {
        self.section(section)?.entries.iter().find(|entry| entry.key == key)
    }
}

fn table(value: Value) -> Map<String, Value> {
    match value.kind {
        ValueKind::Table(table) => table,
        _ => Map::new(),
    }
}

/// Resolves references to the environment, to files and to sections.
pub(crate) struct Resolver<'a> {
    pub(crate) raw: &'a RawConfig,
    /// Looks an environment variable up.
    pub(crate) environment: &'a dyn Fn(&str) -> Option<String>,
    /// Reads a file with a secret.
    pub(crate) files: &'a dyn Fn(&str) -> Result<String, String>,
    /// Names of the sections to which a value of another section, or of a JSON file, referred so far.
    pub(crate) referred: RefCell<BTreeSet<String>>,
}

impl Resolver<'_> {
    /// The typed value of an entry.
    ///
    /// # Errors
    /// What is wrong with it, without quoting it.
    pub(crate) fn value(&self, section: &str, entry: &RawEntry) -> Result<serde_json::Value, String> {
        let (kind, text) = values::split_kind(&entry.text);
        let resolved = self.text(section, entry, text, &str::to_owned)?;
        if kind == Kind::List && sections::holds_keys(&entry.key) {
            let marked = self.text(section, entry, text, &|text| values::marked(text).to_owned())?;
            return values::keys(&resolved, &marked);
        }
        values::typed(kind, &resolved)
    }

    /// The text of an entry, with each value from a reference passed through `encode`.
    ///
    /// # Errors
    /// What is wrong with it, without quoting it.
    pub(crate) fn encoded(
        &self,
        section: &str,
        entry: &RawEntry,
        encode: &dyn Fn(&str) -> String,
    ) -> Result<String, String> {
        self.text(section, entry, &entry.text, encode)
    }

    /// Resolves a string of a JSON file.
    ///
    /// # Errors
    /// The reference that cannot be resolved.
    pub(crate) fn json_string(&self, text: &str) -> Result<String, String> {
        let walk = Walk { resolver: self, references: Cell::new(0) };
        walk.join(&interpolation::json_pieces(text), "", &mut Vec::new(), &str::to_owned)
    }

    fn text(
        &self,
        section: &str,
        entry: &RawEntry,
        text: &str,
        encode: &dyn Fn(&str) -> String,
    ) -> Result<String, String> {
        if entry.literal {
            return Ok(encode(text));
        }
        let walk = Walk { resolver: self, references: Cell::new(0) };
        let mut path = vec![(section.to_owned(), entry.key.clone())];
        walk.join(&interpolation::ini_pieces(text)?, section, &mut path, encode)
    }
}

/// One resolution, with a counter that bounds it.
struct Walk<'a> {
    resolver: &'a Resolver<'a>,
    references: Cell<usize>,
}

impl Walk<'_> {
    fn join(
        &self,
        pieces: &[Piece],
        section: &str,
        path: &mut Vec<(String, String)>,
        encode: &dyn Fn(&str) -> String,
    ) -> Result<String, String> {
        let mut joined = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => joined.push_str(text),
                Piece::Variable { name, default } => joined.push_str(&encode(&self.variable(name, default)?)),
                Piece::File(path) => joined.push_str(&encode(&(self.resolver.files)(path)?)),
                Piece::Reference { section: named, key } => {
                    let target = named.as_deref().unwrap_or(section);
                    joined.push_str(&encode(&self.reference(target, key, path)?));
                }
            }
            if joined.len() > MAX_LENGTH {
                return Err(format!("longer than {MAX_LENGTH} bytes after interpolation"));
            }
        }
        Ok(joined)
    }

    fn variable(&self, name: &str, default: &Option<String>) -> Result<String, String> {
        let found = (self.resolver.environment)(name);
        match (found, default) {
            // As in a shell, `:-` also applies to an empty variable.
            (Some(value), None) => Ok(value),
            (Some(value), Some(_)) if !value.is_empty() => Ok(value),
            (_, Some(default)) => Ok(default.clone()),
            (None, None) => Err(format!(
                "the environment variable {name} is not set (or not UTF-8); `${{ENV:{name}:-text}}` gives a default"
            )),
        }
    }

    fn reference(
        &self,
        section: &str,
        key: &str,
        path: &mut Vec<(String, String)>,
    ) -> Result<String, String> {
        self.references.set(self.references.get() + 1);
        if self.references.get() > MAX_REFERENCES {
            return Err(format!("more than {MAX_REFERENCES} references in one value"));
        }
        let step = (section.to_owned(), key.to_owned());
        if path.contains(&step) {
            let steps: Vec<String> =
                path.iter().chain([&step]).map(|(section, key)| format!("[{section}] {key}")).collect();
            return Err(format!("a cycle: {}", steps.join(" -> ")));
        }
        let entry = self.resolver.raw.entry(section, key).ok_or_else(|| {
            format!("`${{{section}:{key}}}` leads nowhere: there is no line `{key}` in [{section}]")
        })?;
        if path.last().is_none_or(|(from, _)| from != section) {
            self.resolver.referred.borrow_mut().insert(section.to_owned());
        }
        let (_, text) = values::split_kind(&entry.text);
        if entry.literal {
            return Ok(text.to_owned());
        }
        path.push(step);
        let pieces =
            interpolation::ini_pieces(text).map_err(|message| format!("in [{section}] {key}: {message}"))?;
        let joined = self.join(&pieces, section, path, &str::to_owned);
        path.pop();
        joined
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::layers::{Environment, IniFile, IniFormat, merged};

    fn raw(text: &str) -> RawConfig {
        let file = IniFile { name: "p.ini".into(), text: text.into(), format: IniFormat::default() };
        let variables = vec![("PSERVE_LITERAL_A".into(), "${s:x} $".into())];
        let environment = Environment { variables, sections: &["literal"] };
        RawConfig::from_layers(merged(&[&file, &environment]).unwrap(), "p.ini")
    }

    fn resolve(text: &str, section: &str, key: &str) -> Result<serde_json::Value, String> {
        let raw = raw(text);
        let environment = |name: &str| match name {
            "HOME" => Some("/home/me".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let files = &|path: &str| Ok(format!("<{path}>"));
        let resolver = Resolver { raw: &raw, environment: &environment, files, referred: RefCell::default() };
        resolver.value(section, raw.entry(section, key).unwrap())
    }

    #[test]
    fn references_are_followed() {
        let text = "[s]\na=<${b}>\nb=${T:C}!\n[t]\nc=${ENV:HOME}/${d}\nd=int:5\n";
        assert_eq!(resolve(text, "s", "a"), Ok(json!("</home/me/5!>")));
    }

    #[test]
    fn the_prefix_is_read_before_interpolation() {
        assert_eq!(resolve("[s]\na=list:${b} z\nb=x y\n", "s", "a"), Ok(json!(["x", "y", "z"])));
        assert_eq!(resolve("[s]\na=${b}\nb=$$list:x\n", "s", "a"), Ok(json!("$list:x")));
        assert_eq!(resolve("[s]\na=${ENV:V:-list:x y}\n", "s", "a"), Ok(json!("list:x y")));
    }

    #[test]
    fn a_key_that_comes_to_nothing_stays_in_its_list() {
        for (written, items) in [
            ("list:${ENV:EMPTY} ${ENV:HOME}", json!(["", "/home/me"])),
            ("list:x ${b}", json!(["x", ""])),
            ("list:${ENV:EMPTY}", json!([""])),
            ("list: x${ENV:EMPTY}  ${ENV:EMPTY}y\n  z", json!(["x", "y", "z"])),
            ("list:", json!([])),
        ] {
            let text = format!("[s]\napikey={written}\nother={written}\nb=\n");
            assert_eq!(resolve(&text, "s", "apikey"), Ok(items.clone()), "{written:?}");
            // Of what is no key, less may be meant.
            let there: Vec<_> = items.as_array().unwrap().iter().filter(|item| **item != "").collect();
            assert_eq!(resolve(&text, "s", "other"), Ok(json!(there)), "{written:?}");
        }
    }

    #[test]
    fn defaults_of_variables() {
        assert_eq!(resolve("[s]\na=${ENV:EMPTY:-d}${ENV:NONE:-e}${ENV:EMPTY}\n", "s", "a"), Ok(json!("de")));
        assert!(resolve("[s]\na=${ENV:NONE}\n", "s", "a").unwrap_err().contains("NONE is not set"));
    }

    #[test]
    fn files_are_read_where_they_are_named() {
        assert_eq!(
            resolve("[s]\na=list:${FILE:/new} ${b}\nb=${FILE:/old}\n", "s", "a"),
            Ok(json!(["</new>", "</old>"]))
        );
    }

    #[test]
    fn cycles_are_errors_and_name_the_way() {
        let message = resolve("[s]\na=${b}\nb=${t:c}\n[t]\nc=${s:a}\n", "s", "a").unwrap_err();
        assert_eq!(message, "a cycle: [s] a -> [s] b -> [t] c -> [s] a");
        assert!(resolve("[s]\na=x${a}\n", "s", "a").unwrap_err().contains("cycle"));
    }

    #[test]
    fn a_reference_that_leads_nowhere_is_an_error() {
        assert!(resolve("[s]\na=${t:b}\n", "s", "a").unwrap_err().contains("`${t:b}` leads nowhere"));
    }

    #[test]
    fn the_environment_layer_is_literal() {
        assert_eq!(resolve("[s]\na=${literal:a}\n", "s", "a"), Ok(json!("${s:x} $")));
    }

    #[test]
    fn doubling_references_end() {
        let mut text = "[s]\nk0=x\n".to_owned();
        for n in 1..40 {
            text.push_str(&format!("k{n}=${{k{m}}}${{k{m}}}\n", m = n - 1));
        }
        assert!(resolve(&text, "s", "k39").unwrap_err().contains("references"));
    }

    #[test]
    fn what_references_bring_in_is_encoded() {
        let raw = raw("[s]\na=x=${b}&y=1\nb=p&q\n");
        let files = &|_: &str| Err("none".into());
        let resolver = Resolver { raw: &raw, environment: &|_| None, files, referred: RefCell::default() };
        let encoded = resolver.encoded("s", raw.entry("s", "a").unwrap(), &|text| text.replace('&', "%26"));
        assert_eq!(encoded.as_deref(), Ok("x=p%26q&y=1"));
    }
}
