//! Reports offsets of the wall clock.

use std::fmt;

use super::system::{MAX_OFFSET_MICROS, Offset};

const SECOND: i64 = 1_000_000;

/// Reports an offset of a second or more, once for each change of it.
#[derive(Debug, Default)]
pub struct Watch {
    /// What is left of the reported offset, in microseconds.
    told: Option<i64>,
}

/// What to report about the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// They differ: how far the wall clock is ahead of ours, in microseconds.
    Differ(i64),
    /// They agree again.
    Agree,
}

impl Watch {
    /// Takes a result of [`discipline`](super::SystemClock::discipline).
    pub fn look(&mut self, offset: Offset) -> Option<Notice> {
        let found = offset.ahead + offset.moved;
        let changed = (found - self.told.unwrap_or(0)).abs() >= SECOND;
        if changed && found.abs() >= SECOND {
            self.told = Some(offset.ahead);
            return Some(Notice::Differ(found));
        }
        let told = self.told?;
        // Hysteresis of half a second, so that an unstable clock is not reported again and again.
        if changed || offset.ahead.abs() <= SECOND / 2 {
            self.told = None;
            return Some(Notice::Agree);
        }
        self.told = Some(told - offset.moved);
        None
    }
}

impl Notice {
    /// Whether an administrator should act on it.
    pub fn is_warning(self) -> bool {
        matches!(self, Self::Differ(_))
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Differ(ahead) = *self else {
            return f.write_str("the wall clock and the service's clock agree again");
        };
        let seconds = ahead.unsigned_abs() / SECOND.unsigned_abs();
        match (ahead > 0, ahead.abs() <= MAX_OFFSET_MICROS) {
            (true, true) => write!(
                f,
                "the wall clock is ahead of the service's by {seconds} s; the service's goes faster by a tenth until it has \
                 caught up, and sessions may end a tenth earlier meanwhile"
            ),
            (false, true) => write!(
                f,
                "the wall clock is behind the service's by {seconds} s; the service's never goes back, it goes slower by 500 \
                 microseconds a second. Meanwhile its sessions end that much later than those of other nodes"
            ),
            (true, false) => write!(
                f,
                "the wall clock is ahead of the service's by {seconds} s, which is too far to follow; sessions go on ending \
                 as they were promised to. If the wall clock is right, restart the service: until then other nodes take its \
                 sessions for ended {seconds} s early, and with the restart those that are there end {seconds} s earlier than \
                 promised. If it is wrong, set it right and do not restart before"
            ),
            (false, false) => write!(
                f,
                "the wall clock is behind the service's by {seconds} s, which is too far to follow; sessions go on ending \
                 as they were promised to. If the wall clock is right, restart the service: with it the sessions that are \
                 there live {seconds} s longer than promised, so end those that must not. If it is wrong, set it right and do \
                 not restart before"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SystemClock;

    /// What is told while a clock is disciplined every second for so long, with the wall clock so far from where it was.
    struct Run {
        clock: SystemClock,
        watch: Watch,
        /// Seconds since the start.
        at: i64,
    }

    impl Run {
        fn new() -> Self {
            Self { clock: SystemClock::starting_at(0, 0), watch: Watch::default(), at: 0 }
        }

        fn go(&mut self, seconds: i64, ahead: i64) -> Vec<Notice> {
            let mut told = Vec::new();
            for _ in 0..seconds {
                self.at += 1;
                let boot = self.at * SECOND;
                told.extend(self.watch.look(self.clock.follow(boot + ahead, boot)));
            }
            told
        }
    }

    #[test]
    fn a_difference_is_told_once_and_so_is_its_end() {
        let mut run = Run::new();
        assert_eq!(run.go(100, 900_000), []);
        let mut run = Run::new();
        assert_eq!(run.go(100, 20 * SECOND), [Notice::Differ(20 * SECOND)]);
        // Set once more while the clock is on its way.
        assert_eq!(run.go(100, 40 * SECOND), [Notice::Differ(30 * SECOND)]);
        assert_eq!(run.go(3_000, 40 * SECOND), [Notice::Agree]);
        assert_eq!(run.go(100, 40 * SECOND), []);
    }

    #[test]
    fn a_difference_that_is_not_followed_is_told_once_until_it_changes() {
        for hours in [2, -2] {
            let mut run = Run::new();
            let far = hours * 3_600 * SECOND;
            assert_eq!(run.go(1_000, far), [Notice::Differ(far)]);
            assert_eq!(run.go(1_000, 2 * far), [Notice::Differ(2 * far)]);
            assert_eq!(run.go(1_000, 0), [Notice::Agree]);
        }
    }

    #[test]
    fn one_that_grows_bit_by_bit_is_told_again_for_each_second() {
        let mut run = Run::new();
        // Of which 500 microseconds are followed.
        let told: Vec<Notice> = (1..=3_000).flat_map(|n| run.go(1, -n * 1_500)).collect();
        assert!((3..=4).contains(&told.len()), "{told:?}");
        assert!(told.iter().all(|notice| *notice != Notice::Agree), "{told:?}");
    }

    #[test]
    fn each_direction_and_distance_says_what_becomes_of_sessions() {
        let text = |seconds: i64| Notice::Differ(seconds * SECOND).to_string();
        assert!(text(20).contains("ahead of the service's by 20 s") && text(20).contains("a tenth earlier"));
        assert!(text(-20).contains("behind the service's by 20 s") && text(-20).contains("later"));
        assert!(text(7_200).contains("end 7200 s earlier than promised"));
        assert!(text(-7_200).contains("live 7200 s longer than promised"));
    }
}
