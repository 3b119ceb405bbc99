//! The file of a backup.
//!
//! A line `sessman-backup 1`, then one Zstandard stream, then the 32 bytes of a SHA-256 of all that comes before them. In the
//! stream are lines of JSON: a [`Header`], a [record](crate::line) each in the order of their handles, and a [`Footer`]. So
//! a byte that changed, and an end that is missing, is seen before a record is looked at; and a person can read a backup without
//! this program: `tail -c +18 FILE | zstd -dc`.

mod reader;
mod writer;

use serde::{Deserialize, Serialize};
use sessman::record::Record;

pub(crate) use reader::Backup;
pub(crate) use writer::Writer;

/// How every backup of this layout begins.
const MAGIC: &[u8] = b"sessman-backup 1\n";
/// And one of any.
const FAMILY: &[u8] = b"sessman-backup ";
/// Bytes of the checksum at the end.
const CHECKSUM: u64 = 32;

/// The first line of the stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// When it was begun; RFC 3339.
    pub(crate) created_at: String,
    /// The instance whose sessions they are.
    pub(crate) instance: String,
    /// What kept them.
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
    /// How many records there are.
    records: u64,
}

/// What is in a backup.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) records: u64,
    /// See [`Digest`](crate::line::Digest).
    pub(crate) digest: String,
    /// Of the file.
    pub(crate) bytes: u64,
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::line::tests::record;

    fn write(folder: &TempDir, records: u8) -> (PathBuf, Summary) {
        let path = folder.path().join("sessions.backup");
        let header = Header::new("2026-01-01T00:00:00.000Z".into(), "sessman", "sqlite");
        let mut writer = Writer::create(&path, &header).unwrap();
        for n in 0..records {
            writer.write(&record(n)).unwrap();
        }
        let summary = writer.finish().unwrap();
        (path, summary)
    }

    fn verify(path: &std::path::Path) -> anyhow::Result<(Header, Summary)> {
        let mut backup = Backup::open(path)?;
        let summary = backup.verify(|_| Ok(()))?;
        Ok((backup.header()?, summary))
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
        let (path, _) = write(&folder, 9);
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
        let refused = Writer::create(&path, &header).err().unwrap().to_string();
        assert!(refused.contains("is there already"), "{refused}");
        let other = folder.path().join("other");
        let mut unfinished = Writer::create(&other, &header).unwrap();
        unfinished.write(&record(1)).unwrap();
        drop(unfinished);
        assert!(!other.exists());
    }

    #[test]
    fn of_two_that_are_to_have_one_name_the_first_has_it_and_is_whole() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("x");
        let header = Header::new(String::new(), "", "");
        let mut writers = [1, 2].map(|_| Writer::create(&path, &header).unwrap());
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
        assert!(said(b"sessman-backup 2\nwhatever").contains("newer version"));
        assert!(verify(&folder.path().join("nowhere")).unwrap_err().to_string().contains("cannot be read"));
    }
}
