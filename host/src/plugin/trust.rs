//! Who else may write to what the host loads code from.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const GROUP_MAY_WRITE: u32 = 0o020;
const ALL_MAY_WRITE: u32 = 0o002;

/// Refuses a file or a folder that somebody else than root and the user of this process may write to: whoever
/// writes there becomes that user. The process's own group may.
///
/// # Errors
/// What to change, or that it cannot be looked at.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    let metadata = std::fs::metadata(path)?;
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    match problem(metadata.uid(), metadata.gid(), metadata.mode(), user, group) {
        Some(problem) => Err(io::Error::new(io::ErrorKind::PermissionDenied, problem)),
        None => Ok(()),
    }
}

fn problem(owner: u32, owning_group: u32, mode: u32, user: u32, group: u32) -> Option<String> {
    if owner != 0 && owner != user {
        return Some(format!("it belongs to user {owner}; it must belong to root or to user {user}"));
    }
    if mode & ALL_MAY_WRITE != 0 {
        return Some("everybody may write to it; `chmod o-w` it".to_owned());
    }
    if mode & GROUP_MAY_WRITE != 0 && owning_group != group {
        return Some(format!("group {owning_group} may write to it; `chmod g-w` it"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_this_user_may_write() {
        assert_eq!(problem(1000, 1000, 0o755, 1000, 1000), None);
        assert_eq!(problem(0, 0, 0o644, 1000, 1000), None);
        assert_eq!(problem(1000, 1000, 0o775, 1000, 1000), None);
        assert!(problem(1000, 50, 0o775, 1000, 1000).unwrap().contains("g-w"));
        assert!(problem(0, 0, 0o777, 1000, 1000).unwrap().contains("o-w"));
        assert!(problem(0, 0, 0o1777, 0, 0).unwrap().contains("o-w"));
        assert!(problem(1001, 1000, 0o755, 1000, 1000).unwrap().contains("user 1001"));
        assert!(problem(1000, 1000, 0o755, 0, 0).unwrap().contains("user 1000"));
    }
}
