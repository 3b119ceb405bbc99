//! Reads a backup: all of it is looked at before a record is given out.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Read, Seek as _, SeekFrom, Take};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use sessman::id::Handle;
use sessman::record::Record;
use sha2::{Digest as _, Sha256};
use zstd::stream::read::Decoder;

use super::{CHECKSUM, FAMILY, Footer, Header, MAGIC, Summary};
use crate::line::{self, Digest};

/// Data and metadata of the largest size, each encrypted, have less than half of it.
const MAX_LINE: u64 = 16 << 20;

/// A file that says that it is a backup.
pub(crate) struct Backup {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Backup {
    /// Opens it, and looks at its first line.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let mut file = File::open(path).map_err(|error| anyhow!("{shown} cannot be read: {error}"))?;
        let length = file.metadata().map_err(|error| anyhow!("{shown} cannot be read: {error}"))?.len();
        let mut start = Vec::new();
        (&mut file).take(MAGIC.len() as u64).read_to_end(&mut start)?;
        if start != MAGIC {
            if start.starts_with(FAMILY) {
                bail!("{shown} is damaged, or was written by a newer version of sessctl; use that one");
            }
            bail!("{shown} is no backup that sessctl wrote");
        }
        if length < MAGIC.len() as u64 + CHECKSUM {
            bail!("{shown} is damaged: it ends too early");
        }
        Ok(Self { path: path.to_owned(), file, length })
    }

    /// Looks at every byte and every record of it, and hands each record to `check`.
    ///
    /// # Errors
    /// It is not whole, or what `check` says.
    pub(crate) fn verify(&mut self, mut check: impl FnMut(&Record) -> Result<()>) -> Result<Summary> {
        self.verify_checksum()?;
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
        Ok(Summary { records: count, digest: digest.end(), bytes: self.length })
    }

    fn verify_checksum(&mut self) -> Result<()> {
        let shown = self.path.display();
        self.file.rewind()?;
        let mut hash = Sha256::new();
        let mut left = self.length - CHECKSUM;
        let mut piece = vec![0; 1 << 16];
        while left > 0 {
            let wanted = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let found = self.file.read(&mut piece[..wanted])?;
            if found == 0 {
                bail!("{shown} became shorter while it was read");
            }
            hash.update(&piece[..found]);
            left -= found as u64;
        }
        let mut written = [0; CHECKSUM as usize];
        self.file.read_exact(&mut written)?;
        if hash.finalize()[..] != written {
            bail!("{shown} is damaged: its checksum is not that of its content");
        }
        Ok(())
    }

    /// Its first line.
    pub(crate) fn header(&mut self) -> Result<Header> {
        Ok(self.records()?.header)
    }

    /// Its records, from the first on.
    pub(crate) fn records(&mut self) -> Result<Records<'_>> {
        let begin = MAGIC.len() as u64;
        self.file.seek(SeekFrom::Start(begin))?;
        let stream = Decoder::new((&mut self.file).take(self.length - begin - CHECKSUM))?;
        let mut records = Records {
            path: &self.path,
            lines: BufReader::with_capacity(1 << 16, stream.single_frame()),
            header: Header::new(String::new(), "", ""),
            line: String::new(),
            count: 0,
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

/// The records of a backup, in the order of their handles.
pub(crate) struct Records<'a> {
    path: &'a Path,
    lines: BufReader<Decoder<'static, BufReader<Take<&'a mut File>>>>,
    header: Header,
    /// The one that was read last.
    line: String,
    count: u64,
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
