//! Checks who else may write to the files that the host runs and reads.
//!
//! A file is opened once, and the opened file is checked and read: its name may refer to another file by then. After
//! that the directories on its path are checked, up to the root, as sshd does: anybody who may write to one of them
//! may put another file there.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{OFlags, StatVfsMountFlags, statvfs};

const GROUP_MAY_WRITE: u32 = 0o020;
const ALL_MAY_WRITE: u32 = 0o002;
/// In such a directory nobody may remove or rename files of another user.
const STICKY: u32 = 0o1000;

/// The content of a file, which decides who may write to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Code that this process runs: anybody who can write it can act as this process's user. So files and directories
    /// must belong to root or to this user.
    Code,
    /// A configuration. Any owner is accepted: it may have come into a container with a volume. If it is mounted
    /// read-only, as clusters mount configurations, it may have any mode.
    Settings,
    /// A secret of the configuration, in a regular file: reading a pipe could block.
    Secret,
}

/// Opens a file that nobody else may change.
///
/// # Errors
/// What to fix, or that it cannot be opened.
pub(crate) fn open(path: &Path, content: Content) -> io::Result<File> {
    // Opening a pipe without a writer must not block the host.
    let waits = if content == Content::Settings { OFlags::empty() } else { OFlags::NONBLOCK };
    let file = OpenOptions::new().read(true).custom_flags(waits.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    match content {
        Content::Code | Content::Secret if !metadata.is_file() => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
        }
        // A pipe is controlled by the process that created it.
        Content::Settings if !metadata.is_file() => return Ok(file),
        _ => {}
    }
    check_opened(&file, &metadata, path, content)?;
    Ok(file)
}

/// The content of a configuration file that nobody else may change.
///
/// # Errors
/// What to fix, or that it cannot be read.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path, Content::Settings)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Rejects a directory of code in which somebody else may create files.
///
/// # Errors
/// What to fix, or that it cannot be checked.
pub(crate) fn check_folder(path: &Path) -> io::Result<()> {
    let folder = File::open(path)?;
    check_opened(&folder, &folder.metadata()?, path, Content::Code)
}

fn check_opened(opened: &File, metadata: &Metadata, path: &Path, content: Content) -> io::Result<()> {
    if let Some(problem) = problem(metadata, content).filter(|_| !is_read_only(path, content)) {
        return Err(refused(problem));
    }
    // Both the real path and the path as given: somebody else may control a symbolic link on the way.
    let found = std::path::absolute(path)?;
    let real = std::fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd()))?;
    for folder in real.ancestors().skip(1).chain(found.ancestors().skip(1)) {
        let metadata = std::fs::metadata(folder)?;
        let is_sticky = metadata.mode() & STICKY != 0 && metadata.uid() == 0;
        if let Some(problem) =
            problem(&metadata, content).filter(|_| !is_sticky && !is_read_only(folder, content))
        {
            return Err(refused(format!("its folder {}: {problem}", folder.display())));
        }
    }
    Ok(())
}

fn is_read_only(path: &Path, content: Content) -> bool {
    let is_mounted_so =
        || statvfs(path).is_ok_and(|volume| volume.f_flag.contains(StatVfsMountFlags::RDONLY));
    content != Content::Code && is_mounted_so()
}

fn refused(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, problem)
}

fn problem(metadata: &Metadata, content: Content) -> Option<String> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    foreign_owner(metadata.uid(), user)
        .filter(|_| content == Content::Code)
        .or_else(|| foreign_writer(metadata.gid(), metadata.mode(), group))
}

fn foreign_owner(owner: u32, user: u32) -> Option<String> {
    (owner != 0 && owner != user)
        .then(|| format!("it belongs to user {owner}; it must belong to root or to user {user}"))
}

/// Other writers than the owner; the process's own group may write.
fn foreign_writer(owning_group: u32, mode: u32, group: u32) -> Option<String> {
    if mode & ALL_MAY_WRITE != 0 {
        return Some("everybody may write to it; `chmod o-w` it".to_owned());
    }
    (mode & GROUP_MAY_WRITE != 0 && owning_group != group)
        .then(|| format!("group {owning_group} may write to it; `chmod g-w` it"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn only_root_and_this_user_may_write() {
        assert_eq!((foreign_owner(1000, 1000), foreign_writer(1000, 0o755, 1000)), (None, None));
        assert_eq!((foreign_owner(0, 1000), foreign_writer(0, 0o644, 1000)), (None, None));
        assert_eq!(foreign_writer(1000, 0o775, 1000), None);
        assert!(foreign_writer(50, 0o775, 1000).unwrap().contains("g-w"));
        assert!(foreign_writer(0, 0o777, 1000).unwrap().contains("o-w"));
        assert!(foreign_owner(1001, 1000).unwrap().contains("user 1001"));
        assert!(foreign_owner(1000, 0).unwrap().contains("user 1000"));
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    /// A folder within a folder, and a file in it.
    fn nested() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("a");
        std::fs::create_dir(&folder).unwrap();
        set_mode(&folder, 0o755);
        let file = folder.join("p.so");
        std::fs::write(&file, "abc").unwrap();
        set_mode(&file, 0o644);
        (top, folder, file)
    }

    fn refusal(path: &Path) -> String {
        open(path, Content::Code).map(drop).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn a_folder_that_others_may_write_to_counts_however_far_up_it_is() {
        let (top, folder, file) = nested();
        assert_eq!(refusal(&file), "");
        assert!(check_folder(&folder).is_ok());
        set_mode(top.path(), 0o777);
        for refused in [refusal(&file), check_folder(&folder).unwrap_err().to_string()] {
            assert!(refused.contains(&format!("its folder {}", top.path().display())), "{refused}");
        }
        set_mode(top.path(), 0o1777);
        let is_root = rustix::process::geteuid().is_root();
        assert_eq!(refusal(&file).is_empty(), is_root, "nobody else may rename in a sticky folder of root");
        set_mode(top.path(), 0o755);
        set_mode(&file, 0o666);
        assert!(refusal(&file).contains("o-w") && open(&file, Content::Settings).is_err());
    }

    #[test]
    fn links_are_followed_and_the_folders_at_both_ends_count() {
        let (top, _, file) = nested();
        let (elsewhere, _, other) = nested();
        let link = top.path().join("link.so");
        symlink(&other, &link).unwrap();
        assert_eq!(refusal(&link), "");
        set_mode(elsewhere.path(), 0o777);
        assert!(refusal(&link).contains("o-w") && refusal(&file).is_empty());
        set_mode(elsewhere.path(), 0o755);
        set_mode(top.path(), 0o777);
        assert!(refusal(&link).contains("o-w"), "another link could be put there");
    }

    #[test]
    fn what_is_no_file_is_no_code_and_nobody_waits_for_it() {
        let (_top, folder, _) = nested();
        let pipe = folder.join("pipe.so");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        assert_eq!(refusal(&pipe), "it is no file");
        assert_eq!(refusal(&folder), "it is no file");
    }

    /// A name that leads to a good file and to one of another user in turn: whatever is read was looked at.
    #[test]
    fn a_file_that_is_exchanged_meanwhile_is_not_taken() {
        let (_top, folder, file) = nested();
        let bad = folder.join("bad");
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for (mode, text) in [(0o666, "bad"), (0o644, "abc")] {
                        std::fs::write(&bad, text).unwrap();
                        set_mode(&bad, mode);
                        std::fs::rename(&bad, &file).unwrap();
                    }
                }
            });
            let (mut refused, mut bad) = (0, 0);
            for _ in 0..2_000 {
                match open(&file, Content::Code).map(io::read_to_string) {
                    Ok(read) => bad += u32::from(read.is_ok_and(|text| text != "abc")),
                    Err(_) => refused += 1,
                }
            }
            // Before anything is found wrong: the other thread is waited for.
            stop.store(true, Ordering::Relaxed);
            assert_eq!(bad, 0);
            assert!(refused < 2_000);
        });
    }
}
