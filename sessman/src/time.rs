//! Timestamps, and the engine's clock.

mod system;
mod watch;

use std::fmt;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use system::{Offset, SystemClock};
pub use watch::{Notice, Watch};

/// A UTC timestamp in whole milliseconds since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970-01-01 UTC.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The timestamp `duration` later; saturates on overflow.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The timestamp `duration` earlier; saturates on overflow.
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The duration since `earlier`; zero if that is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Timestamp {
    /// Parses a time as in RFC 3339, with any offset; what is shorter than a millisecond is cut off.
    pub fn parse(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok().map(Self)
    }
}

impl From<Timestamp> for SystemTime {
    /// A timestamp before 1970 becomes 1970: no session has one.
    fn from(timestamp: Timestamp) -> Self {
        SystemTime::UNIX_EPOCH + timestamp.since(Timestamp(0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-01-02T03:04:05.678Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

/// A timestamp in RFC 3339 format. Every response has five of them, so they are formatted here and not by a library.
pub(crate) struct Text([u8; Text::LENGTH]);

impl Text {
    const LENGTH: usize = 24;

    /// ASCII.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn as_str(&self) -> &str {
        // ASCII is valid UTF-8.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Timestamp {
    /// The last timestamp whose year has four digits, as RFC 3339 requires.
    const LAST: i64 = 253_402_300_799_999;
    const MILLIS_OF_DAY: i64 = 86_400_000;

    /// See [`Display`](fmt::Display). Before 1970 and after 9999 the nearest valid timestamp is written.
    pub(crate) fn text(self) -> Text {
        let millis = self.0.clamp(0, Self::LAST);
        let (year, month, day) = date((millis / Self::MILLIS_OF_DAY) as u32);
        let of_day = (millis % Self::MILLIS_OF_DAY) as u32;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut two_digits = |at: usize, number: u32| {
            text[at] = b'0' + (number / 10) as u8;
            text[at + 1] = b'0' + (number % 10) as u8;
        };
        two_digits(0, year / 100);
        two_digits(2, year % 100);
        two_digits(5, month);
        two_digits(8, day);
        two_digits(11, of_day / 3_600_000);
        two_digits(14, of_day / 60_000 % 60);
        two_digits(17, of_day / 1_000 % 60);
        two_digits(20, of_day % 1_000 / 10);
        text[22] = b'0' + (of_day % 10) as u8;
        Text(text)
    }
}

/// Year, month and day of the proleptic Gregorian calendar, from the days since 1970-01-01. Years are counted from
/// March, so that the leap day is a year's last.
fn date(days: u32) -> (u32, u32, u32) {
    const DAYS_OF_400_YEARS: u32 = 146_097;
    // Days since 0000-03-01.
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March, and from August, every five months have 153 days together.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * era + year + next, month, day)
}

/// The engine's source of time, injected so that tests need not wait.
pub trait Clock: Send + Sync {
    /// The current time. Monotonic: never earlier than a value returned before.
    fn now(&self) -> Timestamp;
}

/// A clock for tests that only moves when told to.
#[derive(Debug)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    /// A clock that starts at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(start.as_millis().into())
    }

    /// Advances it by `duration`.
    pub fn advance(&self, duration: Duration) {
        let now = self.now().after(duration);
        self.0.store(now.as_millis(), std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_library(millis: i64) -> String {
        humantime::format_rfc3339_millis(SystemTime::from(Timestamp::from_millis(millis))).to_string()
    }

    #[test]
    fn turns_of_days_months_and_years_are_written_right() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (Timestamp::LAST, "9999-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
            (-1, "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp::from_millis(millis).to_string(), text, "{millis}");
        }
        for day in 0..=Timestamp::LAST / Timestamp::MILLIS_OF_DAY {
            let millis = day * Timestamp::MILLIS_OF_DAY;
            assert_eq!(Timestamp::from_millis(millis).to_string(), by_library(millis));
        }
    }

    #[test]
    fn a_time_is_read_with_any_offset_and_nothing_else_is_one() {
        let moment = Timestamp::from_millis(1_767_323_045_678);
        for text in
            ["2026-01-02T03:04:05.678Z", "2026-01-02T04:04:05.6789+01:00", "2026-01-01t22:04:05.678-05:00"]
        {
            assert_eq!(Timestamp::parse(text), Some(moment), "{text}");
        }
        assert_eq!(Timestamp::parse("1969-12-31T23:59:59.9999Z"), Some(Timestamp::from_millis(-1)));
        for text in [
            "",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-13-02T03:04:05Z",
            "1767323045",
            " 2026-01-02T03:04:05Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_moment_is_read_as_it_was_written(millis in 0..=Timestamp::LAST) {
            let moment = Timestamp::from_millis(millis);
            prop_assert_eq!(Timestamp::parse(&moment.to_string()), Some(moment));
        }

        #[test]
        fn any_moment_is_written_as_a_library_does(millis in 0..=Timestamp::LAST) {
            prop_assert_eq!(Timestamp::from_millis(millis).to_string(), by_library(millis));
        }
    }
}
