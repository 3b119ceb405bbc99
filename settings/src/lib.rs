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
    let known = known_keys::<T>();
    let mut problems = Vec::new();
    let mut accepted = Map::new();
    for (key, value) in map {
        if !known.contains(&key.as_str()) {
            problems.push(Problem { key: key.clone(), message: unknown(key, known) });
            continue;
        }
        // One key at a time, so that a wrong one does not hide the next.
        let alone = Map::from_iter([(key.clone(), value.clone())]);
        match T::deserialize(Value::Object(alone)) {
            Ok(_) => {
                accepted.insert(key.clone(), value.clone());
            }
            Err(error) => problems.push(Problem { key: key.clone(), message: error.to_string() }),
        }
    }
    if problems.is_empty() {
        T::deserialize(Value::Object(accepted))
            .map_err(|error| vec![Problem { key: String::new(), message: error.to_string() }])
    } else {
        Err(problems)
    }
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
