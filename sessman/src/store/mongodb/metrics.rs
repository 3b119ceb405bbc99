//! Metrics of the driver, in the Prometheus text format.
//!
//! The pool's numbers come from the driver's events. Commands are timed here: the driver's command events include a parsed
//! copy of each command and reply, sessions included, which would cost more than the rest of a call.

use std::fmt;
use std::future::IntoFuture;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use mongodb::error::{Error, ErrorKind, Result};
use mongodb::event::cmap::{CmapEvent, ConnectionCheckoutFailedReason, ConnectionClosedReason};

use super::failure::is_duplicate_key;
use super::indexes::WANTED;
use crate::metrics::{Counter, Times, head};

/// A command, with the server's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Find,
    Insert,
    FindAndModify,
    Update,
    Delete,
    Aggregate,
    Count,
    CreateIndexes,
    ListIndexes,
}

const COMMANDS: [(Command, &str); 9] = [
    (Command::Find, "find"),
    (Command::Insert, "insert"),
    (Command::FindAndModify, "findAndModify"),
    (Command::Update, "update"),
    (Command::Delete, "delete"),
    (Command::Aggregate, "aggregate"),
    (Command::Count, "count"),
    (Command::CreateIndexes, "createIndexes"),
    (Command::ListIndexes, "listIndexes"),
];

/// Classes of errors: no reachable server, failed login, broken connection, error reply, missed deadline, anything else.
const ERRORS: [&str; 6] = ["no_server", "authentication", "network", "refused", "timeout", "other"];
const TIMEOUT: usize = 4;

const CLOSED: [&str; 5] = ["stale", "idle", "error", "dropped", "pool_closed"];
const FAILED: [&str; 2] = ["timeout", "connection_error"];

/// Counters of one client since its start.
#[derive(Default)]
pub(super) struct Metrics {
    commands: [Times; COMMANDS.len()],
    errors: [Counter; ERRORS.len()],
    created: Counter,
    closed: [Counter; CLOSED.len()],
    checked_out: Counter,
    checked_in: Counter,
    checkouts: Times,
    failed: [Counter; FAILED.len()],
    cleared: Counter,
    indexes: [AtomicBool; WANTED.len()],
}

impl Metrics {
    /// Awaits a command, and counts it.
    pub(super) async fn time<T>(
        &self,
        command: Command,
        asking: impl IntoFuture<Output = Result<T>>,
    ) -> Result<T> {
        let started = Instant::now();
        let answer = asking.into_future().await;
        self.commands[command as usize].add(started.elapsed());
        if let Err(error) = &answer
            && !is_duplicate_key(error)
        {
            self.errors[kind(error)].increment();
        }
        answer
    }

    /// Counts a call that missed its deadline.
    pub(super) fn timed_out(&self) {
        self.errors[TIMEOUT].increment();
    }

    /// Counts an event of the pool.
    pub(super) fn pooled(&self, event: &CmapEvent) {
        match event {
            CmapEvent::ConnectionCreated(_) => self.created.increment(),
            CmapEvent::ConnectionClosed(event) => {
                let reason = match event.reason {
                    ConnectionClosedReason::Stale => 0,
                    ConnectionClosedReason::Idle => 1,
                    ConnectionClosedReason::Dropped => 3,
                    ConnectionClosedReason::PoolClosed => 4,
                    _ => 2,
                };
                self.closed[reason].increment();
            }
            CmapEvent::ConnectionCheckedOut(event) => {
                self.checked_out.increment();
                self.checkouts.add(event.duration);
            }
            CmapEvent::ConnectionCheckedIn(_) => self.checked_in.increment(),
            CmapEvent::ConnectionCheckoutFailed(event) => {
                let is_late = event.reason == ConnectionCheckoutFailedReason::Timeout;
                self.failed[usize::from(!is_late)].increment();
            }
            CmapEvent::PoolCleared(_) => self.cleared.increment(),
            _ => {}
        }
    }

    /// Records whether the index at this position in [`WANTED`] exists.
    pub(super) fn indexed(&self, place: usize, is_there: bool) {
        self.indexes[place].store(is_there, Ordering::Relaxed);
    }
}

fn kind(error: &Error) -> usize {
    match *error.kind {
        ErrorKind::ServerSelection { .. } | ErrorKind::DnsResolve { .. } => 0,
        ErrorKind::Authentication { .. } => 1,
        ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } => 2,
        ErrorKind::Command(_) | ErrorKind::Write(_) => 3,
        _ => 5,
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = "sessman_mongodb_command_duration_seconds";
        head(f, name, "histogram", "How long commands took, with the wait for a server and a connection.")?;
        for ((_, command), times) in COMMANDS.iter().zip(&self.commands) {
            times.write(f, name, &format!("command=\"{command}\""))?;
        }
        let name = "sessman_mongodb_errors_total";
        counters(f, name, "Commands that failed.", "kind", &ERRORS, &self.errors)?;

        let name = "sessman_mongodb_connections_created_total";
        head(f, name, "counter", "Connections that were made.")?;
        writeln!(f, "{name} {}", self.created.get())?;
        let name = "sessman_mongodb_connections_closed_total";
        counters(f, name, "Connections that ended.", "reason", &CLOSED, &self.closed)?;
        let name = "sessman_mongodb_connections";
        head(f, name, "gauge", "Connections that there are, by whether a command is using them.")?;
        let closed: u64 = self.closed.iter().map(Counter::get).sum();
        let in_use = self.checked_out.get().saturating_sub(self.checked_in.get());
        // Between two events the numbers may be inconsistent for a moment.
        let idle = self.created.get().saturating_sub(closed).saturating_sub(in_use);
        writeln!(f, "{name}{{state=\"idle\"}} {idle}\n{name}{{state=\"in_use\"}} {in_use}")?;

        let name = "sessman_mongodb_checkout_duration_seconds";
        head(f, name, "histogram", "How long commands waited for a connection.")?;
        self.checkouts.write(f, name, "")?;
        let name = "sessman_mongodb_checkout_failures_total";
        counters(f, name, "Commands that got no connection.", "reason", &FAILED, &self.failed)?;
        let name = "sessman_mongodb_pool_cleared_total";
        head(f, name, "counter", "Times that all connections to a server were given up.")?;
        writeln!(f, "{name} {}", self.cleared.get())?;

        let name = "sessman_mongodb_index_ready";
        head(f, name, "gauge", "Whether an index that sessions need is there as it should be.")?;
        for (index, is_there) in WANTED.iter().zip(&self.indexes) {
            writeln!(f, "{name}{{index=\"{}\"}} {}", index.name, u8::from(is_there.load(Ordering::Relaxed)))?;
        }
        Ok(())
    }
}

fn counters(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    help: &str,
    label: &str,
    values: &[&str],
    counters: &[Counter],
) -> fmt::Result {
    head(f, name, "counter", help)?;
    for (value, counter) in values.iter().zip(counters) {
        writeln!(f, "{name}{{{label}=\"{value}\"}} {}", counter.get())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_in_their_places() {
        assert!(COMMANDS.iter().enumerate().all(|(index, (command, _))| *command as usize == index));
        assert_eq!(ERRORS[TIMEOUT], "timeout");
    }

    #[test]
    fn the_pool_is_counted_by_what_it_says() {
        let event = |kind: &str, more: serde_json::Value| -> CmapEvent {
            // The driver's own types cannot be made outside of it, only read.
            match kind {
                "created" => serde_json::from_value(more).map(CmapEvent::ConnectionCreated).unwrap(),
                "closed" => serde_json::from_value(more).map(CmapEvent::ConnectionClosed).unwrap(),
                "out" => serde_json::from_value(more).map(CmapEvent::ConnectionCheckedOut).unwrap(),
                "in" => serde_json::from_value(more).map(CmapEvent::ConnectionCheckedIn).unwrap(),
                "failed" => serde_json::from_value(more).map(CmapEvent::ConnectionCheckoutFailed).unwrap(),
                "cleared" => serde_json::from_value(more).map(CmapEvent::PoolCleared).unwrap(),
                _ => panic!("{kind}"),
            }
        };
        let metrics = Metrics::default();
        for kind in ["created", "created", "out", "out", "in", "cleared"] {
            metrics.pooled(&event(kind, serde_json::json!({ "connectionId": 1 })));
        }
        metrics.pooled(&event("closed", serde_json::json!({ "connectionId": 1, "reason": "idle" })));
        metrics.pooled(&event("failed", serde_json::json!({ "reason": "timeout" })));
        let text = metrics.to_string();
        for line in [
            "sessman_mongodb_connections_created_total 2",
            r#"sessman_mongodb_connections_closed_total{reason="idle"} 1"#,
            r#"sessman_mongodb_connections{state="idle"} 0"#,
            r#"sessman_mongodb_connections{state="in_use"} 1"#,
            r#"sessman_mongodb_checkout_failures_total{reason="timeout"} 1"#,
            "sessman_mongodb_checkout_duration_seconds_count 2",
            "sessman_mongodb_pool_cleared_total 1",
            r#"sessman_mongodb_index_ready{index="session_ttl"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
    }
}
