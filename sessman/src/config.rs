//! `sessman.json`: reading and checking it.

mod access;
mod cookie;
mod encryption;
mod raw;
mod rules;
mod seen;
mod surroundings;
pub(crate) mod values;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use settings::Part;
pub use settings::Problem;

pub use access::{AccessConfig, AdminKeys, ClientAccess, VerifyKey};
pub use cookie::{CookieConfig, SameSite};
pub use surroundings::Surroundings;

use crate::rules::Rules;
use crate::store::backend::Backend;
use crate::store::backends;
use crate::store::sealed::Keys;
use raw::RawConfig;
use values::{problem, seconds};

/// The whole configuration of an instance, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where sessions are kept.
    pub store: Arc<dyn Backend>,
    /// The encryption keys; `None` for no encryption.
    pub encryption: Option<Keys>,
    /// The rules they follow.
    pub rules: Rules,
    /// Access control.
    pub access: AccessConfig,
    /// The cookie that carries the id; `None` when cookies are off.
    pub cookie: Option<CookieConfig>,
    /// Interval of the clean-up of expired records, where the store does not expire them itself.
    pub cleanup_interval: Duration,
}

impl Config {
    /// Reads the members of `sessman.json`. Opens no file and connects to no server.
    ///
    /// # Errors
    /// All problems at once, none with the value of a secret.
    pub fn read(members: &Map<String, Value>, surroundings: &Surroundings<'_>) -> Result<Self, Vec<Problem>> {
        let hidden = seen::check(members);
        if let Some(left_out) = backends::left_out(members) {
            return Err([hidden, vec![left_out]].concat());
        }
        let wrong = settings::check(members, &parts());
        // Checks that depend on these values would only report follow-up errors.
        if !hidden.is_empty() || !wrong.is_empty() {
            return Err([hidden, wrong].concat());
        }
        let raw: RawConfig = settings::read_part(members)?;
        let mut problems = Vec::new();
        let store = backends::read(members, surroundings, &mut problems);
        let encryption = encryption::read(&raw, &mut problems);
        let rules = raw.rules(&mut problems);
        let cleanup_interval = cleanup_interval(&raw, &mut problems);
        let access = access::read(&raw, &mut problems);
        let cookie = cookie::read(raw.cookie.as_ref(), surroundings.instance, &mut problems);
        match store {
            Some(store) if problems.is_empty() => Ok(Self {
                store,
                encryption,
                rules,
                access,
                cookie,
                cleanup_interval: cleanup_interval.unwrap_or(CLEANUP_INTERVAL),
            }),
            _ => Err(problems),
        }
    }
}

/// Either key may be written.
fn cleanup_interval(raw: &RawConfig, problems: &mut Vec<Problem>) -> Option<Duration> {
    if raw.cleanup_interval.is_some() && raw.vacuum_interval.is_some() {
        problems.push(problem("vacuum_interval", "means the same as `cleanup_interval`; write one of them"));
    }
    let vacuum_interval = seconds("vacuum_interval", raw.vacuum_interval, problems);
    seconds("cleanup_interval", raw.cleanup_interval, problems).or(vacuum_interval)
}

/// The key groups, each with the code that reads it.
fn parts() -> Vec<Part> {
    let mut parts = backends::parts();
    parts.push(Part::of::<RawConfig>());
    parts
}

/// The default interval between two clean-ups.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(300);

#[cfg(test)]
#[cfg(all(feature = "memory", feature = "mongodb", feature = "redis", feature = "sqlite"))]
mod tests;
