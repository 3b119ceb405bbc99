//! The tail: what a record of layout 2 has beyond layout 1, as bytes, for stores that keep a record as bytes or in columns.
//!
//! A sequence of entries: a number of one byte, a length of two bytes (big endian), then the content. Each number occurs at
//! most once; a missing entry has its default. A build that meets an unknown number rejects the record.

use crate::mark::Mark;
use crate::record::{Mac, TtlSource};

const MARK: u8 = 1;
const TTL_SOURCE: u8 = 2;
const MAC: u8 = 3;

/// The tail of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    /// `None` if the store keeps it elsewhere, or for a record of layout 1.
    pub(super) mark: Option<Mark>,
    /// `Unknown` also if the store keeps it elsewhere.
    pub(super) ttl_source: TtlSource,
    pub(super) mac: Option<Mac>,
}

impl Default for Tail {
    fn default() -> Self {
        Self { mark: None, ttl_source: TtlSource::Unknown, mac: None }
    }
}

/// Why this build cannot read a tail.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Unreadable {
    #[error("it has something that this build does not know ({0})")]
    Unknown(u8),
    #[error("it is damaged")]
    Damaged,
}

impl Tail {
    /// Empty if everything is at its default.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let Self { mark, ttl_source, mac } = self;
        let mut bytes = Vec::new();
        let mut put = |number: u8, content: &[u8]| {
            bytes.push(number);
            // No content is near 64 KiB.
            bytes.extend(u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend(content);
        };
        if let Some(mark) = mark {
            put(MARK, mark.as_bytes());
        }
        match ttl_source {
            TtlSource::Configured => put(TTL_SOURCE, &[0]),
            TtlSource::Caller => put(TTL_SOURCE, &[1]),
            TtlSource::Unknown => {}
        }
        if let Some(Mac(mac)) = mac {
            put(MAC, &mac);
        }
        bytes
    }

    /// Parses what [`to_bytes`](Self::to_bytes) wrote.
    pub(super) fn read(mut bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut tail = Self::default();
        while let Some((number, content)) = next(&mut bytes)? {
            match number {
                MARK => tail.mark = Some(Mark::from(exactly(content)?)),
                TTL_SOURCE => {
                    tail.ttl_source = match exactly(content)? {
                        [0] => TtlSource::Configured,
                        [1] => TtlSource::Caller,
                        [_] => return Err(Unreadable::Damaged),
                    }
                }
                MAC => tail.mac = Some(Mac(exactly(content)?)),
                unknown => return Err(Unreadable::Unknown(unknown)),
            }
        }
        Ok(tail)
    }
}

fn exactly<const N: usize>(content: &[u8]) -> Result<[u8; N], Unreadable> {
    content.try_into().map_err(|_| Unreadable::Damaged)
}

/// Splits off the first entry; `None` at the end.
fn next<'a>(bytes: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, Unreadable> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (head, rest) = bytes.split_first_chunk::<3>().ok_or(Unreadable::Damaged)?;
    let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
    let (content, rest) = rest.split_at_checked(length).ok_or(Unreadable::Damaged)?;
    *bytes = rest;
    Ok(Some((head[0], content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Tail {
        Tail { mark: Some(Mark::from([7; 8])), ttl_source: TtlSource::Caller, mac: Some(Mac([9; 32])) }
    }

    #[test]
    fn a_tail_is_read_as_it_was_written() {
        for tail in [
            Tail::default(),
            full(),
            Tail { ttl_source: TtlSource::Configured, ..full() },
            Tail { mac: None, ..full() },
            Tail { mark: None, ..full() },
        ] {
            assert_eq!(Tail::read(&tail.to_bytes()), Ok(tail));
        }
        assert!(Tail::default().to_bytes().is_empty());
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_refused() {
        let bytes = full().to_bytes();
        let whole_entries = [0, 11, 15];
        for length in (0..bytes.len()).filter(|length| !whole_entries.contains(length)) {
            assert_eq!(Tail::read(&bytes[..length]), Err(Unreadable::Damaged), "{length}");
        }
        assert_eq!(Tail::read(&[&bytes[..], &[4, 0, 0]].concat()), Err(Unreadable::Unknown(4)));
        assert_eq!(Tail::read(&[TTL_SOURCE, 0, 1, 2]), Err(Unreadable::Damaged));
    }
}
