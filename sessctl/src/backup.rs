//! The file format of a backup.
//!
//! A line `sessman-backup 2`, then one Zstandard stream, then a trailer: the name of a key (8 bytes), the MAC by that key of
//! everything before it (32 bytes, HMAC-SHA-256), and a SHA-256 of everything before that (32 bytes). Without a key, the name
//! is dots and the MAC is zeros.
//!
//! The stream contains lines of JSON: a [`Header`], a [record](crate::line) for each session in the order of their handles,
//! and a [`Footer`]. So corruption and truncation are detected before any record is used. With the key it is also detected
//! whether someone without it wrote or changed the file. And a backup can be read without this program:
//! `tail -c +18 FILE | zstd -dc`.
//!
//! Layout 1, which has neither name nor MAC, can still be read.

mod reader;
mod writer;

use serde::{Deserialize, Serialize};
use sessman::record::Record;
use sessman::store::sealed::{BackupMac, Name};

pub(crate) use reader::{Backup, Written};
pub(crate) use writer::Writer;

/// The first line of this layout.
const MAGIC: &[u8] = b"sessman-backup 2\n";
/// The first line of layout 1.
const MAGIC_1: &[u8] = b"sessman-backup 1\n";
/// The beginning of the first line of any layout.
const FAMILY: &[u8] = b"sessman-backup ";
/// Length of the checksum at the end, in bytes.
const CHECKSUM: u64 = 32;
/// Length of a key's name and a MAC, before the checksum, in bytes.
const SIGNATURE: u64 = (size_of::<Name>() + BackupMac::BYTES) as u64;
/// In place of a key's name, which is base64 and so has no dots.
const NO_KEY: Name = *b"........";

/// The first line of the stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// When the backup began; RFC 3339.
    pub(crate) created_at: String,
    /// The instance that the sessions are from.
    pub(crate) instance: String,
    /// The backend that they are from.
    pub(crate) backend: String,
    /// The layout of the records.
    pub(crate) schema: u32,
}

impl Header {
    pub(crate) fn new(created_at: String, instance: &str, backend: &str) -> Self {
        Self {
            created_at,
            instance: instance.to_owned(),
            backend: backend.to_owned(),
            schema: Record::SCHEMA,
        }
    }
}

/// The last line of the stream.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Footer {
    /// The number of records.
    records: u64,
    /// The number of sessions that could not be read and are missing.
    #[serde(default)]
    unread: u64,
}

/// A summary of a backup.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) records: u64,
    /// The number of sessions that could not be read when it was written, and are missing.
    pub(crate) unread: u64,
    /// See [`Digest`](crate::line::Digest).
    pub(crate) digest: String,
    /// Size of the file.
    pub(crate) bytes: u64,
    /// The result of the check of its MAC.
    pub(crate) mac: FileMac,
}

/// The result of the check of a backup's MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileMac {
    /// Valid: it was written with a key.
    Right,
    /// It has one, which was not checked.
    NotAsked,
    /// It has none.
    None,
}

impl FileMac {
    /// Its name in JSON output.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::NotAsked => "not asked",
            Self::None => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use sessman::mark::Mark;
    use sessman::store::sealed::Keys;
    use sha2::{Digest as _, Sha256};
    use tempfile::TempDir;

    use super::*;
    use crate::line::tests::record;
    use crate::pages::tests::keys;

    /// Of layout 1, with two sessions, as the version wrote it that knew no other.
    const LAYOUT_1: &[u8] = include_bytes!("backup/layout-1.backup");

    fn write(folder: &TempDir, records: u8) -> (PathBuf, Summary) {
        write_with(folder, records, None)
    }

    fn write_with(folder: &TempDir, records: u8, keys: Option<&Keys>) -> (PathBuf, Summary) {
        let path = folder.path().join("sessions.backup");
        let header = Header::new("2026-01-01T00:00:00.000Z".into(), "sessman", "sqlite");
        let mut writer = Writer::create(&path, &header, keys).unwrap();
        for n in 0..records {
            writer.write(&record(n)).unwrap();
        }
        let summary = writer.finish().unwrap();
        (path, summary)
    }

    fn verify(path: &Path) -> anyhow::Result<(Header, Summary)> {
        verify_by(path, Written::ByAnybody)
    }

    fn verify_by(path: &Path, written: Written<'_>) -> anyhow::Result<(Header, Summary)> {
        let mut backup = Backup::open(path)?;
        let summary = backup.verify(written, |_| Ok(()))?;
        Ok((backup.header()?, summary))
    }

    /// What a forger can do who has no key.
    fn with_checksum(mut content: Vec<u8>) -> Vec<u8> {
        let length = content.len() - CHECKSUM as usize;
        content.truncate(length);
        let checksum = Sha256::digest(&content);
        content.extend_from_slice(&checksum);
        content
    }

    #[test]
    fn a_backup_that_was_changed_is_refused_though_its_checksum_is_right() {
        let folder = TempDir::new().unwrap();
        let (path, _) = write_with(&folder, 3, Some(&keys(1)));
        let good = fs::read(&path).unwrap();
        let said = |content: Vec<u8>, by: &Keys| {
            fs::write(&path, with_checksum(content)).unwrap();
            verify_by(&path, Written::With(by))
                .map(|(_, summary)| summary.mac)
                .map_err(|error| error.to_string())
        };
        for keys in [keys(1), Keys::new(&[[2; 32], [1; 32]], false).unwrap()] {
            assert_eq!(said(good.clone(), &keys), Ok(FileMac::Right));
        }
        // All but its first line, whose change makes it another file.
        for at in MAGIC.len()..good.len() - CHECKSUM as usize {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let refused = said(bad, &keys(1)).unwrap_err();
            assert!(
                refused.contains("was changed by somebody without the key")
                    || refused.contains("a key that `encryption_keys` does not have"),
                "byte {at}: {refused}"
            );
        }
        // One that somebody wrote without a key, or with another.
        for other in [None, Some(keys(2))] {
            fs::remove_file(&path).unwrap();
            write_with(&folder, 3, other.as_ref());
            let refused = said(fs::read(&path).unwrap(), &keys(1)).unwrap_err();
            match other {
                None => {
                    assert!(refused.contains("has no MAC") && refused.contains("--unsigned"), "{refused}")
                }
                Some(_) => assert!(refused.contains("does not have"), "{refused}"),
            }
        }
        // Or one of the layout that had no place for a MAC.
        let older =
            [MAGIC_1, &good[MAGIC.len()..good.len() - (CHECKSUM + SIGNATURE) as usize], &[0; 32]].concat();
        assert!(said(older, &keys(1)).unwrap_err().contains("has no MAC"));
        // Whoever does not ask takes it.
        fs::write(&path, &good).unwrap();
        assert_eq!(verify(&path).unwrap().1.mac, FileMac::NotAsked);
    }

    #[test]
    fn a_backup_of_layout_1_is_read() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, LAYOUT_1).unwrap();
        let (header, summary) = verify(&path).unwrap();
        assert_eq!((header.schema, summary.records, summary.unread, summary.mac), (1, 2, 0, FileMac::None));
        for record in Backup::open(&path).unwrap().records().unwrap().map(Result::unwrap) {
            assert_eq!((record.mark, record.mac), (Mark::of_layout_1(record.created_at), None));
        }
    }

    #[test]
    fn what_was_written_is_read_in_any_number() {
        for records in [0, 1, 200] {
            let folder = TempDir::new().unwrap();
            let (path, written) = write(&folder, records);
            let (header, read) = verify(&path).unwrap();
            assert_eq!((read.records, &read.digest), (u64::from(records), &written.digest));
            assert_eq!(
                (header.instance.as_str(), read.bytes),
                ("sessman", fs::metadata(&path).unwrap().len())
            );
            let found: Vec<Record> =
                Backup::open(&path).unwrap().records().unwrap().map(Result::unwrap).collect();
            assert_eq!(found, (0..records).map(record).collect::<Vec<_>>());
            // Nothing else is left.
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn every_byte_and_every_length_counts() {
        let folder = TempDir::new().unwrap();
        let (path, _) = write_with(&folder, 9, Some(&keys(1)));
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(verify(&path).is_err(), "byte {at}");
            fs::write(&path, &good[..at]).unwrap();
            assert!(verify(&path).is_err(), "cut at {at}");
        }
        fs::write(&path, [&good[..], b"\n"].concat()).unwrap();
        assert!(verify(&path).is_err(), "longer");
        fs::write(&path, &good).unwrap();
        verify(&path).unwrap();
    }

    #[test]
    fn a_file_is_not_overwritten_and_an_unfinished_one_has_not_its_name() {
        let folder = TempDir::new().unwrap();
        let (path, _) = write(&folder, 1);
        let header = Header::new(String::new(), "", "");
        let refused = Writer::create(&path, &header, None).err().unwrap().to_string();
        assert!(refused.contains("is there already"), "{refused}");
        let other = folder.path().join("other");
        let mut unfinished = Writer::create(&other, &header, None).unwrap();
        unfinished.write(&record(1)).unwrap();
        drop(unfinished);
        assert!(!other.exists());
    }

    #[test]
    fn of_two_that_are_to_have_one_name_the_first_has_it_and_is_whole() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("x");
        let header = Header::new(String::new(), "", "");
        let mut writers = [1, 2].map(|_| Writer::create(&path, &header, None).unwrap());
        for writer in &mut writers {
            writer.write(&record(1)).unwrap();
        }
        let [first, second] = writers;
        first.finish().unwrap();
        assert!(second.finish().is_err());
        verify(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn whoever_may_not_read_the_store_may_not_read_its_backup() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = TempDir::new().unwrap();
        let (path, _) = write(&folder, 1);
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn other_files_and_newer_layouts_are_named() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("x");
        let said = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            verify(&path).unwrap_err().to_string()
        };
        assert!(said(b"SQLite format 3\0 and more").contains("is no backup"));
        assert!(said(b"").contains("is no backup"));
        assert!(said(b"sessman-backup 3\nwhatever").contains("newer version"));
        assert!(verify(&folder.path().join("nowhere")).unwrap_err().to_string().contains("cannot be read"));
    }
}
