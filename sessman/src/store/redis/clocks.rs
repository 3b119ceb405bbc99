//! Clock skew of the servers.
//!
//! A server's clock matters only when the server expires a record. A clock far ahead expires live sessions. So a difference
//! is reported: in the log, in the metrics, and to administrators.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::server_url::Address;
use crate::metrics::head;

/// The least clock skew that is reported, in milliseconds.
const APART: u64 = 1_000;

/// The clock of each server, when last read.
#[derive(Default)]
pub(super) struct Clocks {
    /// Milliseconds ahead of our clock.
    found: Mutex<HashMap<Address, i64>>,
}

impl Clocks {
    /// Records how many milliseconds a server's clock is ahead, and logs a change; `None` if it could not be measured.
    pub(super) fn learn(&self, address: &Address, ahead: Option<i64>) {
        let Some(ahead) = ahead else { return };
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let before = found.insert(address.clone(), ahead);
        let was_said = before.is_some_and(|before| before.unsigned_abs() >= APART);
        match apart(ahead) {
            Some(apart) if !was_said => tracing::warn!("the Redis server {address}: {apart}"),
            None if was_said => tracing::info!("the Redis server {address}: its clock is right again"),
            _ => {}
        }
    }

    /// Forgets all other servers.
    pub(super) fn retain(&self, servers: &[Address]) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.retain(|address, _| servers.contains(address));
    }

    /// The report of clocks that differ, a line each.
    pub(super) fn said(&self) -> Vec<String> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let mut said: Vec<String> = found
            .iter()
            .filter_map(|(address, ahead)| Some(format!("{address}: {}", apart(*ahead)?)))
            .collect();
        said.sort_unstable();
        said
    }
}

/// The report of a clock that is this many milliseconds ahead, if that is too much.
fn apart(ahead: i64) -> Option<String> {
    let apart = ahead.unsigned_abs();
    let direction = if ahead > 0 { "ahead of" } else { "behind" };
    (apart >= APART).then(|| {
        format!(
            "its clock is {}.{} s {direction} this machine's; one that is far ahead removes sessions that live: \
             synchronise the clocks of both",
            apart / 1_000,
            apart % 1_000 / 100
        )
    })
}

/// In the Prometheus text format.
impl fmt::Display for Clocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = "sessman_redis_clock_ahead_seconds";
        head(f, name, "gauge", "How far the clock of a server is ahead of this machine's.")?;
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<(&Address, &i64)> = found.iter().collect();
        found.sort_unstable();
        for (address, ahead) in found {
            let (sign, apart) = (if *ahead < 0 { "-" } else { "" }, ahead.unsigned_abs());
            writeln!(f, "{name}{{server=\"{address}\"}} {sign}{}.{:03}", apart / 1_000, apart % 1_000)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_shown_and_said() {
        let (clocks, address) = (Clocks::default(), |port| Address { host: "db".into(), port });
        for (port, ahead) in [(1, Some(999)), (2, Some(-71_250)), (3, Some(1_000)), (4, None)] {
            clocks.learn(&address(port), ahead);
        }
        let shown = clocks.to_string();
        for line in [
            r#"sessman_redis_clock_ahead_seconds{server="db:1"} 0.999"#,
            r#"sessman_redis_clock_ahead_seconds{server="db:2"} -71.250"#,
            r#"sessman_redis_clock_ahead_seconds{server="db:3"} 1.000"#,
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line} is not in:\n{shown}");
        }
        assert!(!shown.contains("db:4"), "{shown}");
        let said = clocks.said();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("db:2: its clock is 71.2 s behind"), "{said:?}");
        assert!(said[1].starts_with("db:3: its clock is 1.0 s ahead"), "{said:?}");
        clocks.learn(&address(2), Some(5));
        clocks.retain(&[address(2)]);
        assert_eq!(clocks.said(), Vec::<String>::new());
        assert!(!clocks.to_string().contains("db:3"));
    }
}
