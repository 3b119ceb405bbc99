//! Logs the outages of a store: immediately, once a minute while it fails, and when it has recovered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::with_sources;
use crate::id::Handle;
use crate::metrics::Operation;
use crate::store::StoreError;

/// Interval between two lines about failures of the same kind.
const EVERY: Duration = Duration::from_secs(60);

/// It has recovered once nothing has failed for this long. If a part of a store is unreachable, other calls keep succeeding.
const QUIET: Duration = Duration::from_secs(10);

/// The most kinds of failures that are told apart; all others count as one more.
const MAX_KINDS: usize = 16;

/// The failures of a store since it last worked.
#[derive(Default)]
pub(crate) struct Outages {
    /// Whether there is an outage: the only field that a successful call reads.
    is_any: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By error message, without what differs from session to session.
    kinds: HashMap<String, Kind>,
    /// When the first and the last call failed, and the number of failures.
    first_and_last: Option<(Instant, Instant)>,
    failed: u64,
    /// Whether no read, and whether no write, has succeeded since: one of them may fail alone.
    reads_fail: bool,
    writes_fail: bool,
}

/// Failures with the same cause.
struct Kind {
    said_at: Instant,
    /// How many occurred since the last line.
    unsaid: u64,
}

impl Outages {
    /// Records a failed call, and logs it if a line is due.
    pub(crate) fn failed(&self, operation: Operation, error: &StoreError, now: Instant) {
        if let Some(line) = self.line(operation, with_sources(error), now) {
            tracing::warn!("{line}");
        }
    }

    /// Records a successful call, which ended at `now`.
    pub(crate) fn worked(&self, operation: Operation, now: impl FnOnce() -> Instant) {
        if self.is_any.load(Ordering::Relaxed)
            && let Some(line) = self.last_line(operation, now())
        {
            tracing::info!("{line}");
        }
    }

    /// The line to log for a failure, if it is due.
    fn line(&self, operation: Operation, reason: String, now: Instant) -> Option<String> {
        let mut known = self.known();
        if operation.is_write() {
            known.writes_fail = true
        } else {
            known.reads_fail = true
        }
        known.failed += 1;
        known.first_and_last = Some((known.first_and_last.map_or(now, |(first, _)| first), now));
        self.is_any.store(true, Ordering::Relaxed);
        let mut kind = without_handles(&reason);
        if known.kinds.len() >= MAX_KINDS && !known.kinds.contains_key(&kind) {
            kind = String::new();
        }
        match known.kinds.get_mut(&kind) {
            None => {
                known.kinds.insert(kind, Kind { said_at: now, unsaid: 0 });
                Some(format!("a call of the session store failed: {reason}"))
            }
            Some(kind) => {
                kind.unsaid += 1;
                if now.duration_since(kind.said_at) < EVERY {
                    return None;
                }
                let more = std::mem::take(&mut kind.unsaid);
                let seconds = now.duration_since(std::mem::replace(&mut kind.said_at, now)).as_secs();
                Some(format!("{more} more calls of the session store failed within {seconds} s: {reason}"))
            }
        }
    }

    /// The line to log once the store has recovered.
    fn last_line(&self, operation: Operation, now: Instant) -> Option<String> {
        let mut known = self.known();
        if operation.is_write() {
            known.writes_fail = false
        } else {
            known.reads_fail = false
        }
        if known.writes_fail || known.reads_fail {
            return None;
        }
        let (first, last) = known.first_and_last.filter(|(_, last)| now.duration_since(*last) >= QUIET)?;
        let (failed, seconds) = (known.failed, last.duration_since(first).as_secs());
        *known = Known::default();
        self.is_any.store(false, Ordering::Relaxed);
        Some(format!("the session store works again: {failed} calls failed within {seconds} s"))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text with each handle replaced by the same word: a thousand unreadable records have one cause.
fn without_handles(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let bare = word.trim_matches([':', ',', '.']);
        if Handle::parse(bare).is_some() { "handle" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_failure_of_each_kind_is_said_and_then_one_a_minute_with_a_count() {
        let (outages, begun) = (Outages::default(), Instant::now());
        let line =
            |reason: &str, after: u64| outages.line(Operation::Load, reason.into(), begun + secs(after));
        assert_eq!(line("a: b", 0).as_deref(), Some("a call of the session store failed: a: b"));
        for after in 0..59 {
            assert_eq!(line("a: b", after), None, "{after}");
        }
        assert_eq!(line("c", 30).as_deref(), Some("a call of the session store failed: c"));
        assert_eq!(
            line("a: b", 61).as_deref(),
            Some("60 more calls of the session store failed within 61 s: a: b")
        );
        assert_eq!(line("a: b", 62), None);
        assert_eq!(line("c", 90).as_deref(), Some("1 more calls of the session store failed within 60 s: c"));
    }

    #[test]
    fn that_it_works_again_is_said_once_and_the_next_failure_is_said_at_once() {
        let (outages, begun) = (Outages::default(), Instant::now());
        let line = |after: u64| outages.line(Operation::Load, "away".into(), begun + secs(after));
        assert!(line(0).is_some() && line(3).is_none());
        // Other calls may succeed all the time.
        assert_eq!(outages.last_line(Operation::Load, begun + secs(12)), None);
        assert_eq!(
            outages.last_line(Operation::Load, begun + secs(13)).as_deref(),
            Some("the session store works again: 2 calls failed within 3 s")
        );
        assert_eq!(outages.last_line(Operation::Load, begun + secs(14)), None);
        assert!(line(15).is_some(), "whoever reads that it works must read that it does not");
    }

    #[test]
    fn reads_that_succeed_do_not_end_an_outage_of_writes() {
        let (outages, begun) = (Outages::default(), Instant::now());
        assert!(outages.line(Operation::Update, "refused".into(), begun).is_some());
        assert_eq!(outages.last_line(Operation::Load, begun + secs(20)), None);
        assert!(outages.last_line(Operation::Ping, begun + secs(21)).is_some());
    }

    #[test]
    fn what_differs_from_session_to_session_is_no_kind_of_its_own() {
        let (outages, now) = (Outages::default(), Instant::now());
        let failure = |n: u8| {
            outages.line(Operation::Load, format!("the session {}, is sealed", Handle::from([n; 12])), now)
        };
        assert!(failure(1).is_some());
        assert_eq!(failure(2), None);
    }

    #[test]
    fn kinds_beyond_number_are_one_kind() {
        let (outages, now) = (Outages::default(), Instant::now());
        let said =
            (0..1_000).filter(|n| outages.line(Operation::Load, format!("port {n}"), now).is_some()).count();
        assert_eq!(said, MAX_KINDS + 1);
    }
}
