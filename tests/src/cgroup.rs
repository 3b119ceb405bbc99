//! A control group that bounds the memory of what is started in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A group of this process's making; removed when it is dropped, after what ran in it has ended.
pub struct Cgroup {
    folder: PathBuf,
    is_first_version: bool,
}

impl Cgroup {
    /// With so many bytes.
    ///
    /// # Errors
    /// Why none can be made here.
    pub fn with_memory(bytes: u64) -> io::Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let is_first_version = root.join("memory/memory.limit_in_bytes").exists();
        let parent = if is_first_version { root.join("memory") } else { root.to_owned() };
        let folder = parent.join(format!("pserve-soak-{}", std::process::id()));
        fs::create_dir(&folder)?;
        let group = Self { folder, is_first_version };
        group.write(["memory.limit_in_bytes", "memory.max"], &bytes.to_string())?;
        // Memory that is written to a disk would hide what is missing.
        let _ = group.write(["memory.memsw.limit_in_bytes", "memory.swap.max"], "0");
        Ok(group)
    }

    fn write(&self, names: [&str; 2], text: &str) -> io::Result<()> {
        fs::write(self.folder.join(names[usize::from(!self.is_first_version)]), text)
    }

    fn read(&self, names: [&str; 2]) -> String {
        fs::read_to_string(self.folder.join(names[usize::from(!self.is_first_version)])).unwrap_or_default()
    }

    /// The same command, which then runs in the group.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        let enter = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
        command.args(["-c", enter]).arg(&self.folder).arg(program);
        command
    }

    /// Bytes that are taken.
    pub fn taken(&self) -> u64 {
        self.read(["memory.usage_in_bytes", "memory.current"]).trim().parse().unwrap_or_default()
    }

    /// How often the system ended something for want of memory.
    pub fn kills(&self) -> u64 {
        let text = self.read(["memory.oom_control", "memory.events"]);
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.and_then(|kills| kills.trim().parse().ok()).unwrap_or_default()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}
