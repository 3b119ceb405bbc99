//! The table of backends, and how a configuration selects one.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};
use settings::{Part, Problem, all_keys, read_part};

use super::backend::{Backend, BackendKeys, Fit};
use crate::config::Surroundings;
use crate::config::values::{alternatives, problem};

macro_rules! table {
    ($($name:tt => $keys:ty,)+) => {
        /// The names of all backends, including those left out of this build.
        const NAMES: &[&str] = &[$($name),+];

        /// The backends in this build.
        const BACKENDS: &[Entry] = &[$(#[cfg(feature = $name)] Entry::of::<$keys>()),+];
    };
}

// One line each, in the order in which they are tried. The name is also that of the cargo feature.
table! {
    "mongodb" => super::mongodb::MongoKeys,
    "redis" => super::redis::RedisKeys,
    "sqlite" => super::sqlite::SqliteKeys,
    "memory" => super::memory::MemoryKeys,
}

const _: () = assert!(!BACKENDS.is_empty(), "turn on the feature of a store, such as sqlite");

/// The key that selects the store; the other keys are the store's own.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ChoiceKeys {
    /// Where sessions are kept.
    ///
    /// Default: the scheme of `server_url`, `mongodb` if it has none; without a `server_url` `sqlite`.
    #[serde(deserialize_with = "settings::loose::option")]
    backend: Option<String>,
}

/// A key of several stores, with another meaning in each.
const DATABASE: &str = "database";

/// Checks the keys of a backend.
type Check = fn(&Map<String, Value>, &Surroundings<'_>) -> Result<Arc<dyn Backend>, Vec<Problem>>;

/// One row of the table.
struct Entry {
    name: &'static str,
    keys: Part,
    fit: fn(Option<&str>) -> Fit,
    check: Check,
}

impl Entry {
    const fn of<K: BackendKeys>() -> Self {
        Self {
            name: K::NAME,
            keys: Part::of::<K>(),
            fit: K::fit,
            check: |members, surroundings| Ok(Arc::new(read_part::<K>(members)?.check(surroundings)?)),
        }
    }
}

/// The documented keys of stores: the selecting key, and those of each backend.
pub(crate) fn parts() -> Vec<Part> {
    [Part::of::<ChoiceKeys>()].into_iter().chain(BACKENDS.iter().map(|entry| entry.keys)).collect()
}

/// The names of the backends in this build, as `a, b or c`.
fn names() -> String {
    alternatives(&BACKENDS.iter().map(|entry| entry.name).collect::<Vec<_>>())
}

/// The configured `backend` and `server_url`.
fn written(members: &Map<String, Value>) -> (Option<String>, Option<&str>) {
    let ChoiceKeys { backend } = read_part(members).unwrap_or_default();
    (backend, members.get("server_url").and_then(Value::as_str))
}

/// The error for a backend that was left out of this build: its keys are unknown here.
pub(crate) fn left_out(members: &Map<String, Value>) -> Option<Problem> {
    let is_there = |name: &str| BACKENDS.iter().any(|entry| entry.name == name);
    let has = |key: &str| parts().iter().any(|part| part.keys().contains(&key));
    match written(members) {
        (Some(name), _) if NAMES.contains(&name.as_str()) && !is_there(&name) => {
            Some(problem("backend", &format!("this build is without {name}; it has {}", names())))
        }
        (None, Some(_)) if !has("server_url") => Some(problem(
            "server_url",
            &format!("this build keeps sessions on no server; it has {}", names()),
        )),
        _ => None,
    }
}

/// The store that `sessman.json` selects. The members are known keys with values of the right types.
pub(crate) fn read(
    members: &Map<String, Value>,
    surroundings: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Arc<dyn Backend>> {
    let (named, server_url) = written(members);
    let by_fit = |wanted: Fit| BACKENDS.iter().find(|entry| (entry.fit)(server_url) == wanted);
    let chosen = match &named {
        Some(name) => BACKENDS.iter().find(|entry| entry.name == name),
        None => by_fit(Fit::Certain).or_else(|| by_fit(Fit::Possible)),
    };
    let name = named.as_deref().or(chosen.map(|entry| entry.name)).unwrap_or("none");
    problems.extend(keys_of_others(members, name));
    // A file for SQLite, a database for MongoDB: without a word about the store it is not known which is meant.
    let is_unclear =
        named.is_none() && server_url.is_none() && members.get(DATABASE).is_some_and(|it| !it.is_null());
    if is_unclear {
        problems.push(problem(DATABASE, "say which store it is of: write `backend`, or `server_url`"));
    }
    let Some(chosen) = chosen else {
        problems.push(problem("backend", &format!("expected {}", names())));
        return None;
    };
    (chosen.check)(members, surroundings).map_err(|wrong| problems.extend(wrong)).ok()
}

/// Rejects keys of other stores, as they would have no effect.
fn keys_of_others(members: &Map<String, Value>, name: &str) -> Vec<Problem> {
    let of_stores: Vec<Part> = BACKENDS.iter().map(|entry| entry.keys).collect();
    let wrong = |key: &&str| {
        let owners = BACKENDS.iter().filter(|entry| entry.keys.keys().contains(key));
        let owners: Vec<&str> = owners.map(|entry| entry.name).collect();
        let is_given = members.get(*key).is_some_and(|value| !value.is_null());
        (is_given && !owners.contains(&name)).then(|| {
            let owners = owners.join(" or ");
            problem(key, &format!("belongs to the backend {owners}, but the backend is {name}"))
        })
    };
    all_keys(&of_stores).iter().filter_map(wrong).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_named_as_its_feature_is() {
        let names: Vec<&str> = BACKENDS.iter().map(|entry| entry.name).collect();
        assert!(names.iter().all(|name| NAMES.contains(name)));
        #[cfg(all(feature = "memory", feature = "mongodb", feature = "redis", feature = "sqlite"))]
        assert_eq!(names, NAMES);
    }

    #[test]
    #[cfg(not(feature = "redis"))]
    fn a_store_that_was_left_out_is_named_with_those_that_are_there() {
        let members = serde_json::json!({ "backend": "redis", "server_url": "redis://h" });
        let said = left_out(members.as_object().unwrap()).unwrap().to_string();
        assert_eq!(said, format!("backend: this build is without redis; it has {}", names()));
    }
}
