//! The text of a line of `[plugin_parms]`: `json=file.json`, or `key=value&key=value`.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};

use super::raw::{RawEntry, Resolver};
use super::sections::{JSON, KEYS, PLUGIN_PARMS, host_keys, is_host_key};
use super::values::{self, Kind};

/// A parsed line.
pub(super) struct Line {
    /// The name of the JSON file.
    pub(super) file: Option<String>,
    pub(super) parameters: Map<String, Value>,
}

impl Line {
    /// Parses a line.
    ///
    /// # Errors
    /// What is wrong with it, without quoting it.
    pub(super) fn read(entry: &RawEntry, resolver: &Resolver<'_>) -> Result<Self, String> {
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
            if key == JSON {
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
        let Some(file) = &line.file else { return Ok(line) };
        check_file(file)?;
        match line.parameters.keys().find(|key| !is_host_key(key)) {
            Some(key) => {
                Err(format!("`{key}` belongs into the JSON file; {} may stand beside `json=`", host_keys()))
            }
            None => Ok(line),
        }
    }
}

/// Checks the name of a JSON file.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_file(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("`json=` without a file name".into());
    }
    settings::text::flaw(name).map_or(Ok(()), |flaw| Err(format!("`json=`: {flaw}")))
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
