//! Metrics, in the Prometheus text format.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::store::StoreError;

/// A store operation, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A new record.
    Create,
    /// A record by its handle.
    Load,
    /// A change of a record.
    Update,
    /// Deletion of records.
    Delete,
    /// A page of records.
    List,
    /// A claim or release of places.
    Claim,
    /// Counts of records.
    Count,
    /// A ping.
    Ping,
}

impl Operation {
    /// Whether it writes, or tests whether writes work.
    pub(crate) fn is_write(self) -> bool {
        !matches!(self, Self::Load | Self::List | Self::Count)
    }
}

const OPERATIONS: [(Operation, &str); 8] = [
    (Operation::Create, "create"),
    (Operation::Load, "load"),
    (Operation::Update, "update"),
    (Operation::Delete, "delete"),
    (Operation::List, "list"),
    (Operation::Claim, "claim"),
    (Operation::Count, "count"),
    (Operation::Ping, "ping"),
];

const ERRORS: [&str; 3] = ["unavailable", "full", "unusable"];

/// Upper bounds of the histogram's buckets, in microseconds.
const BOUNDS: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_000_000];

/// Counters of one engine since its start.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Sessions created.
    pub created: Counter,
    /// Sessions ended (revoked).
    pub ended: Counter,
    /// Expired records deleted by the clean-up.
    pub expired: Counter,
    /// Sessions evicted for another session of their user.
    pub evicted: Counter,
    times: [Times; OPERATIONS.len()],
    errors: [Counter; ERRORS.len()],
}

/// A counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A histogram of latencies.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// Calls in each bucket; the last one has no upper bound.
    classes: [Counter; BOUNDS.len() + 1],
    micros: Counter,
}

impl Times {
    /// Counts a call.
    pub(crate) fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.classes[BOUNDS.partition_point(|bound| *bound < micros)].increment();
        // A cache hit counts as zero: skipping the sum saves a write to a cache line that all threads share.
        if micros > 0 {
            self.micros.add(micros);
        }
    }

    /// Writes the samples of a histogram, with or without a `label="value"`.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, name: &str, label: &str) -> fmt::Result {
        let comma = if label.is_empty() { "" } else { "," };
        let mut count = 0;
        for (bound, class) in BOUNDS.iter().zip(&self.classes) {
            count += class.get();
            writeln!(f, "{name}_bucket{{{label}{comma}le=\"{}\"}} {count}", seconds(*bound))?;
        }
        count += self.classes[BOUNDS.len()].get();
        writeln!(f, "{name}_bucket{{{label}{comma}le=\"+Inf\"}} {count}")?;
        let labels = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
        writeln!(f, "{name}_sum{labels} {}\n{name}_count{labels} {count}", seconds(self.micros.get()))
    }
}

/// Writes the HELP and TYPE lines of a metric.
pub(crate) fn head(f: &mut fmt::Formatter<'_>, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(f, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

impl Metrics {
    /// Counts a store call whose caller was cancelled.
    pub(crate) fn cut_off(&self) {
        self.errors[0].increment();
    }

    /// Counts a store call.
    pub(crate) fn asked(&self, operation: Operation, took: Duration, error: Option<&StoreError>) {
        self.times[operation as usize].add(took);
        if let Some(error) = error {
            self.errors[match error {
                StoreError::Unavailable(_) | StoreError::Partial(_) | StoreError::NotReplicated(_) => 0,
                StoreError::Full => 1,
                StoreError::Unusable(_) | StoreError::InUse(_) => 2,
            }]
            .increment();
        }
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, help, counter) in [
            ("created", "Sessions that began.", &self.created),
            ("ended", "Sessions that a client, a user or an administrator ended.", &self.ended),
            ("expired", "Expired records that this process removed.", &self.expired),
            ("evicted", "Sessions that ended because of max_sessions_per_user.", &self.evicted),
        ] {
            let name = format!("sessman_sessions_{name}_total");
            head(f, &name, "counter", help)?;
            writeln!(f, "{name} {}", counter.get())?;
        }
        self.write_errors(f)?;
        self.write_times(f)
    }
}

impl Metrics {
    fn write_errors(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = "sessman_store_errors_total";
        head(f, name, "counter", "Calls of the store that failed.")?;
        for (kind, count) in ERRORS.iter().zip(&self.errors) {
            writeln!(f, "{name}{{kind=\"{kind}\"}} {}", count.get())?;
        }
        Ok(())
    }

    fn write_times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = "sessman_store_duration_seconds";
        head(f, name, "histogram", "How long calls of the store took.")?;
        for ((_, operation), times) in OPERATIONS.iter().zip(&self.times) {
            times.write(f, name, &format!("operation=\"{operation}\""))?;
        }
        Ok(())
    }
}

/// Microseconds as a decimal fraction of seconds, without floating-point rounding.
fn seconds(micros: u64) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write!(text, "{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_stand_in_their_places() {
        assert!(OPERATIONS.iter().enumerate().all(|(index, (operation, _))| *operation as usize == index));
    }

    #[test]
    fn calls_are_counted_in_every_class_that_they_are_below() {
        let metrics = Metrics::default();
        for micros in [100, 101, 3_000_000] {
            metrics.asked(Operation::Load, Duration::from_micros(micros), None);
        }
        metrics.asked(Operation::Load, Duration::ZERO, Some(&StoreError::Full));
        let text = metrics.to_string();
        for line in [
            r#"sessman_store_duration_seconds_bucket{operation="load",le="0.0001"} 2"#,
            r#"sessman_store_duration_seconds_bucket{operation="load",le="0.00025"} 3"#,
            r#"sessman_store_duration_seconds_bucket{operation="load",le="2"} 3"#,
            r#"sessman_store_duration_seconds_bucket{operation="load",le="+Inf"} 4"#,
            r#"sessman_store_duration_seconds_sum{operation="load"} 3.000201"#,
            r#"sessman_store_duration_seconds_count{operation="load"} 4"#,
            r#"sessman_store_errors_total{kind="full"} 1"#,
            "sessman_sessions_created_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
    }
}
