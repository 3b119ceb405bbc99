//! The clock of a running process.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use super::{Clock, Timestamp};

/// How fast the clock follows the wall clock: 500 microseconds a second, as NTP does.
const SLEW_PPM: i64 = 500;
/// A wall clock that is further away than this was set by hand, or wrongly. It is not followed.
const MAX_OFFSET_MICROS: i64 = 60_000_000;

/// Wall time at the start, carried on by `CLOCK_BOOTTIME`, which counts through a suspend and is never set.
///
/// Sessions then end when they were promised to, whatever is done to the wall clock. Call
/// [`discipline`](Self::discipline) every few seconds: it follows the wall clock slowly.
#[derive(Debug)]
pub struct SystemClock {
    /// Add it to boot time for the time of day, in microseconds.
    offset: AtomicI64,
    /// When it was disciplined last, in boot time.
    disciplined: AtomicI64,
    /// The latest moment given out, in milliseconds.
    latest: AtomicI64,
}

impl SystemClock {
    /// Starts at the wall clock's time.
    pub fn start() -> Self {
        let boot = boot_micros();
        Self { offset: (wall_micros() - boot).into(), disciplined: boot.into(), latest: i64::MIN.into() }
    }

    /// Moves a little towards the wall clock and returns how far away it was before: positive when the wall clock
    /// is ahead. An offset of more than 60 s is not followed; the caller should say so.
    pub fn discipline(&self) -> Offset {
        self.follow(wall_micros(), boot_micros())
    }

    fn follow(&self, wall: i64, boot: i64) -> Offset {
        let elapsed = boot - self.disciplined.swap(boot, Ordering::Relaxed);
        let ahead = wall - boot - self.offset.load(Ordering::Relaxed);
        let followed = ahead.abs() <= MAX_OFFSET_MICROS;
        if followed {
            let most = elapsed.max(0) * SLEW_PPM / 1_000_000;
            self.offset.fetch_add(ahead.clamp(-most, most), Ordering::Relaxed);
        }
        Offset { ahead: ahead >= 0, by: Duration::from_micros(ahead.unsigned_abs()), followed }
    }

    fn at(&self, boot: i64) -> Timestamp {
        let now = (boot + self.offset.load(Ordering::Relaxed)).div_euclid(1000);
        let latest = self.latest.load(Ordering::Relaxed);
        if now <= latest {
            return Timestamp::from_millis(latest);
        }
        Timestamp::from_millis(self.latest.fetch_max(now, Ordering::Relaxed).max(now))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.at(boot_micros())
    }
}

/// How far the wall clock was from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// Whether the wall clock was ahead of ours.
    pub ahead: bool,
    /// By how much.
    pub by: Duration,
    /// Whether ours follows it.
    pub followed: bool,
}

fn boot_micros() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

fn wall_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn clock() -> SystemClock {
        SystemClock { offset: (1000 * SECOND).into(), disciplined: 0.into(), latest: i64::MIN.into() }
    }

    #[test]
    fn it_follows_a_small_offset_at_500_ppm_and_never_goes_back() {
        let clock = clock();
        assert_eq!(clock.at(0), Timestamp::from_millis(1_000_000));
        let offset = clock.follow((1000 + 10 - 1) * SECOND, 10 * SECOND);
        assert_eq!(offset, Offset { ahead: false, by: Duration::from_secs(1), followed: true });
        assert_eq!(clock.at(10 * SECOND), Timestamp::from_millis(1_009_995));
        // The same moment read again after a step back is not earlier.
        clock.follow((1000 + 10 - 1) * SECOND, 20 * SECOND);
        assert!(clock.at(10 * SECOND) >= Timestamp::from_millis(1_009_995));
    }

    #[test]
    fn it_ends_exactly_on_the_wall_clock() {
        let clock = clock();
        clock.follow((1000 + 100) * SECOND + 7, 100 * SECOND);
        let offset = clock.follow((1000 + 200) * SECOND + 7, 200 * SECOND);
        assert_eq!(offset.by, Duration::ZERO);
    }

    #[test]
    fn it_does_not_follow_a_jump() {
        let clock = clock();
        let offset = clock.follow((1000 + 10 + 3600) * SECOND, 10 * SECOND);
        assert_eq!(offset, Offset { ahead: true, by: Duration::from_secs(3600), followed: false });
        assert_eq!(clock.at(10 * SECOND), Timestamp::from_millis(1_010_000));
    }
}
