//! The tail: what a record of layout 2 has beyond layout 1, as bytes, for stores that keep a record as bytes or in columns.
//!
//! A sequence of entries: a number of one byte, a length of two bytes (big endian), then the content. Each number occurs at
//! most once; a missing entry has its default. A build that meets an unknown number rejects the record.

use std::time::Duration;

use crate::labels::Labels;
use crate::mark::Mark;
use crate::record::{Mac, Record, TtlSource};

const MARK: u8 = 1;
const TTL_SOURCE: u8 = 2;
const MAC: u8 = 3;
const IDLE: u8 = 4;
const PERSISTENT: u8 = 5;
const LABELS: u8 = 6;

/// The tail of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tail {
    /// `None` if the store keeps it elsewhere, or for a record of layout 1.
    pub(super) mark: Option<Mark>,
    /// `Unknown` also if the store keeps it elsewhere.
    pub(super) ttl_source: TtlSource,
    pub(super) mac: Option<Mac>,
    pub(super) idle: Option<Duration>,
    pub(super) persistent: bool,
    pub(super) labels: Labels,
}

impl Default for Tail {
    fn default() -> Self {
        Self {
            mark: None,
            ttl_source: TtlSource::Unknown,
            mac: None,
            idle: None,
            persistent: false,
            labels: Labels::none(),
        }
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
    /// The tail of `record`.
    pub(super) fn of(record: &Record) -> Self {
        Self { mark: Some(record.mark), ttl_source: record.ttl_source, ..Self::without_head(record) }
    }

    /// The same, for a store that keeps mark and source of the ttl elsewhere.
    pub(super) fn without_head(record: &Record) -> Self {
        Self {
            mac: record.mac,
            idle: record.idle,
            persistent: record.persistent,
            labels: record.labels.clone(),
            ..Self::default()
        }
    }

    /// Empty if everything is at its default.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let Self { mark, ttl_source, mac, idle, persistent, labels } = self;
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
            put(MAC, mac);
        }
        if let Some(idle) = idle {
            put(IDLE, &u64::try_from(idle.as_millis()).unwrap_or(u64::MAX).to_be_bytes());
        }
        if *persistent {
            put(PERSISTENT, &[1]);
        }
        if !labels.is_empty() {
            put(LABELS, &labels.to_bytes());
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
                IDLE => tail.idle = Some(Duration::from_millis(u64::from_be_bytes(exactly(content)?))),
                PERSISTENT => {
                    tail.persistent = match exactly(content)? {
                        [1] => true,
                        [_] => return Err(Unreadable::Damaged),
                    }
                }
                LABELS => tail.labels = Labels::from_bytes(content).ok_or(Unreadable::Damaged)?,
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
    use crate::labels::Label;

    fn full() -> Tail {
        Tail {
            mark: Some(Mark::from([7; 8])),
            ttl_source: TtlSource::Caller,
            mac: Some(Mac([9; 32])),
            idle: Some(Duration::from_millis(60_001)),
            persistent: true,
            labels: Labels::from_list(vec![Label::new("tenant", "acme").unwrap()]).unwrap(),
        }
    }

    #[test]
    fn a_tail_is_read_as_it_was_written() {
        for tail in [
            Tail::default(),
            full(),
            Tail { ttl_source: TtlSource::Configured, ..full() },
            Tail { mac: None, ..full() },
            Tail { mark: None, ..full() },
            Tail { idle: Some(Duration::ZERO), ..Tail::default() },
            Tail { persistent: false, labels: Labels::none(), ..full() },
        ] {
            assert_eq!(Tail::read(&tail.to_bytes()), Ok(tail));
        }
        assert!(Tail::default().to_bytes().is_empty());
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_refused() {
        let bytes = full().to_bytes();
        let whole_entries = [0, 11, 15, 50, 61, 65];
        for length in (0..bytes.len()).filter(|length| !whole_entries.contains(length)) {
            assert_eq!(Tail::read(&bytes[..length]), Err(Unreadable::Damaged), "{length}");
        }
        assert_eq!(Tail::read(&[&bytes[..], &[7, 0, 0]].concat()), Err(Unreadable::Unknown(7)));
        for damaged in
            [&[TTL_SOURCE, 0, 1, 2][..], &[PERSISTENT, 0, 1, 0], &[IDLE, 0, 1, 0], &[LABELS, 0, 1, 1]]
        {
            assert_eq!(Tail::read(damaged), Err(Unreadable::Damaged));
        }
    }
}
