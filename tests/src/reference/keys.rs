//! The keys of a type, as its source says them.

use std::fs;
use std::path::Path;

/// One key of a configuration.
pub(super) struct Key {
    pub(super) name: String,
    /// Its Rust type, within `Option`.
    pub(super) of: String,
    pub(super) meaning: String,
    pub(super) default: String,
    /// What it may be, in the words of `pserve`.
    pub(super) values: String,
}

/// The fields of the struct `name` in the file, in their order.
///
/// # Panics
/// When there is none, or one without a meaning or a default.
pub(super) fn of(file: &Path, name: &str) -> Vec<Key> {
    let source = fs::read_to_string(file).expect("the source is there");
    let body = source.split(&format!("struct {name} {{\n")).nth(1).expect("the struct");
    let mut keys = Vec::new();
    let mut comment = Vec::new();
    for line in body.lines().take_while(|line| *line != "}").map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            comment.push(text.trim());
        } else if !line.starts_with("#[") {
            let visibilities = ["pub(crate) ", "pub(super) ", "pub "];
            let field =
                visibilities.iter().find_map(|visibility| line.strip_prefix(visibility)).unwrap_or(line);
            let (key, of) = field.split_once(": ").expect("a field");
            let text = comment.join(" ");
            let (meaning, default) = text.split_once("  Default: ").unwrap_or_else(|| {
                panic!("the comment of `{key}` does not end with a paragraph `Default: ...`")
            });
            keys.push(Key {
                name: key.to_owned(),
                of: of.trim_start_matches("Option<").trim_end_matches([',', '>']).to_owned(),
                meaning: meaning.trim_end_matches('.').to_owned(),
                default: default.trim_end_matches('.').to_owned(),
                values: String::new(),
            });
            comment.clear();
        }
    }
    keys
}

/// A table of keys, each with what stands before its name.
pub(super) fn table<'a>(keys: impl Iterator<Item = (String, &'a Key)>) -> String {
    let rows: String = keys.map(|(before, key)| key.row(&before)).collect();
    format!("| key | value | default | meaning |\n| --- | --- | --- | --- |\n{rows}")
}

impl Key {
    /// Adds what another store says of a key that several have. Where one says more than the other, that is all of it.
    ///
    /// # Panics
    /// When it is of another type there.
    pub(super) fn join(&mut self, other: Self) {
        assert_eq!(self.of, other.of, "the key `{}` is of two types", self.name);
        join(&mut self.meaning, &other.meaning, ". ");
        join(&mut self.default, &other.default, "; ");
    }

    fn row(&self, before: &str) -> String {
        let values = match self.choices() {
            Some(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
            None => self.values.clone(),
        };
        format!("| `{before}{}` | {values} | {} | {} |\n", self.name, self.default, linked(&self.meaning))
    }

    /// The words that it may be one of, if it is a choice.
    pub(super) fn choices(&self) -> Option<Vec<&str>> {
        let words: Vec<&str> = self.values.split(", ").flat_map(|part| part.split(" or ")).collect();
        let is_word =
            |word: &&str| word.bytes().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.'));
        (self.of == "String" && words.len() > 1 && words.iter().all(is_word)).then_some(words)
    }
}

fn join(text: &mut String, other: &str, between: &str) {
    if other.starts_with(text.as_str()) {
        *text = other.to_owned();
    } else if !text.starts_with(other) {
        *text = format!("{text}{between}{other}");
    }
}

/// Pages that the source names become links.
fn linked(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.strip_prefix("docs/") {
        Some(page) => format!("[{page}]({page})"),
        None => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}
