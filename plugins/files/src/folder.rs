//! The folder that is served. Files are opened relative to it, and the kernel refuses what is not below it.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// How often a file is looked for that is moved meanwhile.
const ATTEMPTS: u32 = 8;

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

/// What was found below the folder.
pub(crate) enum Found {
    /// A file, open.
    File(File, Metadata),
    /// A folder.
    Folder,
    /// Something that is neither, such as a pipe or a device.
    Other,
}

impl Folder {
    /// Opens the folder, once: what is later put in its place is not served before the next reload.
    ///
    /// # Errors
    /// Why it cannot be served, with the remedy.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, path, flags, Mode::empty())
            .map_err(|error| format!("cannot open the folder {} (documents): {error}", path.display()))?;
        let folder = Self(folder);
        match folder.open_below(Path::new(".")) {
            Ok(_) => Ok(folder),
            Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) => Err(
                "this system has no `openat2`, which keeps requests within the folder: Linux 5.6 or later is needed, and a \
                 sandbox that allows it"
                    .to_owned(),
            ),
            Err(error) => Err(format!("cannot read the folder {} (documents): {error}", path.display())),
        }
    }

    /// Opens what `path` names. Links are followed as long as they stay below the folder, and are relative.
    ///
    /// # Errors
    /// There is nothing, or it must not be read.
    pub(crate) fn find(&self, path: &Path) -> io::Result<Found> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let file = File::from(self.open_below(path)?);
        let metadata = file.metadata()?;
        Ok(if metadata.is_file() {
            Found::File(file, metadata)
        } else if metadata.is_dir() {
            Found::Folder
        } else {
            Found::Other
        })
    }

    fn open_below(&self, path: &Path) -> Result<OwnedFd, Errno> {
        // Without `NONBLOCK`, to open a pipe would wait for someone who writes to it.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let below = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match openat2(&self.0, path, flags, Mode::empty(), below) {
                // The kernel cannot tell whether it stayed below, because something was moved meanwhile.
                Err(Errno::AGAIN | Errno::INTR) if attempts < ATTEMPTS => {}
                opened => return opened,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder with a file in it, and a secret beside it.
    fn folder() -> (tempfile::TempDir, Folder) {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(top.path().join("www/sub")).unwrap();
        std::fs::write(top.path().join("secret"), "secret").unwrap();
        std::fs::write(top.path().join("www/sub/a"), "a").unwrap();
        let folder = Folder::open(&top.path().join("www")).unwrap();
        (top, folder)
    }

    fn content(folder: &Folder, path: &str) -> Option<String> {
        match folder.find(Path::new(path)) {
            Ok(Found::File(file, _)) => io::read_to_string(file).ok(),
            _ => None,
        }
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        let (top, folder) = folder();
        let www = top.path().join("www");
        symlink("../secret", www.join("relative")).unwrap();
        symlink(top.path().join("secret"), www.join("absolute")).unwrap();
        symlink("..", www.join("up")).unwrap();
        symlink("/", www.join("root")).unwrap();
        symlink("/proc/self/root", www.join("sub/magic")).unwrap();
        let secret = top.path().join("secret");
        let below_root = format!("root{}", secret.display());
        for path in
            ["relative", "absolute", "up/secret", "../secret", "sub/../../secret", "sub/magic/etc/passwd"]
        {
            assert_eq!(content(&folder, path), None, "{path}");
        }
        assert_eq!(content(&folder, &below_root), None);
        assert_eq!(content(&folder, secret.to_str().unwrap()), None);
        assert_eq!(content(&folder, "sub/a").as_deref(), Some("a"));
    }

    #[test]
    fn links_that_stay_below_are_followed() {
        let (top, folder) = folder();
        symlink("sub", top.path().join("www/current")).unwrap();
        symlink("../sub/a", top.path().join("www/sub/again")).unwrap();
        assert_eq!(content(&folder, "current/a").as_deref(), Some("a"));
        assert_eq!(content(&folder, "sub/again").as_deref(), Some("a"));
    }

    #[test]
    fn folders_and_pipes_are_no_files_and_nobody_waits() {
        let (top, folder) = folder();
        let pipe = top.path().join("www/pipe");
        rustix::fs::mkfifoat(CWD, &pipe, Mode::from_raw_mode(0o600)).unwrap();
        assert!(matches!(folder.find(Path::new("pipe")), Ok(Found::Other)));
        assert!(matches!(folder.find(Path::new("sub")), Ok(Found::Folder)));
        assert!(matches!(folder.find(Path::new("")), Ok(Found::Folder)));
        assert!(folder.find(Path::new("sub/a/b")).is_err() && folder.find(Path::new("none")).is_err());
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_of() {
        let top = tempfile::tempdir().unwrap();
        let said = Folder::open(&top.path().join("none")).unwrap_err();
        assert!(said.contains("none (documents)"), "{said}");
        std::fs::write(top.path().join("file"), "").unwrap();
        assert!(Folder::open(&top.path().join("file")).is_err());
    }
}
