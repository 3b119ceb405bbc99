//! The grammar of the INI file: that of Python's `ConfigParser(interpolation=None)` in its strict mode.
//!
//! It only knows the grammar; the meaning of sections and keys is decided later. Differences from ConfigParser:
//! section names are case-insensitive too, and all errors of the file are reported, not only the first.

use std::collections::{HashMap, HashSet};

/// A parsed file: its sections in the order of the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// The sections, each once.
    pub sections: Vec<Section>,
}

/// One `[section]` and its entries.
#[derive(Debug, PartialEq, Eq)]
pub struct Section {
    /// The name in lower case.
    pub name: String,
    /// The line of the header, counted from 1.
    pub line: usize,
    /// The entries in the order of the file, each key once.
    pub entries: Vec<Entry>,
}

/// One `key = value`.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key in lower case.
    pub key: String,
    /// The value as written, its lines joined by `\n`; never unquoted or unescaped.
    pub value: String,
    /// The line of the key, counted from 1.
    pub line: usize,
    /// The line numbers of all further lines of the value.
    pub continued: Vec<usize>,
}

/// One line that is not INI. It never quotes the line, which may hold a secret.
#[derive(Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

/// Parses `text`; returns what could be parsed, and an error for everything else.
pub fn parse(text: &str) -> (Document, Vec<SyntaxError>) {
    let mut reader = Reader::default();
    for (index, line) in lines(text.strip_prefix('\u{feff}').unwrap_or(text)).enumerate() {
        reader.line(index + 1, line);
    }
    reader.finish()
}

/// A value that is being parsed.
struct Open {
    lines: Vec<String>,
    /// The line numbers of its further lines.
    continued: Vec<usize>,
}

impl Open {
    fn push(&mut self, number: usize, line: &str) {
        self.lines.push(line.to_owned());
        self.continued.push(number);
    }
}

#[derive(Default)]
struct Reader {
    sections: Vec<Section>,
    errors: Vec<SyntaxError>,
    /// The line where each section name was first seen.
    section_lines: HashMap<String, usize>,
    keys: HashSet<(String, String)>,
    /// The value that is being parsed; `None` before the first key of a section.
    open: Option<Open>,
    indentation: usize,
    /// Lines before the first header are reported once, not one by one.
    reported_headerless: bool,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) {
        let content = trim(line);
        if content.starts_with(['#', ';']) {
            return;
        }
        if content.is_empty() {
            if let Some(value) = &mut self.open {
                value.push(number, "");
            }
            return;
        }
        let indentation = line.chars().take_while(|c| is_space(*c)).count();
        if indentation > self.indentation
            && let Some(value) = &mut self.open
        {
            value.push(number, content);
            return;
        }
        self.indentation = indentation;
        if let Some(name) = header(content) {
            self.section(number, name);
        } else if self.sections.is_empty() {
            if !self.reported_headerless {
                self.error(number, "a line before the first `[section]` header".into());
            }
            self.reported_headerless = true;
        } else {
            self.entry(number, content);
        }
    }

    fn section(&mut self, line: usize, name: &str) {
        self.close();
        let name = name.to_lowercase();
        if let Some(first) = self.section_lines.get(&name) {
            self.error(line, format!("section [{name}] is already there, at line {first}"));
        } else {
            self.section_lines.insert(name.clone(), line);
        }
        self.sections.push(Section { name, line, entries: Vec::new() });
    }

    fn entry(&mut self, line: usize, content: &str) {
        let Some(delimiter) = content.find(['=', ':']) else {
            self.error(line, "neither a `[section]` header nor `key=value`".into());
            return;
        };
        self.close();
        let key = trim(&content[..delimiter]).to_lowercase();
        if key.is_empty() {
            self.error(line, "a value without a key".into());
            return;
        }
        let Some(section) = self.sections.last_mut() else { return };
        let value = trim(&content[delimiter + 1..]).to_owned();
        self.open = Some(Open { lines: vec![value], continued: Vec::new() });
        let duplicate = !self.keys.insert((section.name.clone(), key.clone()));
        let message = format!("key `{key}` is already there in [{}]", section.name);
        section.entries.push(Entry { key, value: String::new(), line, continued: Vec::new() });
        if duplicate {
            self.error(line, message);
        }
    }

    /// Ends the current value: ConfigParser joins its lines and drops trailing white space.
    fn close(&mut self) {
        if let Some(Open { lines, continued }) = self.open.take()
            && let Some(entry) = self.sections.last_mut().and_then(|section| section.entries.last_mut())
        {
            entry.value = lines.join("\n").trim_end_matches(is_space).to_owned();
            entry.continued = continued;
        }
    }

    fn error(&mut self, line: usize, message: String) {
        self.errors.push(SyntaxError { line, message });
    }

    fn finish(mut self) -> (Document, Vec<SyntaxError>) {
        self.close();
        (Document { sections: self.sections }, self.errors)
    }
}

/// The name in `[name]`. Like in ConfigParser it ends at the last `]`, and the rest is ignored.
fn header(content: &str) -> Option<&str> {
    let rest = content.strip_prefix('[')?;
    let end = rest.rfind(']')?;
    (end > 0).then(|| &rest[..end])
}

/// Lines as in Python's universal newlines: only `\n`, `\r\n` and a lone `\r` end a line.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        match text.find(['\n', '\r']) {
            None => (!text.is_empty()).then_some(text),
            Some(end) => {
                let skip = if text[end..].starts_with("\r\n") { 2 } else { 1 };
                rest = Some(&text[end + skip..]);
                Some(&text[..end])
            }
        }
    })
}

/// White space as Python's `str.strip` sees it: Unicode's, and the four separators U+001C to U+001F.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, Vec<(String, String)>)> {
        let (document, errors) = parse(text);
        assert_eq!(errors, []);
        document
            .sections
            .into_iter()
            .map(|section| {
                (section.name, section.entries.into_iter().map(|entry| (entry.key, entry.value)).collect())
            })
            .collect()
    }

    fn entries(text: &str) -> Vec<(String, String)> {
        read(text).into_iter().flat_map(|(_, entries)| entries).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    fn messages(text: &str) -> Vec<String> {
        parse(text).1.into_iter().map(|error| format!("{}: {}", error.line, error.message)).collect()
    }

    #[test]
    fn both_delimiters_and_the_first_one_counts() {
        let text = "[s]\na=1\nb: 2\nc = x=y:z\nd : json=f.json\ne=\n";
        let expected = [("a", "1"), ("b", "2"), ("c", "x=y:z"), ("d", "json=f.json"), ("e", "")];
        assert_eq!(entries(text), pairs(&expected));
    }

    #[test]
    fn names_and_keys_are_case_insensitive() {
        assert_eq!(read("[NetWork]\nPort=1\n"), [("network".to_owned(), pairs(&[("port", "1")]))]);
    }

    #[test]
    fn full_line_comments_only() {
        let text = "# one\n  ; two\n[s] # ignored\na=1 # part of the value\n";
        assert_eq!(entries(text), pairs(&[("a", "1 # part of the value")]));
    }

    #[test]
    fn continuation_lines_by_deeper_indentation() {
        let text = "[s]\n  a = 1\n    2\n   3\n  b = 4\n c=5\n";
        assert_eq!(entries(text), pairs(&[("a", "1\n2\n3"), ("b", "4"), ("c", "5")]));
    }

    #[test]
    fn blank_lines_belong_to_the_value_and_comments_do_not() {
        let text = "[s]\na = 1\n\n   # comment\n  2\n\n\nb = 3\n";
        assert_eq!(entries(text), pairs(&[("a", "1\n\n2"), ("b", "3")]));
    }

    #[test]
    fn a_section_does_not_start_with_a_continuation_line() {
        let text = "[s]\na=1\n[t]\n  b=2\n";
        assert_eq!(entries(text), pairs(&[("a", "1"), ("b", "2")]));
    }

    #[test]
    fn the_header_reaches_to_the_last_bracket() {
        assert_eq!(read("[a]b] tail\n")[0].0, "a]b");
    }

    #[test]
    fn byte_order_mark_and_all_line_ends() {
        assert_eq!(entries("\u{feff}[s]\r\na=1\rb=2\nc=3"), pairs(&[("a", "1"), ("b", "2"), ("c", "3")]));
    }

    #[test]
    fn python_white_space_is_stripped() {
        assert_eq!(entries("[s]\na\u{a0}=\u{1f}1\u{3000}\n"), pairs(&[("a", "1")]));
    }

    #[test]
    fn every_error_is_reported_with_its_line_and_without_the_text() {
        let text = "lost\nalso=lost\n[s]\nno delimiter\na=1\nA=2\n=3\n[S]\n[]\n";
        assert_eq!(
            messages(text),
            [
                "1: a line before the first `[section]` header",
                "4: neither a `[section]` header nor `key=value`",
                "6: key `a` is already there in [s]",
                "7: a value without a key",
                "8: section [s] is already there, at line 3",
                "9: neither a `[section]` header nor `key=value`",
            ]
        );
    }
}
