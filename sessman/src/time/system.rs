//! The clock of a running process.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use super::{Clock, Timestamp};

/// Slew rate towards a wall clock that is behind, or less than [`SOON`] ahead: 500 microseconds a second, as with NTP.
const SLEW_PPM: i64 = 500;
/// Slew rate towards one that is further ahead.
const CATCH_UP_PPM: i64 = 100_000;
/// Offset in microseconds from which the faster rate is used.
const SOON: i64 = 1_000_000;
/// Offset from which the wall clock is taken to be set by hand, or wrong. It is then not followed.
pub(super) const MAX_OFFSET_MICROS: i64 = 60_000_000;

/// Wall time at the start, continued by `CLOCK_BOOTTIME`, which counts through a suspend and is never set.
///
/// So sessions keep their lifetimes, whatever is done to the wall clock. [`discipline`](Self::discipline) slews this clock
/// towards the wall clock; call it every second or so.
///
/// The usual reason for an offset is a machine that starts with a wrong clock, which NTP then sets. If the service is behind,
/// it keeps sessions live that are expired for nodes with the right time. So it runs faster by a tenth until less than a
/// second is left: 20 s are made up for in little more than three minutes, and a session gets at least nine tenths of its
/// lifetime. A step of 20 s would end a session with 15 s left. If the service is ahead, its sessions got too late an expiry,
/// and the clock must never go back: it runs slower by 500 microseconds a second, so that 20 s take half a day.
///
/// An offset of more than a minute is as likely a mistake, and following it would expire sessions wrongly. Then only a restart
/// takes the wall clock's time, and existing sessions expire earlier or later by that offset.
#[derive(Debug)]
pub struct SystemClock {
    /// Added to boot time it gives the time of day, in microseconds.
    offset: AtomicI64,
    /// When it was last disciplined, in boot time.
    disciplined: AtomicI64,
    /// The latest time returned, in milliseconds.
    latest: AtomicI64,
}

impl SystemClock {
    /// Starts at the wall clock's time.
    pub fn start() -> Self {
        Self::starting_at(wall_micros(), boot_micros())
    }

    /// Starts at `wall`, in microseconds since 1970, when the machine has run for `boot` microseconds.
    pub(super) fn starting_at(wall: i64, boot: i64) -> Self {
        Self { offset: (wall - boot).into(), disciplined: boot.into(), latest: i64::MIN.into() }
    }

    /// Slews towards the wall clock, unless that is more than 60 s off. The result is for a [`Watch`](super::Watch), which
    /// decides what to report.
    pub fn discipline(&self) -> Offset {
        self.follow(wall_micros(), boot_micros())
    }

    pub(super) fn follow(&self, wall: i64, boot: i64) -> Offset {
        let elapsed = boot - self.disciplined.swap(boot, Ordering::Relaxed);
        let ahead = wall - boot - self.offset.load(Ordering::Relaxed);
        let moved = if ahead.abs() > MAX_OFFSET_MICROS {
            0
        } else {
            let most = |ppm: i64| elapsed.max(0).saturating_mul(ppm) / 1_000_000;
            // The fast rate ends where the slow one takes over.
            let quickly = (ahead - SOON).min(most(CATCH_UP_PPM));
            ahead.clamp(-most(SLEW_PPM), most(SLEW_PPM).max(quickly))
        };
        self.offset.fetch_add(moved, Ordering::Relaxed);
        Offset { ahead: ahead - moved, moved }
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

/// The offset of the wall clock from this one. All in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// How far the wall clock is ahead; negative if it is behind.
    pub ahead: i64,
    /// By how much this clock was just slewed.
    pub moved: i64,
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

    /// At 1000 s when the machine has just started.
    fn clock() -> SystemClock {
        SystemClock::starting_at(1000 * SECOND, 0)
    }

    /// How far the wall clock is ahead after so many seconds, disciplined every second, where it was `ahead` at first.
    fn after(clock: &SystemClock, seconds: i64, ahead: i64) -> i64 {
        let mut latest = clock.at(0);
        for second in 1..=seconds {
            let boot = second * SECOND;
            let offset = clock.follow(1000 * SECOND + boot + ahead, boot);
            let now = clock.at(boot);
            let passed = now.since(latest).as_millis();
            assert!((999..=1_100).contains(&passed), "{passed} ms in a second");
            latest = now;
            if second == seconds {
                return offset.ahead;
            }
        }
        ahead
    }

    #[test]
    fn it_follows_a_wall_clock_that_is_behind_at_500_ppm_and_never_goes_back() {
        let clock = clock();
        assert_eq!(clock.at(0), Timestamp::from_millis(1_000_000));
        let offset = clock.follow((1000 + 10 - 1) * SECOND, 10 * SECOND);
        assert_eq!(offset, Offset { ahead: -SECOND + 5_000, moved: -5_000 });
        assert_eq!(clock.at(10 * SECOND), Timestamp::from_millis(1_009_995));
        // The same moment read again after a step back is not earlier.
        clock.follow((1000 + 10 - 1) * SECOND, 20 * SECOND);
        assert!(clock.at(10 * SECOND) >= Timestamp::from_millis(1_009_995));
        // 20 s take eleven hours.
        assert_eq!(after(&self::clock(), 3_600, -20 * SECOND), -20 * SECOND + 3_600 * 500);
    }

    #[test]
    fn a_service_that_began_20_s_behind_has_caught_up_after_200_s() {
        for (seconds, left) in [(1, 19_900_000), (100, 10 * SECOND), (190, SECOND), (200, SECOND - 10 * 500)]
        {
            assert_eq!(after(&clock(), seconds, 20 * SECOND), left, "{seconds}");
        }
        assert_eq!(after(&clock(), 590, 60 * SECOND), SECOND);
        assert_eq!(after(&clock(), 10, SECOND), SECOND - 10 * 500, "a second is not made up for quickly");
    }

    #[test]
    fn a_suspend_does_not_let_it_catch_up_beyond_the_wall_clock() {
        let clock = clock();
        let offset = clock.follow((1000 + 100_000 + 30) * SECOND, 100_000 * SECOND);
        assert_eq!(offset, Offset { ahead: 0, moved: 30 * SECOND });
    }

    #[test]
    fn it_ends_exactly_on_the_wall_clock() {
        let clock = clock();
        clock.follow((1000 + 100) * SECOND + 7, 100 * SECOND);
        let offset = clock.follow((1000 + 200) * SECOND + 7, 200 * SECOND);
        assert_eq!(offset, Offset { ahead: 0, moved: 0 });
    }

    #[test]
    fn it_does_not_follow_a_jump() {
        for hours in [2, -2] {
            let clock = clock();
            let offset = clock.follow((1000 + 10 + hours * 3600) * SECOND, 10 * SECOND);
            assert_eq!(offset, Offset { ahead: hours * 3600 * SECOND, moved: 0 });
            assert_eq!(clock.at(10 * SECOND), Timestamp::from_millis(1_010_000));
        }
    }
}
