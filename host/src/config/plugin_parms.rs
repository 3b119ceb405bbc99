//! `[plugin_parms]`: one line per instance, `name=json=file.json` or `name=key=value&key=value`.
//!
//! An error in the line itself is an error of the configuration. An error in the instance's own parameters, which a
//! JSON file may hold, fails only that instance: the others serve.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};

use super::json5;
use super::permission::{Permission, permissions};
use super::problem::Problem;
use super::raw::{RawEntry, Resolver};
use super::secret::{ApiKey, ApiKeys, Parameters};
use super::sections::{HostKeys, KEYS, PLUGIN_PARMS};
use super::values::{self, Kind};
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

/// Who may call an instance, according to its own parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthType {
    /// Not configured: the `[auth]` key if there is one.
    Default,
    /// The `[auth]` key.
    Global,
    /// Its own keys.
    Plugin(ApiKeys),
    /// A live session of this instance; of the only one that keeps sessions if none is named.
    Session(Option<String>),
    /// Everybody.
    None,
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
pub fn without_line(plugin: &str) -> InstanceConfig {
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

/// Parses one line. The outer error is about the line, the inner one about the instance's parameters.
pub(crate) fn read_line(
    entry: &RawEntry,
    resolver: &Resolver<'_>,
    folders: &Folders<'_>,
    has_global_key: bool,
) -> Result<InstanceLine, Vec<Problem>> {
    let of_line = |message: String| vec![Problem::with_key(&entry.place, PLUGIN_PARMS, &entry.key, message)];
    if !is_mountable(&entry.key) {
        return Err(of_line("an instance's name may hold letters, digits, `-`, `_` and `.`".into()));
    }
    let line = Line::read(entry, resolver).map_err(of_line)?;
    let own = line.parameters.iter().filter(|(key, _)| is_host_key(key));
    // The host's keys on the line are checked separately from the file's, so that the message names the right place.
    let on_line: Map<_, _> = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    settings::read::<HostKeys>(&on_line).map_err(|found| {
        found
            .into_iter()
            .flat_map(|problem| of_line(format!("{}: {}", problem.key, problem.message)))
            .collect::<Vec<_>>()
    })?;
    let json_files = line.file.as_deref().map(|file| folders.places_of(file)).unwrap_or_default();
    let config = parameters(line, &entry.place, resolver, folders)
        .and_then(|parameters| instance(entry, parameters, has_global_key).map_err(of_line));
    Ok(InstanceLine { name: entry.key.clone(), json_files, config })
}

/// A parsed line.
struct Line {
    file: Option<String>,
    parameters: Map<String, Value>,
}

impl Line {
    fn read(entry: &RawEntry, resolver: &Resolver<'_>) -> Result<Self, String> {
        // Parsed before references are replaced, and values from references are encoded: a password from the
        // environment that contains `&` or `=` must not become another parameter.
        let (file_first, rest) = match entry.text.get(..5) {
            Some("json=" | "json:") => (true, 5),
            _ => (false, 0),
        };
        let resolved = |encode: &dyn Fn(&str) -> String| match entry.literal {
            true => Ok(entry.text.clone()),
            false => resolver.encoded(PLUGIN_PARMS, entry, encode),
        };
        let text = resolved(&encode)?;
        let marked = resolved(&|text| encode(values::marked(text)))?;
        let mut line = Self { file: None, parameters: Map::new() };
        let [text, marked] = [&text, &marked].map(|text| text.get(rest..).unwrap_or_default());
        for (index, (pair, marked)) in text.split('&').zip(marked.split('&')).enumerate() {
            if file_first && index == 0 {
                line.file = Some(decode(pair.trim())?);
                continue;
            }
            if pair.trim().is_empty() {
                continue;
            }
            let (key, value) = pair.split_once('=').ok_or("expected `key=value` pairs joined by `&`")?;
            let key = decode(key.trim())?;
            if key == "json" {
                if line.file.replace(decode(value)?).is_some() {
                    return Err("`json=` is there twice".into());
                }
                continue;
            }
            let (kind, text) = values::split_kind(value);
            let value = match marked.split_once('=').map(|(_, value)| values::split_kind(value)) {
                Some((Kind::List, marked)) if key == KEYS => values::keys(&decode(text)?, &decode(marked)?),
                _ => values::typed(kind, &decode(text)?),
            };
            let value = value.map_err(|message| format!("{key}: {message}"))?;
            if line.parameters.insert(key.clone(), value).is_some() {
                return Err(format!("`{key}` is there twice"));
            }
        }
        match &line.file {
            Some(file) if file.is_empty() => Err("`json=` without a file name".into()),
            Some(file) if settings::text::flaw(file).is_some() => {
                Err(format!("`json=`: {}", settings::text::flaw(file).unwrap_or_default()))
            }
            Some(_) => match line.parameters.keys().find(|key| !is_host_key(key)) {
                Some(key) => Err(format!(
                    "`{key}` belongs into the JSON file; {} may stand beside `json=`",
                    host_keys()
                )),
                None => Ok(line),
            },
            None => Ok(line),
        }
    }
}

/// All parameters of the instance: those of its file, and those of its line.
fn parameters(
    line: Line,
    place: &str,
    resolver: &Resolver<'_>,
    folders: &Folders<'_>,
) -> Result<Map<String, Value>, Vec<Problem>> {
    let Some(file) = line.file else { return Ok(line.parameters) };
    let (path, text) = read_file(&file, folders).map_err(|message| vec![Problem::at(place, message)])?;
    let name = path.display().to_string();
    let mut object = json(&text, resolver).map_err(|messages| {
        messages.into_iter().map(|message| Problem::at(&name, message)).collect::<Vec<_>>()
    })?;
    for (key, value) in line.parameters {
        if object.insert(key.clone(), value).is_some() {
            return Err(vec![Problem::at(
                place,
                format!("`{key}` is there twice: on the line and in {name}"),
            )]);
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

fn instance(
    entry: &RawEntry,
    parameters: Map<String, Value>,
    has_global_key: bool,
) -> Result<InstanceConfig, String> {
    let (own, rest): (Map<_, _>, Map<_, _>) = parameters.into_iter().partition(|(key, _)| is_host_key(key));
    for (key, value) in &own {
        values::check_seen(value).map_err(|message| format!("{key}: {message}"))?;
    }
    let own = settings::read::<HostKeys>(&own)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let auth = auth_type(&own, has_global_key)?;
    let calls = own.calls.as_ref().map(|calls| permissions(&calls.0)).transpose();
    let calls = calls.map_err(|message| format!("calls: {message}"))?.unwrap_or_default();
    Ok(InstanceConfig {
        name: entry.key.clone(),
        place: entry.place.clone(),
        plugin: own.plugin.unwrap_or_else(|| entry.key.clone()).to_lowercase(),
        mount: match own.route_path {
            Some(path) => mount(&path)?,
            None => format!("/{}", entry.key),
        },
        auth,
        calls: calls.into(),
        sha256: own.sha256.as_deref().map(sha256).transpose()?,
        parameters: Parameters::new(&rest),
    })
}

fn auth_type(own: &HostKeys, has_global_key: bool) -> Result<AuthType, String> {
    let keys = own.apikey.as_ref().map(|keys| api_keys(&keys.0)).transpose();
    let keys = keys.map_err(|message| format!("apikey: {message}"))?;
    let auth = match (own.auth_type.as_deref().map(str::to_ascii_lowercase).as_deref(), &keys) {
        (None, None) => AuthType::Default,
        // With a key, `plugin` is the default: a key that is never checked would give false security.
        (None | Some("plugin"), Some(keys)) => AuthType::Plugin(keys.clone()),
        (Some("plugin"), None) => return Err("auth_type=plugin needs an `apikey` of the instance".into()),
        (Some("global"), _) if !has_global_key => {
            return Err("auth_type=global needs `apikey` in [auth]".into());
        }
        (Some("global"), _) => AuthType::Global,
        (Some("none"), _) => AuthType::None,
        (Some("session"), _) => AuthType::Session(own.session_plugin.as_deref().map(str::to_lowercase)),
        (Some(_), _) => return Err("auth_type: expected global, plugin, session or none".into()),
    };
    if keys.is_some() && !matches!(auth, AuthType::Plugin(_)) {
        return Err("`apikey` counts only with auth_type=plugin".into());
    }
    if own.session_plugin.is_some() && !matches!(auth, AuthType::Session(_)) {
        return Err("`session_plugin` counts only with auth_type=session".into());
    }
    Ok(auth)
}

fn sha256(written: &str) -> Result<String, String> {
    let written = written.trim().to_ascii_lowercase();
    let is_digest = written.len() == 64 && written.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then_some(written).ok_or_else(|| "sha256: expected 64 hexadecimal digits".into())
}

/// Converts configured keys.
///
/// # Errors
/// There is no key, an empty one, or one that cannot be sent in a header.
pub(crate) fn api_keys(written: &[String]) -> Result<ApiKeys, String> {
    if written.is_empty() {
        return Err("an empty list would lock everybody out; leave the key away instead".into());
    }
    for (at, key) in written.iter().enumerate() {
        if key.is_empty() {
            return Err(match written.len() {
                1 => "an empty key".into(),
                count => {
                    format!("an empty key, number {} of {count}: its variable or file holds nothing", at + 1)
                }
            });
        }
        if key.chars().any(char::is_control) || key.trim() != key {
            return Err("white space around it, or a control character in it".into());
        }
    }
    Ok(ApiKeys(written.iter().map(|key| ApiKey::new(key)).collect()))
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

fn is_host_key(key: &str) -> bool {
    settings::known_keys::<HostKeys>().contains(&key)
}

fn host_keys() -> String {
    settings::known_keys::<HostKeys>().join(", ")
}

/// Decodes form encoding, as in query strings: `+` is a space.
fn decode(text: &str) -> Result<String, String> {
    let text = text.replace('+', " ");
    match percent_decode_str(&text).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err("percent-encoding that is not UTF-8".into()),
    }
}

fn encode(text: &str) -> String {
    const RESERVED: &AsciiSet = &CONTROLS.add(b'%').add(b'&').add(b'=').add(b'+').add(b':').add(b' ');
    utf8_percent_encode(text, RESERVED).to_string()
}
