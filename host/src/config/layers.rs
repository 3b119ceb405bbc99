//! The layers of the configuration as sources of the `config` crate: the INI file, overridden by the environment.
//!
//! Each value carries its origin, so that a later error can name file and line.

use std::error::Error;
use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};

use config::{Format, Map, Source, Value, ValueKind};

use super::{ini, swallowed};

/// The INI grammar as a format of the `config` crate.
///
/// Syntax errors are collected separately instead of failing the format: a `Format` that fails yields nothing, and
/// then a missing bracket would hide every other error of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct IniFormat {
    errors: Arc<Mutex<Vec<ini::SyntaxError>>>,
}

impl IniFormat {
    /// The syntax errors of all texts parsed so far.
    pub(crate) fn take_errors(&self) -> Vec<ini::SyntaxError> {
        std::mem::take(&mut *self.errors.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Format for IniFormat {
    fn parse(
        &self,
        uri: Option<&String>,
        text: &str,
    ) -> Result<Map<String, Value>, Box<dyn Error + Send + Sync>> {
        let (document, mut errors) = ini::parse(text);
        errors.extend(swallowed::find(&document));
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).extend(errors);
        let origin = |line: usize| uri.map(|name| format!("{name}:{line}"));
        let mut sections = Map::new();
        for section in document.sections {
            let mut table = Map::new();
            for entry in section.entries {
                table.insert(entry.key, Value::new(origin(entry.line).as_ref(), entry.value));
            }
            // A duplicate section is an error already; its keys are still worth checking.
            merge(&mut sections, section.name, Value::new(origin(section.line).as_ref(), table));
        }
        Ok(sections)
    }
}

/// The INI file as a layer.
#[derive(Debug, Clone)]
pub(crate) struct IniFile {
    /// The file's name as the user gave it.
    pub(crate) name: String,
    /// Its text.
    pub(crate) text: String,
    /// How to read it.
    pub(crate) format: IniFormat,
}

impl Source for IniFile {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        self.format
            .parse(Some(&self.name), &self.text)
            .map_err(|cause| config::ConfigError::FileParse { uri: Some(self.name.clone()), cause })
    }

    fn collect_to(&self, cache: &mut Value) -> Result<(), config::ConfigError> {
        overlay(cache, self.collect()?);
        Ok(())
    }
}

/// Variables `PSERVE_SECTION_KEY` as a layer. Their values are literal, without interpolation, so that any secret can
/// be passed in; the prefixes of typed values still apply.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    /// Name and value of each variable.
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// The names of the sections; a variable that names none of them is unrelated (a Kubernetes service called
    /// `pserve` sets `PSERVE_PORT` and `PSERVE_SERVICE_HOST`).
    pub(crate) sections: &'static [&'static str],
}

impl Source for Environment {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        let mut layer = Map::new();
        for (name, value) in &self.variables {
            let Some((section, key)) = name.to_str().and_then(|name| self.split(name)) else { continue };
            let name = name.to_string_lossy().into_owned();
            let value = value.to_str().ok_or_else(|| {
                config::ConfigError::Message(format!("the environment variable {name} is not UTF-8"))
            })?;
            let table = Map::from_iter([(key, Value::new(Some(&name), value))]);
            merge(&mut layer, section.to_owned(), Value::new(Some(&name), table));
        }
        Ok(layer)
    }

    fn collect_to(&self, cache: &mut Value) -> Result<(), config::ConfigError> {
        overlay(cache, self.collect()?);
        Ok(())
    }
}

impl Environment {
    /// The section and key that a variable names. Both may contain `_`, so the known sections decide where to split.
    fn split(&self, name: &str) -> Option<(&'static str, String)> {
        let rest = name.strip_prefix("PSERVE_")?.to_ascii_lowercase();
        self.sections.iter().find_map(|section| {
            let key = rest.strip_prefix(section)?.strip_prefix('_')?;
            (!key.is_empty()).then(|| (*section, key.to_owned()))
        })
    }
}

/// Merges all layers into one table of sections; later layers override earlier ones.
///
/// The crate's builder is not used: it parses the sections' names as path expressions, which splits `[a.b]`, and
/// forgets where a section began.
pub(crate) fn merged(layers: &[&dyn Source]) -> Result<Value, config::ConfigError> {
    let mut cache = Value::new(None, Map::<String, Value>::new());
    for layer in layers {
        layer.collect_to(&mut cache)?;
    }
    Ok(cache)
}

/// Overrides existing values with a layer, key by key.
fn overlay(cache: &mut Value, layer: Map<String, Value>) {
    if let ValueKind::Table(sections) = &mut cache.kind {
        for (name, section) in layer {
            merge(sections, name, section);
        }
    }
}

fn merge(sections: &mut Map<String, Value>, name: String, section: Value) {
    match sections.get_mut(&name) {
        Some(Value { kind: ValueKind::Table(below), .. }) => {
            if let ValueKind::Table(above) = section.kind {
                below.extend(above);
            }
        }
        _ => {
            sections.insert(name, section);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTIONS: &[&str] = &["network", "plugin_parms"];

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Environment { variables, sections: SECTIONS }
    }

    fn build(text: &str, variables: &[(&str, &str)]) -> Value {
        let file = IniFile { name: "p.ini".into(), text: text.into(), format: IniFormat::default() };
        merged(&[&file, &environment(variables)]).unwrap()
    }

    fn entry(cache: &Value, section: &str, key: &str) -> (String, String) {
        let table = cache.clone().into_table().unwrap()[section].clone().into_table().unwrap();
        let value = table[key].clone();
        (value.origin().unwrap().to_owned(), value.into_string().unwrap())
    }

    #[test]
    fn a_value_knows_file_and_line() {
        let cache = build("[network]\n\nport=1\n", &[]);
        assert_eq!(entry(&cache, "network", "port"), ("p.ini:3".into(), "1".into()));
    }

    #[test]
    fn the_environment_is_above_the_file() {
        let variables = [("PSERVE_NETWORK_PORT", "2"), ("PSERVE_PLUGIN_PARMS_SESSMAN", "json=x.json")];
        let cache = build("[network]\nport=1\nbindto=::1\n", &variables);
        assert_eq!(entry(&cache, "network", "port"), ("PSERVE_NETWORK_PORT".into(), "2".into()));
        assert_eq!(entry(&cache, "network", "bindto").1, "::1");
        assert_eq!(entry(&cache, "plugin_parms", "sessman").1, "json=x.json");
    }

    #[test]
    fn variables_that_name_no_section_are_left_alone() {
        let layer =
            environment(&[("PSERVE_PORT", "tcp://x"), ("PSERVE_NETWORK_", "1"), ("NETWORK_PORT", "1")]);
        assert!(layer.collect().unwrap().is_empty());
    }

    #[test]
    fn a_dot_in_a_section_name_is_no_path() {
        assert!(build("[a.b]\nc=1\n", &[]).into_table().unwrap().contains_key("a.b"));
    }
}
