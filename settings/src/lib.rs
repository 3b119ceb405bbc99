//! Typed reading of a configuration map: all errors at once, unknown keys with the nearest known name.
//!
//! The host reads INI sections and the engine reads `sessman.json` through [`read`]. One `serde` struct per place
//! is the single definition of its keys; the types in [`loose`] let a value arrive as text (`"3600"`, from an INI
//! line or an interpolated string) where a number or a boolean is meant.
//!
//! ```
//! #[derive(serde::Deserialize, Default, Debug)]
//! #[serde(default, deny_unknown_fields)]
//! struct Network {
//!     #[serde(deserialize_with = "settings::loose::option")]
//!     port: Option<u16>,
//! }
//! let map = serde_json::json!({ "port": "6123" });
//! assert_eq!(settings::read::<Network>(map.as_object().unwrap()).unwrap().port, Some(6123));
//!
//! let map = serde_json::json!({ "prot": 1, "port": "many" });
//! let problems = settings::read::<Network>(map.as_object().unwrap()).unwrap_err();
//! assert_eq!(problems[0].to_string(), "prot: unknown key; did you mean `port`?");
//! assert_eq!(problems[1].to_string(), "port: expected a whole number from 0 to 65535");
//! ```

mod fields;
pub mod loose;
pub mod text;

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// One thing wrong with one key. It never holds the key's value, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key as it was written.
    pub key: String,
    /// What is wrong with it and what is expected, in one line.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// Reads `map` into `T`, a struct whose every field has a default.
///
/// # Errors
/// Every unknown key and every key whose value does not fit its type, in the order of the map.
pub fn read<T: DeserializeOwned>(map: &Map<String, Value>) -> Result<T, Vec<Problem>> {
    let problems = check(map, &[Part::of::<T>()]);
    if problems.is_empty() { read_part(map) } else { Err(problems) }
}

/// The keys of one struct, for a map whose keys several structs share.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    keys: fn() -> &'static [&'static str],
    /// Reads a map of one key; why it cannot.
    fault: fn(Map<String, Value>) -> Option<String>,
}

impl Part {
    /// The keys of `T`, a struct whose every field has a default.
    pub const fn of<T: DeserializeOwned>() -> Self {
        Self {
            keys: known_keys::<T>,
            fault: |alone| T::deserialize(Value::Object(alone)).err().map(|error| error.to_string()),
        }
    }

    /// The keys, in the order of the fields.
    pub fn keys(&self) -> &'static [&'static str] {
        (self.keys)()
    }
}

/// Checks a map whose keys belong to several structs; one key may belong to more than one of them. Each struct is then
/// read by [`read_part`].
///
/// ```
/// #[derive(serde::Deserialize, Default)]
/// #[serde(default)]
/// struct Size {
///     width: u8,
/// }
/// #[derive(serde::Deserialize, Default)]
/// #[serde(default)]
/// struct Place {
///     left: u8,
/// }
/// let parts = [settings::Part::of::<Size>(), settings::Part::of::<Place>()];
/// let map = serde_json::json!({ "width": 1, "left": 2 });
/// assert!(settings::check(map.as_object().unwrap(), &parts).is_empty());
/// assert_eq!(settings::read_part::<Place>(map.as_object().unwrap()).unwrap().left, 2);
///
/// let map = serde_json::json!({ "widht": 1 });
/// let problems = settings::check(map.as_object().unwrap(), &parts);
/// assert_eq!(problems[0].to_string(), "widht: unknown key; did you mean `width`?");
/// ```
pub fn check(map: &Map<String, Value>, parts: &[Part]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, value) in map {
        let mut owners = parts.iter().filter(|part| part.keys().contains(&key.as_str())).peekable();
        if owners.peek().is_none() {
            problems.push(Problem { key: key.clone(), message: unknown(key, &all_keys(parts)) });
            continue;
        }
        // One key at a time, so that a wrong one does not hide the next.
        let fault = owners.find_map(|part| (part.fault)(Map::from_iter([(key.clone(), value.clone())])));
        problems.extend(fault.map(|message| Problem { key: key.clone(), message }));
    }
    problems
}

/// The keys of several structs, in their order, each once.
pub fn all_keys(parts: &[Part]) -> Vec<&'static str> {
    let mut keys: Vec<&str> = Vec::new();
    for key in parts.iter().flat_map(Part::keys) {
        if !keys.contains(key) {
            keys.push(key);
        }
    }
    keys
}

/// Reads those keys of `map` that `T` has; the others are for other structs.
///
/// # Errors
/// Keys that [`check`] finds wrong, too; then not all of them at once.
pub fn read_part<T: DeserializeOwned>(map: &Map<String, Value>) -> Result<T, Vec<Problem>> {
    let known = known_keys::<T>();
    let own = map.iter().filter(|(key, _)| known.contains(&key.as_str()));
    let own: Map<String, Value> = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    T::deserialize(Value::Object(own))
        .map_err(|error| vec![Problem { key: String::new(), message: error.to_string() }])
}

/// The keys that `T` knows, as its `Deserialize` names them.
pub fn known_keys<T: DeserializeOwned>() -> &'static [&'static str] {
    fields::of::<T>()
}

/// The known name nearest to `name`, if one is near enough to be a likely slip.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn unknown(key: &str, known: &[&str]) -> String {
    match nearest(key, known.iter().copied()) {
        Some(near) => format!("unknown key; did you mean `{near}`?"),
        None => format!("unknown key; known are {}", known.join(", ")),
    }
}
