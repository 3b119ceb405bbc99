//! Metrics of the file and its disk, in the Prometheus text format.

use std::fmt;
use std::time::Instant;

use super::counters::WriteCounts;
use super::health::Health;
use crate::metrics::head;

/// A metric without labels.
struct Sample {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: u64,
}

/// The values of a store's metrics.
pub(super) struct Page<'a> {
    pub(super) health: &'a Health,
    pub(super) counts: WriteCounts,
    /// Queued writes; the bytes also include those in progress.
    pub(super) waiting_writes: usize,
    pub(super) waiting_bytes: usize,
}

impl Page<'_> {
    fn samples(&self) -> [Sample; 9] {
        let Self { health, counts, waiting_writes, waiting_bytes } = self;
        let (log_bytes, overdue, failures) = health.overdue.read(Instant::now());
        [
            Sample {
                name: "sessman_sqlite_disk_failed",
                kind: "gauge",
                help: "1 after the disk failed to keep what was written: nothing is written until pserve is restarted.",
                value: u64::from(health.is_untrusted()),
            },
            Sample {
                name: "sessman_sqlite_full",
                kind: "gauge",
                help: "1 while new sessions are refused because the disk is full.",
                value: u64::from(health.is_full()),
            },
            Sample {
                name: "sessman_sqlite_writes_total",
                kind: "counter",
                help: "Writes that were answered.",
                value: counts.writes,
            },
            Sample {
                name: "sessman_sqlite_commits_total",
                kind: "counter",
                help: "Transactions that changed the file: each waited for the disk once.",
                value: counts.commits,
            },
            Sample {
                name: "sessman_sqlite_waiting_writes",
                kind: "gauge",
                help: "Writes that wait for the one who writes.",
                value: *waiting_writes as u64,
            },
            Sample {
                name: "sessman_sqlite_waiting_bytes",
                kind: "gauge",
                help: "Memory of the writes that wait, or are being made.",
                value: *waiting_bytes as u64,
            },
            Sample {
                name: "sessman_sqlite_log_bytes",
                kind: "gauge",
                help: "What is in the log beside the file.",
                value: log_bytes,
            },
            Sample {
                name: "sessman_sqlite_log_overdue_seconds",
                kind: "gauge",
                help: "For how long the log has been longer than it should be: somebody reads on, or it cannot be copied.",
                value: overdue.as_secs(),
            },
            Sample {
                name: "sessman_sqlite_log_failures_total",
                kind: "counter",
                help: "Times that the log could not be put into the file.",
                value: failures,
            },
        ]
    }
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Sample { name, kind, help, value } in self.samples() {
            head(f, name, kind, help)?;
            writeln!(f, "{name} {value}")?;
        }
        Ok(())
    }
}
