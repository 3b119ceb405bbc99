//! Warnings about a WAL that grows too long: the checkpoint fails, or a long read transaction blocks it.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::log::{LOG_PAGE, Log};

/// Pages of a WAL that is overdue: longer than it ever gets while checkpoints work.
const OVERDUE: u32 = 8_000;

/// How long it may be overdue before that is logged: a long query blocks checkpoints for some seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Interval at which the warning is repeated.
const AGAIN: Duration = Duration::from_secs(60);

/// The state of a WAL that is not checkpointed.
#[derive(Debug, Default)]
pub(super) struct Overdue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    pages: u32,
    since: Option<Instant>,
    /// The error of the last copy, if it failed.
    error: Option<String>,
    failures: u64,
    said: Option<Instant>,
}

impl State {
    /// Whether the warning is due.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.said.is_none_or(|said| now.duration_since(said) >= AGAIN);
        if is_due {
            self.said = Some(now);
        }
        is_due
    }
}

impl Overdue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Must be called with the length of the WAL after each transaction.
    pub(super) fn saw(&self, log: Log, path: &Path, now: Instant) {
        let mut state = self.state();
        state.pages = log.pages;
        if log.pages < OVERDUE {
            state.since = None;
            return;
        }
        let since = *state.since.get_or_insert(now);
        if now.duration_since(since) < PATIENCE || state.error.is_some() || !state.is_due(now) {
            return;
        }
        tracing::warn!(
            "{} is being read by somebody who began {} s ago or earlier, sessctl backup or another program; until that ends \
             its log grows, which has {} MB",
            path.display(),
            now.duration_since(since).as_secs(),
            u64::from(log.pages) * LOG_PAGE / 1_000_000,
        );
    }

    /// Must be called with the result of each copy.
    pub(super) fn copied(&self, result: &rusqlite::Result<Log>, path: &Path, now: Instant) {
        let mut state = self.state();
        match result {
            Ok(_) => state.error = None,
            Err(error) => {
                state.failures += 1;
                state.error = Some(error.to_string());
                if state.is_due(now) {
                    tracing::warn!(
                        %error,
                        "the log of {} cannot be put into it, and grows: see to its disk, and make room if that is full",
                        path.display()
                    );
                }
            }
        }
    }

    /// Bytes in the WAL, how long it has been overdue, and the number of failed copies.
    pub(super) fn read(&self, now: Instant) -> (u64, Duration, u64) {
        let state = self.state();
        let since = state.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        (u64::from(state.pages) * LOG_PAGE, since, state.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_overdue_from_when_it_got_long_until_it_starts_anew() {
        let (overdue, start) = (Overdue::default(), Instant::now());
        let saw = |pages, seconds| {
            let now = start + Duration::from_secs(seconds);
            overdue.saw(Log { pages, copied: 0, is_busy: false }, Path::new("sessions.db"), now);
            let (bytes, since, _) = overdue.read(now);
            (bytes, since.as_secs(), overdue.state().said.map(|said| (said - start).as_secs()))
        };
        assert_eq!(saw(7_000, 0), (7_000 * 4_120, 0, None));
        assert_eq!(saw(9_000, 10), (9_000 * 4_120, 0, None));
        assert_eq!(saw(9_000, 30).1, 20);
        assert_eq!(saw(9_000, 45), (9_000 * 4_120, 35, Some(45)));
        assert_eq!(saw(9_000, 100).2, Some(45));
        assert_eq!(saw(9_000, 106).2, Some(106));
        assert_eq!(saw(100, 120), (412_000, 0, Some(106)));
        assert_eq!(saw(8_000, 130).1, 0);
    }
}
