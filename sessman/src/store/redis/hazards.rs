//! Settings of a server that lose sessions: logged once, and shown in the metrics.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::Value;
use tokio::time::Instant;

use super::line::Connection;
use super::server_url::Address;
use crate::metrics::head;

/// Timeout of the check; it runs in the background.
const LIMIT: Duration = Duration::from_secs(5);

/// What was found on each server when it was connected to.
#[derive(Default)]
pub(super) struct Hazards {
    found: Mutex<HashMap<String, Vec<Hazard>>>,
}

/// A setting that loses sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hazard {
    /// An eviction policy with which a full server evicts live sessions.
    Evicts(String),
    /// Without an append-only file, sessions are lost when the server ends.
    NoAppendOnlyFile,
    /// It has replicas, but acknowledges writes before any replica has them, and accepts writes without replicas.
    AnswersAlone,
    /// The login has no permission to ask.
    Unknown,
}

impl Hazard {
    const KINDS: [&str; 4] = ["evicts", "no_append_only_file", "answers_alone", "unknown"];

    /// Its index in [`KINDS`](Self::KINDS).
    fn kind(&self) -> usize {
        match self {
            Self::Evicts(_) => 0,
            Self::NoAppendOnlyFile => 1,
            Self::AnswersAlone => 2,
            Self::Unknown => 3,
        }
    }
}

impl fmt::Display for Hazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evicts(policy) => write!(
                f,
                "maxmemory-policy is {policy}, so that it drops live sessions when its memory is full; set it to \
                 noeviction"
            ),
            Self::NoAppendOnlyFile => f.write_str(
                "appendonly is no, so that sessions since its last snapshot are gone when it ends; set it to yes",
            ),
            Self::AnswersAlone => f.write_str(
                "it has replicas and min-replicas-to-write is 0, so that it takes writes which no replica gets, and a failover \
                 brings back sessions that ended; set it to 1, and see wait_replicas",
            ),
            Self::Unknown => f.write_str(
                "the login may not ask for INFO, so it is unknown whether the server evicts or keeps sessions",
            ),
        }
    }
}

impl Hazards {
    /// Checks a server after connecting to it, in a task of its own.
    pub(super) fn look_at(self: &Arc<Self>, address: &Address, connection: Arc<Connection>) {
        let (this, address) = (Arc::clone(self), address.to_string());
        tokio::spawn(async move {
            let found = match connection.wire.send(&redis::cmd("INFO"), Instant::now() + LIMIT).await {
                Ok(Ok(Value::BulkString(bytes))) => found_in(&String::from_utf8_lossy(&bytes)),
                Ok(Err(_)) => vec![Hazard::Unknown],
                _ => return,
            };
            this.learn(address, found);
        });
    }

    /// Forgets all other servers.
    pub(super) fn retain(&self, servers: &[Address]) {
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.retain(|address, _| servers.contains(address));
    }

    fn learn(&self, address: String, found: Vec<Hazard>) {
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(address.clone()).or_default();
        for hazard in found.iter().filter(|hazard| !known.contains(hazard)) {
            tracing::warn!("the Redis server {address}: {hazard}");
        }
        *known = found;
    }
}

/// In the Prometheus text format.
impl fmt::Display for Hazards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut servers = [0_u32; Hazard::KINDS.len()];
        for hazard in self.found.lock().unwrap_or_else(PoisonError::into_inner).values().flatten() {
            servers[hazard.kind()] += 1;
        }
        let name = "sessman_redis_hazards";
        head(
            f,
            name,
            "gauge",
            "Servers with settings that lose sessions, when they were last connected to.",
        )?;
        for (kind, servers) in Hazard::KINDS.iter().zip(servers) {
            writeln!(f, "{name}{{hazard=\"{kind}\"}} {servers}")?;
        }
        Ok(())
    }
}

/// The hazards in a reply to `INFO`.
pub(super) fn found_in(info: &str) -> Vec<Hazard> {
    let value = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
    };
    let mut hazards = Vec::new();
    // Without a memory limit the policy has no effect.
    let has_limit = value("maxmemory").is_some_and(|bytes| bytes != "0");
    if let Some(policy) = value("maxmemory_policy").filter(|policy| has_limit && *policy != "noeviction") {
        hazards.push(Hazard::Evicts(policy.to_owned()));
    }
    if value("aof_enabled") == Some("0") {
        hazards.push(Hazard::NoAppendOnlyFile);
    }
    // The last field is only present if it is not 0.
    let has_replicas = value("connected_slaves").is_some_and(|count| count != "0");
    if has_replicas && value("role") == Some("master") && value("min_slaves_good_slaves").is_none() {
        hazards.push(Hazard::AnswersAlone);
    }
    hazards
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_evicts_or_forgets_is_found() {
        let info = |memory: &str, policy: &str, aof: &str| {
            found_in(&format!(
                "# Memory\r\nmaxmemory:{memory}\r\nmaxmemory_human:0B\r\nmaxmemory_policy:{policy}\r\n\r\n\
                 # Persistence\r\naof_enabled:{aof}\r\n"
            ))
        };
        assert_eq!(info("0", "allkeys-lru", "1"), []);
        assert_eq!(info("1000", "noeviction", "1"), []);
        let [evicts] = &info("1000", "volatile-ttl", "1")[..] else { panic!("one hazard") };
        let said = evicts.to_string();
        assert!(said.contains("maxmemory-policy is volatile-ttl") && said.contains("noeviction"), "{said}");
        assert_eq!(info("0", "noeviction", "0"), [Hazard::NoAppendOnlyFile]);
        assert!(found_in("").is_empty());
        let replicated = |rest: &str| found_in(&format!("# Replication\r\nrole:master\r\n{rest}"));
        assert_eq!(replicated("connected_slaves:0\r\n"), []);
        assert_eq!(replicated("connected_slaves:2\r\n"), [Hazard::AnswersAlone]);
        assert_eq!(replicated("connected_slaves:2\r\nmin_slaves_good_slaves:2\r\n"), []);
    }

    #[test]
    fn what_a_server_says_now_is_shown() {
        let hazards = Hazards::default();
        hazards.learn("a:1".into(), vec![Hazard::Evicts("allkeys-lru".into()), Hazard::NoAppendOnlyFile]);
        hazards.learn("b:1".into(), vec![Hazard::NoAppendOnlyFile]);
        let shows = |line: &str| hazards.to_string().lines().any(|found| found == line);
        assert!(shows(r#"sessman_redis_hazards{hazard="evicts"} 1"#));
        assert!(shows(r#"sessman_redis_hazards{hazard="no_append_only_file"} 2"#));
        hazards.learn("a:1".into(), Vec::new());
        assert!(shows(r#"sessman_redis_hazards{hazard="evicts"} 0"#));
    }
}
