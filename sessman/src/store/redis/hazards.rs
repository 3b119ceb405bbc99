//! Settings of a server with which sessions are lost, said once in the log.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use super::server_url::Address;

/// Nobody waits for it.
const LIMIT: Duration = Duration::from_secs(5);

/// What has been said already.
#[derive(Default)]
pub(super) struct Hazards {
    said: Mutex<HashSet<String>>,
}

impl Hazards {
    /// Asks a server that a connection was made to, in a task of its own.
    pub(super) fn look_at(self: &Arc<Self>, address: &Address, mut connection: MultiplexedConnection) {
        let (this, address) = (Arc::clone(self), address.to_string());
        tokio::spawn(async move {
            let found = match timeout(LIMIT, connection.send_packed_command(&redis::cmd("INFO"))).await {
                Ok(Ok(Value::BulkString(bytes))) => found_in(&String::from_utf8_lossy(&bytes)),
                Ok(Ok(Value::VerbatimString { text, .. })) => found_in(&text),
                Ok(Ok(Value::ServerError(_))) => {
                    vec!["the login may not ask for INFO, so it is unknown whether the server evicts or keeps sessions".into()]
                }
                _ => return,
            };
            for hazard in found {
                this.say(&address, hazard);
            }
        });
    }

    fn say(&self, address: &str, hazard: String) {
        let line = format!("{address}: {hazard}");
        let is_new = self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(line);
        if is_new {
            tracing::warn!("the Redis server {address}: {hazard}");
        }
    }
}

/// What an answer to `INFO` says that loses sessions.
fn found_in(info: &str) -> Vec<String> {
    let value = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
    };
    let mut hazards = Vec::new();
    // A policy has no meaning where memory has no limit.
    let has_limit = value("maxmemory").is_some_and(|bytes| bytes != "0");
    if let Some(policy) = value("maxmemory_policy").filter(|policy| has_limit && *policy != "noeviction") {
        hazards.push(format!(
            "maxmemory-policy is {policy}, so that it drops live sessions when its memory is full; set it to noeviction"
        ));
    }
    if value("aof_enabled") == Some("0") {
        hazards.push(
            "appendonly is no, so that sessions since its last snapshot are gone when it ends; set it to yes"
                .into(),
        );
    }
    hazards
}

#[cfg(test)]
mod tests {
    use super::found_in;

    #[test]
    fn what_evicts_or_forgets_is_found() {
        let info = |memory: &str, policy: &str, aof: &str| {
            found_in(&format!(
                "# Memory\r\nmaxmemory:{memory}\r\nmaxmemory_human:0B\r\nmaxmemory_policy:{policy}\r\n\r\n\
                 # Persistence\r\naof_enabled:{aof}\r\n"
            ))
        };
        assert_eq!(info("0", "allkeys-lru", "1"), Vec::<String>::new());
        assert_eq!(info("1000", "noeviction", "1"), Vec::<String>::new());
        let [evicts] = &info("1000", "volatile-ttl", "1")[..] else { panic!("one hazard") };
        assert!(evicts.contains("maxmemory-policy is volatile-ttl") && evicts.contains("noeviction"));
        let [forgets] = &info("0", "noeviction", "0")[..] else { panic!("one hazard") };
        assert!(forgets.contains("appendonly"));
        assert!(found_in("").is_empty());
    }
}
