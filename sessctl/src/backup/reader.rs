//! Reads a backup. All of it is verified before a record is returned.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Read, Seek as _, SeekFrom, Take};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use sessman::id::Handle;
use sessman::record::Record;
use sessman::store::sealed::{BackupMac, Keys, Name};
use sha2::{Digest as _, Sha256};
use zstd::stream::read::Decoder;

use super::{CHECKSUM, FAMILY, FileMac, Footer, Header, MAGIC, MAGIC_1, NO_KEY, SIGNATURE, Summary};
use crate::line::{self, Digest};

/// The longest line. Data and metadata of the largest size, each encrypted, take less than half of it.
const MAX_LINE: u64 = 16 << 20;

/// A file with the first line of a backup.
pub(crate) struct Backup {
    path: PathBuf,
    file: File,
    length: u64,
    /// Whether its layout has a MAC.
    has_signature: bool,
}

/// Who must have written a backup.
#[derive(Clone, Copy)]
pub(crate) enum Written<'a> {
    /// Someone with one of these keys.
    With(&'a Keys),
    /// Anyone.
    ByAnybody,
}

impl Backup {
    /// Opens the file, and checks its first line.
    ///
    /// # Errors
    /// It cannot be read, or is no backup.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let mut file = File::open(path).map_err(|error| anyhow!("{shown} cannot be read: {error}"))?;
        let length = file.metadata().map_err(|error| anyhow!("{shown} cannot be read: {error}"))?.len();
        let mut start = Vec::new();
        (&mut file).take(MAGIC.len() as u64).read_to_end(&mut start)?;
        let has_signature = start == MAGIC;
        if !has_signature && start != MAGIC_1 {
            if start.starts_with(FAMILY) {
                bail!("{shown} is damaged, or was written by a newer version of sessctl; use that one");
            }
            bail!("{shown} is no backup that sessctl wrote");
        }
        let this = Self { path: path.to_owned(), file, length, has_signature };
        if length < MAGIC.len() as u64 + this.trailer() {
            bail!("{shown} is damaged: it ends too early");
        }
        Ok(this)
    }

    /// Length of the trailer in bytes.
    fn trailer(&self) -> u64 {
        CHECKSUM + if self.has_signature { SIGNATURE } else { 0 }
    }

    /// Verifies the whole file, and passes each record to `check`.
    ///
    /// # Errors
    /// The file is corrupt or truncated, was not written by the required party, or `check` failed.
    pub(crate) fn verify(
        &mut self,
        written: Written<'_>,
        mut check: impl FnMut(&Record) -> Result<()>,
    ) -> Result<Summary> {
        let mac = self.verify_bytes(written)?;
        let mut digest = Digest::default();
        let (mut count, mut last) = (0, None::<Handle>);
        let mut records = self.records()?;
        while let Some(record) = records.next().transpose()? {
            if last.is_some_and(|last| last >= record.handle) {
                bail!("{} is damaged: its records are not in their order", self.path.display());
            }
            last = Some(record.handle);
            digest.add_line(&records.line);
            check(&record)?;
            count += 1;
        }
        let unread = records.unread;
        Ok(Summary { records: count, unread, digest: digest.end(), bytes: self.length, mac })
    }

    /// Verifies its bytes: the checksum first, then the MAC.
    fn verify_bytes(&mut self, written: Written<'_>) -> Result<FileMac> {
        let key_name = self.key_name()?;
        let mut mac = match (written, key_name) {
            (Written::With(keys), Some(name)) => keys.backup_mac_of(name),
            _ => None,
        };
        let shown = self.path.display();
        self.file.rewind()?;
        let mut hash = Sha256::new();
        let signed = self.length - CHECKSUM - if self.has_signature { BackupMac::BYTES as u64 } else { 0 };
        read_pieces(&mut self.file, signed, &self.path, |piece| {
            hash.update(piece);
            if let Some(mac) = &mut mac {
                mac.update(piece);
            }
        })?;
        let mut code = [0; BackupMac::BYTES];
        if self.has_signature {
            self.file.read_exact(&mut code)?;
            hash.update(code);
        }
        let mut checksum = [0; CHECKSUM as usize];
        self.file.read_exact(&mut checksum)?;
        if hash.finalize()[..] != checksum {
            bail!("{shown} is damaged: its checksum is not that of its content");
        }
        match (written, key_name, mac) {
            (Written::ByAnybody, None, _) => Ok(FileMac::None),
            (Written::ByAnybody, Some(_), _) => Ok(FileMac::NotAsked),
            (Written::With(_), None, _) => bail!(
                "{shown} has no MAC, so that whoever could write to it may have put sessions into it: it was written without \
                 `encryption_keys`, or by a version that knew no MACs. If you know where it has been since, say --unsigned"
            ),
            (Written::With(_), Some(_), None) => bail!(
                "the MAC of {shown} was made with a key that `encryption_keys` does not have; put that key back, behind the \
                 others"
            ),
            (Written::With(_), Some(_), Some(mac)) => match mac.is(&code) {
                true => Ok(FileMac::Right),
                false => {
                    bail!(
                        "{shown} was changed by somebody without the key: its MAC is not that of its content"
                    )
                }
            },
        }
    }

    /// The name of the key of its MAC.
    fn key_name(&mut self) -> Result<Option<Name>> {
        if !self.has_signature {
            return Ok(None);
        }
        self.file.seek(SeekFrom::Start(self.length - self.trailer()))?;
        let mut name = NO_KEY;
        self.file.read_exact(&mut name)?;
        Ok((name != NO_KEY).then_some(name))
    }

    /// Its first line.
    pub(crate) fn header(&mut self) -> Result<Header> {
        Ok(self.records()?.header)
    }

    /// Its records, from the beginning.
    pub(crate) fn records(&mut self) -> Result<Records<'_>> {
        let begin = MAGIC.len() as u64;
        self.file.seek(SeekFrom::Start(begin))?;
        let length = self.length - begin - self.trailer();
        let stream = Decoder::new((&mut self.file).take(length))?;
        let mut records = Records {
            path: &self.path,
            lines: BufReader::with_capacity(1 << 16, stream.single_frame()),
            header: Header::new(String::new(), "", ""),
            line: String::new(),
            count: 0,
            unread: 0,
            is_over: false,
        };
        records.read_line()?;
        records.header = serde_json::from_str(&records.line).map_err(|_| records.damaged("its header"))?;
        if records.header.schema > Record::SCHEMA {
            bail!(
                "the records of {} have the layout {}, this build knows {}; use the version that wrote it",
                self.path.display(),
                records.header.schema,
                Record::SCHEMA
            );
        }
        Ok(records)
    }
}

/// Reads this many bytes, and passes them on piece by piece.
fn read_pieces(file: &mut File, length: u64, path: &Path, mut each: impl FnMut(&[u8])) -> Result<()> {
    let mut left = length;
    let mut piece = vec![0; 1 << 16];
    while left > 0 {
        let wanted = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let found = file.read(&mut piece[..wanted])?;
        if found == 0 {
            bail!("{} became shorter while it was read", path.display());
        }
        each(&piece[..found]);
        left -= found as u64;
    }
    Ok(())
}

/// The records of a backup, in the order of their handles.
pub(crate) struct Records<'a> {
    path: &'a Path,
    lines: BufReader<Decoder<'static, BufReader<Take<&'a mut File>>>>,
    header: Header,
    /// The line that was read last.
    line: String,
    count: u64,
    /// The number of missing sessions, from the footer.
    unread: u64,
    is_over: bool,
}

impl Records<'_> {
    fn damaged(&self, what: &str) -> anyhow::Error {
        anyhow!("{} is damaged: {what} is not what sessctl wrote", self.path.display())
    }

    fn read_line(&mut self) -> Result<()> {
        self.line.clear();
        let read = (&mut self.lines).take(MAX_LINE).read_line(&mut self.line);
        match read {
            Ok(_) if self.line.ends_with('\n') => Ok(()),
            Err(error)
                if error.kind() != ErrorKind::InvalidData && error.kind() != ErrorKind::UnexpectedEof =>
            {
                Err(error).with_context(|| format!("{} cannot be read", self.path.display()))
            }
            _ => Err(self.damaged("a line of it")),
        }
    }

    fn read_record(&mut self) -> Result<Option<Record>> {
        self.read_line()?;
        if self.line.starts_with("{\"handle\":") {
            self.count += 1;
            let record = line::read(&self.line);
            return record.map(Some).map_err(|error| anyhow!("{} is damaged: {error}", self.path.display()));
        }
        self.is_over = true;
        let footer: Footer = serde_json::from_str(&self.line).map_err(|_| self.damaged("its last line"))?;
        let is_end = self.lines.fill_buf().is_ok_and(<[u8]>::is_empty);
        if footer.records != self.count || !is_end {
            return Err(self.damaged("its end"));
        }
        self.unread = footer.unread;
        Ok(None)
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        self.read_record().inspect_err(|_| self.is_over = true).transpose()
    }
}
