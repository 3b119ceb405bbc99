//! Diagnosis of the servers for an administrator.

use std::sync::Arc;

use super::failure::Trouble;
use super::hazards::{Hazard, found_in};
use super::servers::{Servers, deadline};
use super::values::bytes;
use super::values::moment;
use crate::store::{Checkup, Result};

/// See [`Store::checkup`](crate::store::Store::checkup). Asks one member of a cluster; for all members, warnings are logged
/// when they are connected to.
pub(super) async fn of(servers: &Arc<Servers>) -> Result<Checkup> {
    // Any key leads to a server.
    let time = servers.call(b"", &redis::cmd("TIME"), deadline()).await;
    let clock = match time {
        Ok(time) => moment(time),
        // The login may lack the permission for this command, and for the next one.
        Err(Trouble::Refused(_)) => None,
        Err(trouble) => return Err(trouble.into()),
    };
    let info = servers.call(b"", &redis::cmd("INFO"), deadline()).await.ok();
    let info = info.and_then(bytes).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let hazards = info.as_deref().map_or_else(|| vec![Hazard::Unknown], found_in);
    // The others may be intended.
    let (problems, hints): (Vec<Hazard>, Vec<Hazard>) =
        hazards.into_iter().partition(|hazard| matches!(hazard, Hazard::Evicts(_)));
    let lines = |hazards: Vec<Hazard>| hazards.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut hints = lines(hints);
    // With a single server, the caller compares `clock` itself.
    if servers.masters(deadline()).await?.len() > 1 {
        hints.extend(servers.knowledge().clocks.said());
    }
    Ok(Checkup { server: name(info.as_deref().unwrap_or_default()), clock, problems: lines(problems), hints })
}

fn name(info: &str) -> String {
    let value = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    // Valkey reports the version of Redis that it is compatible with, and its own.
    match (value("valkey_version"), value("redis_version")) {
        (Some(version), _) => format!("Valkey {}", version.trim()),
        (None, Some(version)) => format!("Redis {}", version.trim()),
        (None, None) => "Redis of an unknown version".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_names_itself() {
        assert_eq!(name("# Server\r\nredis_version:7.0.15\r\n"), "Redis 7.0.15");
        assert_eq!(
            name("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n"),
            "Valkey 8.1.0"
        );
        assert_eq!(name(""), "Redis of an unknown version");
    }
}
