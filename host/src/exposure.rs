//! Whether what is loaded may be served at the address that is configured.

use crate::http::control::snapshot::Snapshot;
use crate::http::gate::access::{self, Access};

/// Rejects a snapshot that exposes an instance to the network although it is not configured as open, or although its
/// keys can be guessed.
pub(crate) fn check_exposure(snapshot: &Snapshot) -> Result<(), access::ExposureError> {
    access::check_exposure(snapshot.config.network.address, &snapshot.config.auth, accesses(snapshot))
}

/// Keys that can be guessed; one line each.
pub(crate) fn short_keys(snapshot: &Snapshot) -> Vec<String> {
    access::short_keys(&snapshot.config.auth, accesses(snapshot))
}

/// Each instance's name and access rule.
fn accesses(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &Access)> + Clone {
    snapshot.mounts.iter().map(|mount| (mount.instance.name.as_str(), &mount.access))
}
