//! The pages of docs/ and the README, as Markdown: what the tests run, follow and build.

use std::collections::BTreeMap;
use std::fs;

use crate::reference::root;

/// A page, by its path from the root of the project.
pub struct Page {
    /// `docs/start.md`.
    pub path: String,
    /// All of it.
    pub text: String,
}

/// A fenced block of a page.
pub struct Block<'a> {
    /// The first line of what is in it, from 1.
    pub line: usize,
    /// The word behind the fence.
    pub language: &'a str,
    /// What is in it.
    pub text: String,
    /// Why it is not run, if a comment before it says so: `<!-- not run: REASON -->`.
    pub not_run: Option<&'a str>,
}

/// The README and every page of the book, in the order of their names.
///
/// # Panics
/// When they cannot be read.
pub fn all() -> Vec<Page> {
    let docs = fs::read_dir(root().join("docs")).expect("docs");
    let names = docs.map(|entry| entry.expect("a file").file_name().into_string().expect("a name"));
    let mut paths: Vec<String> =
        names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect();
    paths.push("README.md".into());
    paths.sort_unstable();
    paths.into_iter().map(|path| Page { text: read(&path), path }).collect()
}

/// A file of the project.
///
/// # Panics
/// When it cannot be read.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

impl Page {
    /// Its fenced blocks.
    ///
    /// # Panics
    /// When one has no end.
    pub fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks = Vec::new();
        let mut last = "";
        let mut lines = self.text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            if let Some(language) = line.strip_prefix("```") {
                let mut text = String::new();
                loop {
                    let (_, line) = lines.next().unwrap_or_else(|| panic!("{}:{at} has no end", self.path));
                    if line == "```" {
                        break;
                    }
                    text.push_str(line);
                    text.push('\n');
                }
                let reason = last.strip_prefix("<!-- not run: ").and_then(|rest| rest.strip_suffix(" -->"));
                blocks.push(Block { line: at + 2, language, text, not_run: reason });
                last = "";
            } else if !line.is_empty() {
                last = line;
            }
        }
        blocks
    }

    /// Its lines of text: those that are in no block.
    pub fn prose(&self) -> impl Iterator<Item = &str> {
        let mut is_code = false;
        self.text.lines().filter(move |line| {
            let is_fence = line.starts_with("```");
            is_code ^= is_fence;
            !is_code && !is_fence
        })
    }

    /// The names that its headings can be linked by, as mdBook and code hosts make them.
    pub fn anchors(&self) -> Vec<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let headings = self.prose().filter(|line| line.starts_with('#'));
        let anchors = headings.map(|line| {
            let name: String = line
                .trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter_map(|c| match c {
                    ' ' => Some('-'),
                    c if c.is_alphanumeric() || matches!(c, '-' | '_') => Some(c),
                    _ => None,
                })
                .collect();
            let times = seen.entry(name.clone()).or_default();
            *times += 1;
            if *times == 1 { name } else { format!("{name}-{}", *times - 1) }
        });
        anchors.collect()
    }

    /// Where its links and pictures lead.
    pub fn links(&self) -> Vec<String> {
        let mut links = Vec::new();
        for line in self.prose() {
            // What stands in backticks is code.
            let text: String = line.split('`').step_by(2).collect();
            for part in text.split("](").skip(1) {
                links.extend(part.split(')').next().map(str::to_owned));
            }
            for part in text.split(" src=\"").skip(1) {
                links.extend(part.split('"').next().map(str::to_owned));
            }
        }
        links
    }
}
