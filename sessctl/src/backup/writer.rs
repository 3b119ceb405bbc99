//! Writes a backup: to a file of another name, which gets its own once all of it is on the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sessman::record::Record;
use sha2::{Digest as _, Sha256};
use zstd::stream::write::Encoder;

use super::{CHECKSUM, Footer, Header, MAGIC, Summary};
use crate::line::{self, Digest};

/// A backup that is being written.
pub(crate) struct Writer {
    path: PathBuf,
    unfinished: PathBuf,
    stream: Encoder<'static, Hashing>,
    digest: Digest,
    records: u64,
    line: String,
}

impl Writer {
    /// Begins a backup that is to be `path`.
    ///
    /// # Errors
    /// There is a file of that name, or none can be made.
    pub(crate) fn create(path: &Path, header: &Header) -> Result<Self> {
        if path.symlink_metadata().is_ok() {
            bail!("{} is there already; name another file, or move it away", path.display());
        }
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        // What an earlier run left. A file that others may read is not taken over.
        let _ = std::fs::remove_file(&unfinished);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished);
        let file = file.with_context(|| format!("{} cannot be made", unfinished.display()))?;
        let mut file =
            Hashing { file: BufWriter::with_capacity(1 << 16, file), hash: Sha256::new(), bytes: 0 };
        file.write_all(MAGIC)?;
        let mut stream = Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)?;
        writeln!(stream, "{}", serde_json::to_string(header)?)?;
        let path = path.to_owned();
        Ok(Self { path, unfinished, stream, digest: Digest::default(), records: 0, line: String::new() })
    }

    /// Adds a record; they come in the order of their handles.
    pub(crate) fn write(&mut self, record: &Record) -> Result<()> {
        line::write(record, &mut self.line);
        self.digest.add_line(&self.line);
        self.records += 1;
        let written = self.stream.write_all(self.line.as_bytes());
        written.with_context(|| format!("{} cannot be written", self.unfinished.display()))
    }

    /// Ends it, and gives it its name.
    pub(crate) fn finish(mut self) -> Result<Summary> {
        writeln!(self.stream, "{}", serde_json::to_string(&Footer { records: self.records })?)?;
        let Hashing { mut file, hash, bytes } = self.stream.finish()?;
        file.write_all(&hash.finalize())?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let failed = || format!("{} cannot be finished", self.path.display());
        file.sync_all().with_context(failed)?;
        std::fs::rename(&self.unfinished, &self.path).with_context(failed)?;
        let folder = self.path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        // The name, too, has to be on the disk.
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(failed)?;
        Ok(Summary { records: self.records, digest: self.digest.end(), bytes: bytes + CHECKSUM })
    }
}

/// Knows what was written through it.
struct Hashing {
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
