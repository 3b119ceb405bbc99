//! The system's memory limit for this process: that of its control group, or of the machine.

use std::fs;
use std::path::Path;

/// Without a control group's limit, the fraction of the machine's memory to use, as a divisor: other processes run
/// there, too.
const OF_MACHINE: u64 = 2;

/// Limit for this process, in bytes.
pub(crate) fn memory() -> u64 {
    memory_below(Path::new("/"))
}

fn memory_below(root: &Path) -> u64 {
    let machine = machine(root).unwrap_or(u64::MAX) / OF_MACHINE;
    control_group(root).map_or(machine, |limit| limit.min(machine.saturating_mul(OF_MACHINE)))
}

/// `MemTotal`.
fn machine(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The smallest limit of the control groups that this process is in. In a container their names may be those of the
/// host system, while the process sees only its own group, at the top.
fn control_group(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    groups.lines().filter_map(|line| limit_of(root, line)).min()
}

/// The limit for a line `4:memory:/a/b`, or of version 2 `0::/a/b`.
fn limit_of(root: &Path, line: &str) -> Option<u64> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let (top, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        controllers if controllers.split(',').any(|one| one == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let path = Path::new(path.trim_start_matches('/'));
    let limits = path.ancestors().filter_map(|group| {
        // `max`, and in version 1 a number larger than any machine's memory, mean no limit.
        let text = fs::read_to_string(root.join(top).join(group).join(file)).ok()?;
        text.trim().parse::<u64>().ok().filter(|limit| *limit < 1 << 60)
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of 8 GiB with these files.
    fn memory_with(files: &[(&str, &str)]) -> u64 {
        let root = tempfile::tempdir().unwrap();
        let meminfo = ("proc/meminfo", "MemTotal:        8388608 kB\nMemFree:  1 kB\n");
        for (name, text) in files.iter().chain([&meminfo]) {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        memory_below(root.path()) >> 20
    }

    #[test]
    fn the_smallest_limit_of_its_groups_or_half_of_the_machine() {
        assert_eq!(memory_with(&[]), 4096);
        let group = ("proc/self/cgroup", "0::/a/b\n");
        assert_eq!(memory_with(&[group, ("sys/fs/cgroup/a/b/memory.max", "max\n")]), 4096);
        let own = ("sys/fs/cgroup/a/b/memory.max", "536870912\n");
        assert_eq!(memory_with(&[group, own]), 512);
        assert_eq!(memory_with(&[group, own, ("sys/fs/cgroup/a/memory.max", "268435456\n")]), 256);
        // As a container sees it.
        assert_eq!(memory_with(&[group, ("sys/fs/cgroup/memory.max", "536870912\n")]), 512);
        let first = ("proc/self/cgroup", "5:cpu:/x\n4:memory:/a\n0::/\n");
        let none = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(memory_with(&[first, none]), 4096);
        let limit = ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "536870912\n");
        assert_eq!(memory_with(&[first, none, limit]), 512);
        // More than there is.
        assert_eq!(memory_with(&[group, ("sys/fs/cgroup/a/b/memory.max", "99999999999\n")]), 8192);
    }
}
