//! Writes a backup: to a temporary file, which is renamed once all of it is on disk.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sessman::record::Record;
use sessman::store::sealed::{BackupMac, Keys};
use sha2::{Digest as _, Sha256};
use tempfile::{Builder, TempPath};
use zstd::stream::write::Encoder;

use super::{CHECKSUM, FileMac, Footer, Header, MAGIC, NO_KEY, Summary};
use crate::line::{self, Digest};

/// A backup that is being written.
pub(crate) struct Writer {
    path: PathBuf,
    unfinished: TempPath,
    stream: Encoder<'static, Hashing>,
    digest: Digest,
    records: u64,
    unread: u64,
    line: String,
}

impl Writer {
    /// Creates a backup for `path`, with a MAC by the first of `keys`.
    ///
    /// # Errors
    /// The file exists already, or cannot be created.
    pub(crate) fn create(path: &Path, header: &Header, keys: Option<&Keys>) -> Result<Self> {
        if path.symlink_metadata().is_ok() {
            bail!("{} is there already; name another file, or move it away", path.display());
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".unfinished-");
        // A random name, and mode 0600.
        let file = Builder::new().prefix(&name).tempfile_in(folder_of(path));
        let file = file.with_context(|| format!("no file can be made beside {}", path.display()))?;
        let (file, unfinished) = file.into_parts();
        let mut file = Hashing {
            file: BufWriter::with_capacity(1 << 16, file),
            mac: keys.map(Keys::backup_mac),
            hash: Sha256::new(),
            bytes: 0,
        };
        file.write_all(MAGIC)?;
        let mut stream = Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)?;
        writeln!(stream, "{}", serde_json::to_string(header)?)?;
        let path = path.to_owned();
        let (digest, line) = (Digest::default(), String::new());
        Ok(Self { path, unfinished, stream, digest, records: 0, unread: 0, line })
    }

    /// Adds a record; they must come in the order of their handles.
    pub(crate) fn write(&mut self, record: &Record) -> Result<()> {
        line::write(record, &mut self.line);
        self.digest.add_line(&self.line);
        self.records += 1;
        let written = self.stream.write_all(self.line.as_bytes());
        written.with_context(|| format!("{} cannot be written", self.path.display()))
    }

    /// Counts a session that could not be read.
    pub(crate) fn miss(&mut self) {
        self.unread += 1;
    }

    /// Completes it, and renames it.
    pub(crate) fn finish(mut self) -> Result<Summary> {
        let footer = Footer { records: self.records, unread: self.unread };
        writeln!(self.stream, "{}", serde_json::to_string(&footer)?)?;
        let mut stream = self.stream.finish()?;
        let key_name = stream.mac.as_ref().map_or(NO_KEY, BackupMac::key_name);
        stream.write_all(&key_name)?;
        let made = stream.mac.take().map(BackupMac::finish);
        let mac = if made.is_some() { FileMac::Right } else { FileMac::None };
        stream.write_all(&made.unwrap_or_default())?;
        let Hashing { mut file, mac: _, hash, bytes } = stream;
        file.write_all(&hash.finalize())?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let failed = || format!("{} cannot be finished", self.path.display());
        file.sync_all().with_context(failed)?;
        // Never replaces a file that was created meanwhile.
        self.unfinished.persist_noclobber(&self.path).map_err(|error| error.error).with_context(failed)?;
        // The name must be on disk too; if it is not, report a failure rather than a backup that power loss may remove.
        let named = File::open(folder_of(&self.path)).and_then(|folder| folder.sync_all());
        if named.is_err() {
            let _ = std::fs::remove_file(&self.path);
        }
        named.with_context(failed)?;
        let (records, unread, digest) = (self.records, self.unread, self.digest.end());
        Ok(Summary { records, unread, digest, bytes: bytes + CHECKSUM, mac })
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

/// Computes the checksum and the MAC of what is written through it.
struct Hashing {
    file: BufWriter<File>,
    mac: Option<BackupMac>,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        if let Some(mac) = &mut self.mac {
            mac.update(&bytes[..written]);
        }
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
