//! A private, sealed copy of a plugin file.
//!
//! If a mapped file is overwritten in place, the running code changes; if it is truncated, the process ends with
//! SIGBUS. So the user's file is only read, into an anonymous file in memory (memfd), which is then sealed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::trust::{self, Content};

/// Sealing is retried this many times while the copy is busy, with a pause in between.
const BUSY_ATTEMPTS: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// A sealed copy of a plugin file.
#[derive(Debug)]
pub(crate) struct Copy {
    file: File,
    /// SHA-256 of the bytes, in hexadecimal.
    pub(crate) sha256: String,
}

impl Copy {
    /// Copies the file at `path`, if nobody else may write to it.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        trust::open(path, Content::Code)?.read_to_end(&mut bytes)?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        let memory = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = File::from(memory);
        file.write_all(&bytes)?;
        seal(&file)?;
        Ok(Self { file, sha256: hexadecimal(&Sha256::digest(&bytes)) })
    }

    /// The path by which the dynamic linker finds the copy, as long as this value lives.
    ///
    /// It must live as long as the process once the library is open: the linker remembers libraries by path, and would
    /// take another descriptor with the same number for this one.
    pub(crate) fn path(&self) -> PathBuf {
        descriptor_path(self.file.as_raw_fd())
    }

    /// A descriptor of the copy that a child process inherits.
    pub(crate) fn inheritable(&self) -> io::Result<OwnedFd> {
        // `dup` does not copy the close-on-exec flag; the copy holds nothing that is not in the file.
        Ok(rustix::io::dup(&self.file)?)
    }
}

/// Seals the file, so that nobody can change it, this process included.
fn seal(file: &File) -> io::Result<()> {
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    for _ in 0..BUSY_ATTEMPTS {
        match rustix::fs::fcntl_add_seals(file, seals) {
            // The kernel holds a page of it for a short time, for example to migrate it.
            Err(Errno::BUSY) => std::thread::sleep(BUSY_PAUSE),
            done => return Ok(done?),
        }
    }
    Ok(rustix::fs::fcntl_add_seals(file, seals)?)
}

/// The path of an open descriptor of this process.
pub(crate) fn descriptor_path(descriptor: i32) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{descriptor}"))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_does_not_follow_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.so");
        std::fs::write(&path, "abc").unwrap();
        let copy = Copy::of(&path).unwrap();
        std::fs::write(&path, "x").unwrap();
        assert_eq!(std::fs::read(copy.path()).unwrap(), b"abc");
        assert_eq!(copy.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn the_copy_cannot_be_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.so");
        std::fs::write(&path, "abc").unwrap();
        let copy = Copy::of(&path).unwrap();
        assert!(
            File::options().write(true).open(copy.path()).and_then(|mut file| file.write_all(b"x")).is_err()
        );
    }
}
