//! `Range` (RFC 9110): a part of a file.

use std::ops::Range;

/// What of a file is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it: no range is asked for, or one that this server does not know, which may be ignored.
    Whole,
    /// These bytes.
    Bytes(Range<u64>),
    /// Bytes that the file does not have.
    Beyond,
}

/// Reads the value of `Range` for a file of `length` bytes. Several ranges at once get the whole file.
pub(crate) fn read(value: &[u8], length: u64) -> Part {
    let Some(range) = std::str::from_utf8(value).ok().and_then(single) else { return Part::Whole };
    match range {
        // The last bytes.
        (None, Some(0)) => Part::Beyond,
        (None, Some(_)) if length == 0 => Part::Beyond,
        (None, Some(count)) => Part::Bytes(length.saturating_sub(count)..length),
        (Some(first), Some(last)) if last < first => Part::Whole,
        (Some(first), _) if first >= length => Part::Beyond,
        (Some(first), last) => {
            Part::Bytes(first..last.map_or(length, |last| last.saturating_add(1).min(length)))
        }
        (None, None) => Part::Whole,
    }
}

/// First and last byte of a single range of bytes.
fn single(value: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = value.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    Some((number(first)?, number(last)?))
}

/// A number, which may be missing. One that is too large is as good as the largest.
#[allow(clippy::option_option, reason = "outside: whether it is one; inside: whether it is there")]
fn number(text: &str) -> Option<Option<u64>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(None);
    }
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_ranges() {
        for (value, expected) in [
            ("bytes=0-0", Part::Bytes(0..1)),
            ("bytes=2-4", Part::Bytes(2..5)),
            ("bytes=2-", Part::Bytes(2..10)),
            ("bytes=2-99999999999999999999999", Part::Bytes(2..10)),
            ("bytes=-3", Part::Bytes(7..10)),
            ("bytes=-99", Part::Bytes(0..10)),
            ("Bytes = 9-9", Part::Bytes(9..10)),
            ("bytes=10-", Part::Beyond),
            ("bytes=18446744073709551615-18446744073709551615", Part::Beyond),
            ("bytes=-0", Part::Beyond),
            // Ignored: no range, no bytes, more than one.
            ("bytes=4-2", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("0-1", Part::Whole),
        ] {
            assert_eq!(read(value.as_bytes(), 10), expected, "{value}");
        }
        assert_eq!(read(b"bytes=\xff-", 10), Part::Whole);
    }

    #[test]
    fn an_empty_file_has_no_part() {
        for value in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(read(value.as_bytes(), 0), Part::Beyond, "{value}");
        }
    }
}
