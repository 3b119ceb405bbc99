//! Rate limit for log lines that clients can cause: a line is written now and then, with the number of its causes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Minimum time between two lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// When a line was last written, and how many were suppressed since.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// The number of causes to report, if a line is due now.
    pub(crate) fn is_due(&self) -> Option<u64> {
        self.is_due_at(Instant::now())
    }

    fn is_due_at(&self, now: Instant) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, times) = &mut *told;
        *times += 1;
        if last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_a_while_tells_of_all() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.is_due_at(start), Some(1));
        for _ in 0..100 {
            assert_eq!(seldom.is_due_at(start + INTERVAL / 2), None);
        }
        assert_eq!(seldom.is_due_at(start + INTERVAL), Some(101));
        assert_eq!(seldom.is_due_at(start + INTERVAL * 3), Some(1));
    }
}
