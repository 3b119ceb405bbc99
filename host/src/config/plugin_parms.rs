//! The instances: a line of `[plugin_parms]` each, or a section of the instance's name, or both.
//!
//! An error in the INI file itself is an error of the configuration. An error in the instance's own parameters, which a
//! JSON file may hold, fails only that instance: the others serve.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::auth_type::{AuthType, auth_type};
use super::json5;
use super::line::{Line, check_file};
use super::permission::{Permission, permissions};
use super::problem::Problem;
use super::raw::{RawEntry, RawSection, Resolver};
use super::secret::Parameters;
use super::sections::{HostKeys, JSON, KEYS, PLUGIN_PARMS, is_host_key};
use super::values;
use crate::trust;

/// The host's part of an instance's parameters, and the rest for the plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceConfig {
    /// The instance's name, in lower case.
    pub name: String,
    /// Its place in the file, for messages.
    pub place: String,
    /// The plugin's name.
    pub plugin: String,
    /// Where its routes are mounted: begins with `/`, does not end with it; empty for the root.
    pub mount: String,
    /// Who may call it.
    pub auth: AuthType,
    /// The instances that it may call.
    pub calls: Arc<[Permission]>,
    /// SHA-256 that the plugin's file must have, in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// The parameters for the plugin.
    pub parameters: Parameters,
}

/// An instance, or why its parameters are invalid.
#[derive(Debug, Clone)]
pub struct InstanceLine {
    /// The instance's name, in lower case.
    pub name: String,
    /// Where its JSON file is looked for, in this order; empty if the line names none.
    pub json_files: Vec<PathBuf>,
    /// The instance, or the errors.
    pub config: Result<InstanceConfig, Vec<Problem>>,
}

/// The directories in which JSON files are searched, in this order.
pub(crate) struct Folders<'a> {
    pub(crate) beside_ini: &'a Path,
    pub(crate) plugins: &'a Path,
}

impl Folders<'_> {
    /// Where a JSON file of this name may be.
    fn places_of(&self, name: &str) -> Vec<PathBuf> {
        let mut places = [self.beside_ini, self.plugins].map(|folder| folder.join(name)).to_vec();
        places.dedup();
        places
    }
}

/// An instance without a line.
pub(super) fn without_line(plugin: &str) -> InstanceConfig {
    let name = plugin.to_lowercase();
    InstanceConfig {
        mount: format!("/{name}"),
        place: format!("plugin {plugin}"),
        plugin: plugin.to_owned(),
        auth: AuthType::Default,
        calls: Arc::default(),
        sha256: None,
        parameters: Parameters::new(&Map::new()),
        name,
    }
}

/// Parameters that a key of another section stands for, with the place of that key.
pub(crate) struct Meant {
    pub(crate) source: Source,
    pub(crate) parameters: Map<String, Value>,
}

/// All that the INI file says of one instance.
pub(crate) struct Written<'a> {
    pub(crate) name: &'a str,
    /// Its line in `[plugin_parms]`.
    pub(crate) line: Option<&'a RawEntry>,
    /// The section of its name.
    pub(crate) section: Option<&'a RawSection>,
    pub(crate) meant: Option<&'a Meant>,
}

/// Where a parameter is written.
#[derive(Clone)]
pub(crate) struct Source {
    /// `file:line`, or the environment variable.
    pub(crate) place: String,
    pub(crate) section: String,
    pub(crate) key: String,
}

impl Source {
    /// A problem at this place.
    pub(crate) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::with_key(&self.place, &self.section, &self.key, message)
    }
}

/// The parameters of an instance that are in the INI file, each with its place.
#[derive(Default)]
struct Gathered(Vec<(String, Value, Source)>);

impl Gathered {
    fn add(&mut self, key: String, value: Value, source: Source) -> Result<(), Problem> {
        if let Some((_, _, first)) = self.0.iter().find(|(known, _, _)| *known == key) {
            let Source { place, section, key: at } = first;
            let message = format!("`{key}` is there twice: also at {place}, [{section}] {at}; write it once");
            return Err(source.problem(message));
        }
        self.0.push((key, value, source));
        Ok(())
    }

    fn take_file(&mut self) -> Option<(String, Source)> {
        let at = self.0.iter().position(|(key, _, _)| key == JSON)?;
        let (_, file, source) = self.0.remove(at);
        Some((file.as_str().unwrap_or_default().to_owned(), source))
    }

    /// The host's keys are checked apart from those of a JSON file, so that the message names the right place.
    fn check_host_keys(&self) -> Result<(), Vec<Problem>> {
        let own = self.0.iter().filter(|(key, _, _)| is_host_key(key));
        let own: Map<_, _> = own.map(|(key, value, _)| (key.clone(), value.clone())).collect();
        settings::read::<HostKeys>(&own).map(drop).map_err(|found| {
            let problem = |problem: settings::Problem| {
                let (_, _, source) = self.0.iter().find(|(key, _, _)| *key == problem.key)?;
                Some(source.problem(format!("{}: {}", problem.key, problem.message)))
            };
            found.into_iter().filter_map(problem).collect()
        })
    }
}

impl Written<'_> {
    /// Reads the instance. The outer error is about what is in the INI file, the inner one about the instance's
    /// parameters.
    pub(crate) fn read(
        &self,
        resolver: &Resolver<'_>,
        folders: &Folders<'_>,
        has_global_key: bool,
    ) -> Result<InstanceLine, Vec<Problem>> {
        let source = self.source();
        if !is_mountable(self.name) {
            let message = "an instance's name may hold letters, digits, `-`, `_` and `.`";
            return Err(vec![source.problem(message)]);
        }
        let mut gathered = self.gather(resolver)?;
        let file = gathered.take_file();
        let json_files = file.as_ref().map(|(file, _)| folders.places_of(file)).unwrap_or_default();
        gathered.check_host_keys()?;
        let of_instance = |message: String| vec![source.problem(message)];
        let config = parameters(gathered, file, resolver, folders).and_then(|mut parameters| {
            let is_guarded = ["auth", "auth_type", KEYS].iter().any(|key| parameters.contains_key(*key));
            if self.meant.is_some() && !is_guarded {
                parameters.insert("auth_type".to_owned(), "none".into());
            }
            self.instance(&source.place, parameters, has_global_key).map_err(of_instance)
        });
        Ok(InstanceLine { name: self.name.to_owned(), json_files, config })
    }

    /// The place that messages about the instance as a whole name.
    fn source(&self) -> Source {
        let of = |place: &str, section: &str, key: &str| Source {
            place: place.to_owned(),
            section: section.to_owned(),
            key: key.to_owned(),
        };
        match (self.line, self.section, self.meant) {
            (Some(line), _, _) => of(&line.place, PLUGIN_PARMS, &line.key),
            (None, _, Some(meant)) => meant.source.clone(),
            (None, Some(section), None) => of(&section.place, &section.name, ""),
            (None, None, None) => of("", PLUGIN_PARMS, self.name),
        }
    }

    fn gather(&self, resolver: &Resolver<'_>) -> Result<Gathered, Vec<Problem>> {
        let mut gathered = Gathered::default();
        let mut problems = Vec::new();
        if let Some(entry) = self.line {
            let source = self.source();
            match Line::read(entry, resolver) {
                Ok(Line { file, parameters }) => {
                    let file = file.map(|file| (JSON.to_owned(), Value::from(file)));
                    for (key, value) in file.into_iter().chain(parameters) {
                        problems.extend(gathered.add(key, value, source.clone()).err());
                    }
                }
                Err(message) => problems.push(source.problem(message)),
            }
        }
        if let Some(meant) = self.meant {
            for (key, value) in &meant.parameters {
                problems.extend(gathered.add(key.clone(), value.clone(), meant.source.clone()).err());
            }
        }
        for (section, entry) in
            self.section.into_iter().flat_map(|of| of.entries.iter().map(move |at| (of, at)))
        {
            let source =
                Source { place: entry.place.clone(), section: section.name.clone(), key: entry.key.clone() };
            let read = resolver.value(&source.section, entry);
            let read = read.and_then(|value| match value.as_str() {
                Some(file) if entry.key == JSON => check_file(file).map(|()| value),
                _ => Ok(value),
            });
            match read {
                Ok(value) => problems.extend(gathered.add(entry.key.clone(), value, source).err()),
                Err(message) => problems.push(source.problem(message)),
            }
        }
        if problems.is_empty() { Ok(gathered) } else { Err(problems) }
    }

    fn instance(
        &self,
        place: &str,
        parameters: Map<String, Value>,
        has_global_key: bool,
    ) -> Result<InstanceConfig, String> {
        let (own, rest): (Map<_, _>, Map<_, _>) =
            parameters.into_iter().partition(|(key, _)| is_host_key(key));
        for (key, value) in &own {
            values::check_seen(value).map_err(|message| format!("{key}: {message}"))?;
        }
        let own = settings::read::<HostKeys>(&own)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        let auth = auth_type(&own, has_global_key)?;
        let calls = own.calls.as_ref().map(|calls| permissions(&calls.0)).transpose();
        let calls = calls.map_err(|message| format!("calls: {message}"))?.unwrap_or_default();
        Ok(InstanceConfig {
            name: self.name.to_owned(),
            place: place.to_owned(),
            plugin: own.plugin.unwrap_or_else(|| self.name.to_owned()).to_lowercase(),
            mount: match own.route_path {
                Some(path) => mount(&path)?,
                None => format!("/{}", self.name),
            },
            auth,
            calls: calls.into(),
            sha256: own.sha256.as_deref().map(sha256).transpose()?,
            parameters: Parameters::new(&rest),
        })
    }
}

/// All parameters of the instance: those of its JSON file, and those of the INI file.
fn parameters(
    gathered: Gathered,
    file: Option<(String, Source)>,
    resolver: &Resolver<'_>,
    folders: &Folders<'_>,
) -> Result<Map<String, Value>, Vec<Problem>> {
    let (mut object, name) = match file {
        None => (Map::new(), String::new()),
        Some((file, source)) => {
            let (path, text) =
                read_file(&file, folders).map_err(|message| vec![Problem::at(source.place, message)])?;
            let name = path.display().to_string();
            let object = json(&text, resolver).map_err(|messages| {
                messages.into_iter().map(|message| Problem::at(&name, message)).collect::<Vec<_>>()
            })?;
            (object, name)
        }
    };
    for (key, value, source) in gathered.0 {
        if object.insert(key.clone(), value).is_some() {
            return Err(vec![
                source.problem(format!("`{key}` is there twice: also in {name}; write it once")),
            ]);
        }
    }
    Ok(object)
}

/// Parses the text of a JSON file, and replaces its references.
///
/// # Errors
/// One message for each error.
pub(crate) fn json(text: &str, resolver: &Resolver<'_>) -> Result<Map<String, Value>, Vec<String>> {
    let mut object = json5::object(text).map_err(|message| vec![message])?;
    json5::replace_strings(&mut object, &|text| resolver.json_string(text))?;
    Ok(object)
}

fn read_file(name: &str, folders: &Folders<'_>) -> Result<(PathBuf, String), String> {
    let mut missing = Vec::new();
    for path in folders.places_of(name) {
        match trust::read(&path) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => return Ok((path, text)),
                Err(_) => return Err(format!("{} is not UTF-8", path.display())),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                missing.push(path.display().to_string());
            }
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        }
    }
    Err(format!("there is no file {}", missing.join(" nor ")))
}

fn sha256(written: &str) -> Result<String, String> {
    let written = written.trim().to_ascii_lowercase();
    let is_digest = written.len() == 64 && written.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then_some(written).ok_or_else(|| "sha256: expected 64 hexadecimal digits".into())
}

/// A mount path in normal form: `/a/b`, and empty for the root.
fn mount(path: &str) -> Result<String, String> {
    let trimmed = path.trim().trim_matches('/');
    if trimmed.is_empty() {
        return Ok(String::new());
    }
    if trimmed.split('/').all(|segment| is_mountable(segment) && segment != "." && segment != "..") {
        Ok(format!("/{trimmed}"))
    } else {
        Err("route_path: expected a path like `/api/sessions` of letters, digits, `-`, `_` and `.`".into())
    }
}

fn is_mountable(segment: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !segment.is_empty() && segment.chars().all(allowed) && segment.chars().any(|c| c != '.')
}
