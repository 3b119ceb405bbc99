//! The backups of an instance in a folder, named after the time, of which the newest stay.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sessman::time::Timestamp;

const SUFFIX: &str = ".backup";

/// The backups of one instance in a folder.
pub(super) struct Series<'a> {
    pub(super) folder: &'a Path,
    pub(super) instance: &'a str,
}

impl Series<'_> {
    /// The file of a backup that begins at `now`, as `sessman-20260102T030405Z.backup`: the order of names is that of times.
    pub(super) fn file(&self, now: Timestamp) -> PathBuf {
        let text = now.to_string();
        let second = text.split('.').next().unwrap_or(&text).replace(['-', ':'], "");
        self.folder.join(format!("{}-{second}Z{SUFFIX}", self.instance))
    }

    /// Removes all but `made` and the newest others, so that `keep` stay. `made` is the one just made, whatever its name: the
    /// clock may have been wrong before. Files with other names stay, too.
    ///
    /// # Errors
    /// The folder cannot be read, or a file not be removed.
    pub(super) fn prune(&self, made: &Path, keep: u32) -> Result<()> {
        let unreadable = || format!("{} cannot be read", self.folder.display());
        let mut names = Vec::new();
        for entry in fs::read_dir(self.folder).with_context(unreadable)? {
            let entry = entry.with_context(unreadable)?;
            if let Some(name) = entry.file_name().to_str().filter(|name| self.is_one(name))
                && self.folder.join(name) != made
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        let others = usize::try_from(keep).unwrap_or(usize::MAX).saturating_sub(1);
        let surplus = names.len().saturating_sub(others);
        for name in &names[..surplus] {
            let file = self.folder.join(name);
            fs::remove_file(&file).with_context(|| format!("{} cannot be removed", file.display()))?;
        }
        Ok(())
    }

    fn is_one(&self, name: &str) -> bool {
        let time = name.strip_prefix(self.instance).and_then(|rest| rest.strip_prefix('-'));
        let time = time.and_then(|rest| rest.strip_suffix(SUFFIX)).unwrap_or_default().as_bytes();
        // Not those of an instance whose name begins with that of this one.
        time.len() == 16
            && time.iter().enumerate().all(|(at, byte)| match at {
                8 => *byte == b'T',
                15 => *byte == b'Z',
                _ => byte.is_ascii_digit(),
            })
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_newest_stay_and_so_do_files_of_others() {
        let folder = TempDir::new().unwrap();
        let series = Series { folder: folder.path(), instance: "carts" };
        let times = ["2026-01-02T03:04:05.678Z", "2025-12-31T23:59:59Z", "2026-01-02T03:04:06Z"];
        let files = times.map(|time| series.file(Timestamp::parse(time).unwrap()));
        assert!(files[0].ends_with("carts-20260102T030405Z.backup"), "{files:?}");
        let others = [
            "carts-eu-20200102T030405Z.backup",
            "20200102T030405Z.backup",
            "carts-20200102T030405Z.backup.unfinished-x",
            "carts-20200102T030405Z.backup.gz",
            "carts-before-upgrade.backup",
            "notes",
        ];
        let other = |name: &str| folder.path().join(name);
        files.iter().for_each(|file| fs::write(file, "").unwrap());
        others.iter().for_each(|name| fs::write(other(name), "").unwrap());
        series.prune(&files[2], 3).unwrap();
        assert!(files.iter().all(|file| file.exists()));
        series.prune(&files[2], 2).unwrap();
        assert_eq!(files.clone().map(|file| file.exists()), [true, false, true]);
        // The one just made stays, although another has a later time.
        series.prune(&files[0], 1).unwrap();
        assert_eq!(files.map(|file| file.exists()), [true, false, false]);
        assert!(others.iter().all(|name| other(name).exists()));
    }
}
