//! What a change of the loaded instances means: what it must not lose, and what of it takes effect later.

use crate::config::Config;
use crate::http::control::orders::OrderError;
use crate::http::control::snapshot::Snapshot;

/// Rejects a change that would lose an instance which is serving and still configured.
pub(super) fn check_nothing_is_lost(old: &Snapshot, new: &Snapshot) -> Result<(), OrderError> {
    let instances = old.instances().map(|instance| &instance.name).filter(|name| new.mount(name).is_none());
    let files = old.files.iter().map(|(file, _)| file);
    let lost: Vec<String> = instances
        .chain(files)
        // A file that was a plugin and is none any more counts as a failure, unlike an unrelated file.
        .filter_map(|name| {
            let absent = new.failures.iter().chain(&new.missing).chain(&new.others);
            absent.into_iter().find(|failure| failure.name == *name)
        })
        .filter(|failure| !old.failures.contains(failure))
        .map(|failure| format!("{}: {}", failure.name, failure.reason))
        .collect();
    if lost.is_empty() { Ok(()) } else { Err(OrderError::Invalid(lost.join("; "))) }
}

/// Whether the instance of this name is known, and is not loaded.
pub(super) fn is_absent(snapshot: &Snapshot, name: &str) -> bool {
    snapshot.failures.iter().chain(&snapshot.missing).any(|failure| failure.name == name)
        || snapshot.unloaded.iter().any(|unloaded| unloaded.name == name)
}

/// No instance has this name.
pub(super) fn unknown(snapshot: &Snapshot, name: &str) -> OrderError {
    let names: Vec<&str> = snapshot.instances().map(|instance| instance.name.as_str()).collect();
    OrderError::Unknown(format!("no instance is called `{name}`; there are {}", names.join(", ")))
}

/// Changed settings that take effect only after a restart.
pub(super) fn restart_notes(old: &Config, new: &Config) -> Vec<String> {
    let changed = [
        (old.network.threads != new.network.threads, "[network] threads"),
        (old.paths.pidfile != new.paths.pidfile, "[paths] pidfile"),
    ];
    let changed = changed.into_iter().filter(|(changed, _)| *changed);
    changed.map(|(_, setting)| format!("{setting} counts from the next start")).collect()
}
