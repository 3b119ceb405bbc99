//! The incarnation of a session.

use std::fmt;

use crate::time::Timestamp;

const BYTES: usize = 8;
/// Bytes of the seconds since 1970; as 32 bits they wrap around in 2106.
const SECONDS: usize = 4;

/// Tells apart the sessions that use the same handle one after the other, as an external id can be reused. Generated at
/// creation and never changed.
///
/// The second of creation, and 32 random bits. A record of layout 1 that was stored without a mark gets the one that
/// [`of_layout_1`](Self::of_layout_1) derives from its `created_at`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark([u8; BYTES]);

impl Mark {
    /// Length of a mark in bytes.
    pub const BYTES: usize = BYTES;

    /// The mark of a session created at `now`.
    ///
    /// # Panics
    /// If the operating system's random generator fails: there is no safe fallback.
    pub fn new(now: Timestamp) -> Self {
        let mut bytes = [0; BYTES];
        let (begun, random) = bytes.split_at_mut(SECONDS);
        begun.copy_from_slice(&seconds(now).to_be_bytes());
        getrandom::fill(random).expect("the operating system gives randomness");
        Self(bytes)
    }

    /// The mark of a record that was stored without one. No other mark begins with two zero bytes: their time would be the
    /// first day of 1970, or of 2106.
    pub fn of_layout_1(created_at: Timestamp) -> Self {
        Self(created_at.as_millis().to_be_bytes())
    }

    /// Whether [`of_layout_1`](Self::of_layout_1) made it.
    pub(crate) fn is_of_layout_1(self) -> bool {
        self.0.starts_with(&[0, 0])
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// Seconds since the session's creation; 0 if that is not before `now`.
    pub(crate) fn age(self, now: Timestamp) -> u32 {
        let begun = u32::from_be_bytes(std::array::from_fn(|index| self.0[index]));
        let age = seconds(now).wrapping_sub(begun);
        // More than half of the range: the creation is in the future.
        if age > u32::MAX / 2 { 0 } else { age }
    }

    /// Parses the form that [`Display`](fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 2 * BYTES && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(|number| Self(number.to_be_bytes()))
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they start again in 2106")]
fn seconds(at: Timestamp) -> u32 {
    at.as_millis().div_euclid(1_000) as u32
}

impl From<[u8; BYTES]> for Mark {
    fn from(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }
}

/// 16 hexadecimal digits.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mark({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sessions_of_one_moment_have_two_marks() {
        let now = Timestamp::from_millis(1_700_000_000_999);
        assert_ne!(Mark::new(now), Mark::new(now));
        assert_eq!(Mark::new(now).age(now.after(std::time::Duration::from_secs(7))), 7);
        assert_eq!(Mark::new(now).age(Timestamp::from_millis(0)), 0, "the future");
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let mark = Mark::from([0, 1, 2, 3, 4, 5, 6, 255]);
        assert_eq!(mark.to_string(), "00010203040506ff");
        assert_eq!(Mark::parse("00010203040506ff"), Some(mark));
        for bad in ["", "00010203040506f", "00010203040506fff", "+0010203040506ff", "0x010203040506ff"] {
            assert_eq!(Mark::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_record_without_a_mark_has_that_of_its_beginning() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let mark = Mark::of_layout_1(now);
        assert!(mark.is_of_layout_1() && !Mark::new(now).is_of_layout_1());
        assert_eq!(mark, Mark::of_layout_1(now));
    }
}
