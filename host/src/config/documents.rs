//! `documents`, in `[paths]` or `[file_server]`: a folder whose files are served. It stands for parameters of the instance
//! `files`.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::plugin_parms::{Meant, Source};
use super::problem::Problem;
use super::raw::{RawConfig, RawEntry};
use super::sections::{FILE_SERVER, FileServerSection, PathsSection};

/// The plugin that serves files, and the instance of it that `documents` describes.
pub(crate) const FILES: &str = "files";

/// Keys that configure how another host shows Markdown. They have no effect here.
const MARKDOWN: [&str; 4] = ["highlight_css", "log_includes", "markdown_css", "markdown_envelope"];

/// Takes the keys about Markdown away; returns a warning for each.
pub(super) fn take_markdown(raw: &mut RawConfig) -> Vec<Problem> {
    let Some(section) = raw.sections.iter_mut().find(|section| section.name == FILE_SERVER) else {
        return Vec::new();
    };
    let is_markdown = |entry: &RawEntry| MARKDOWN.contains(&entry.key.as_str());
    let message = "it has no effect: Markdown files are sent as they are";
    let told = section.entries.iter().filter(|entry| is_markdown(entry));
    let told = told.map(|entry| Problem::with_key(&entry.place, FILE_SERVER, &entry.key, message)).collect();
    section.entries.retain(|entry| !is_markdown(entry));
    told
}

/// What the keys mean, and what is wrong with them.
#[derive(Default)]
pub(super) struct Documents {
    /// The parameters of the instance, if there are documents.
    pub(super) meant: Option<Meant>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

/// Reads the keys of both sections. `path` makes the value of a key of a section absolute.
pub(super) fn read(
    raw: &RawConfig,
    paths: &PathsSection,
    file_server: &FileServerSection,
    path: &dyn Fn(&str, &str, &str) -> PathBuf,
) -> Documents {
    let mut read = Documents::default();
    let documents = read.either(raw, "documents", &paths.documents, &file_server.documents);
    let indexfile = read.either(raw, "indexfile", &paths.indexfile, &file_server.indexfile);
    let common_log = read.either(raw, "common_log", &None, &file_server.common_log);
    let Some((source, written)) = documents else {
        for (source, _) in indexfile.into_iter().chain(common_log) {
            read.warnings.push(source.problem("it has no effect without `documents`"));
        }
        return read;
    };
    let (route, folder) = match written.split_once(':') {
        Some((route, folder)) => (route.to_owned(), folder),
        None => (last_name(&written), written.as_str()),
    };
    if folder.is_empty() || route.is_empty() {
        read.problems.push(source.problem("expected a folder, or `path:folder` to serve it below that path"));
        return read;
    }
    let text =
        |section: &str, key: &str, written: &str| Value::from(path(section, key, written).to_string_lossy());
    let mut parameters = Map::new();
    parameters.insert("route_path".to_owned(), route.into());
    parameters.insert("documents".to_owned(), text(&source.section, &source.key, folder));
    if let Some((_, name)) = indexfile {
        parameters.insert("indexfile".to_owned(), name.into());
    }
    if let Some((source, file)) = common_log {
        parameters.insert("common_log".to_owned(), text(&source.section, &source.key, &file));
    }
    read.meant = Some(Meant { source, parameters });
    read
}

impl Documents {
    /// The value of a key that two sections have.
    fn either(
        &mut self,
        raw: &RawConfig,
        key: &str,
        in_paths: &Option<String>,
        in_file_server: &Option<String>,
    ) -> Option<(Source, String)> {
        let source = |section: &str| Source {
            place: raw.entry(section, key).map(|entry| entry.place.clone()).unwrap_or_default(),
            section: section.to_owned(),
            key: key.to_owned(),
        };
        match (in_paths, in_file_server) {
            (Some(_), Some(_)) => {
                let there = source("paths").place;
                let message = format!("it is in [paths], too, at {there}; write it once");
                self.problems.push(source(FILE_SERVER).problem(message));
                None
            }
            (Some(value), None) => Some((source("paths"), value.clone())),
            (None, Some(value)) => Some((source(FILE_SERVER), value.clone())),
            (None, None) => None,
        }
    }
}

/// The name of a folder without those above it.
fn last_name(folder: &str) -> String {
    Path::new(folder).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
