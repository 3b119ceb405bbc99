//! The system's data about this process, under the names that all Prometheus clients use.

use std::fs;

use super::text::{Kind, Text};

/// Writes the values that can be read, and omits the others.
pub(crate) fn write(text: &mut Text) {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    if let Some(stat) = stat.as_deref().and_then(Stat::parse) {
        stat.write(text);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        gauge(text, "process_open_fds", "Open file descriptors.", entries.count());
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(limit) = max_open_files(&limits) {
        gauge(text, "process_max_fds", "The most file descriptors that may be open.", limit);
    }
}

fn gauge(text: &mut Text, name: &str, help: &str, value: impl std::fmt::Display) {
    text.family(name, Kind::Gauge, help);
    text.sample(name, &[], value);
}

/// Fields of `/proc/self/stat`; times in clock ticks.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu: u64,
    threads: u64,
    /// Since the machine was booted.
    started: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(stat: &str) -> Option<Self> {
        // The program's name is the second field, in parentheses, and may contain spaces and parentheses itself.
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Numbered from 1 as in proc(5), where the first of `rest` is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu: field(14)? + field(15)?,
            threads: field(20)?,
            started: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }

    #[allow(clippy::cast_precision_loss, reason = "seconds with a few digits behind the point")]
    fn write(&self, text: &mut Text) {
        let ticks = rustix::param::clock_ticks_per_second().max(1) as f64;
        let name = "process_cpu_seconds_total";
        text.family(name, Kind::Counter, "Processor time of this process, in user and system mode.");
        text.sample(name, &[], self.cpu as f64 / ticks);
        let resident = self.resident_pages * rustix::param::page_size() as u64;
        gauge(text, "process_resident_memory_bytes", "Memory that is in use.", resident);
        gauge(text, "process_virtual_memory_bytes", "Memory that is mapped.", self.virtual_bytes);
        gauge(text, "process_threads", "Threads.", self.threads);
        let system = fs::read_to_string("/proc/stat").unwrap_or_default();
        if let Some(boot) = boot_time(&system) {
            let started = boot as f64 + self.started as f64 / ticks;
            gauge(text, "process_start_time_seconds", "When this process was started.", started);
        }
    }
}

fn boot_time(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn max_open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_behind_the_name() {
        let stat =
            "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 3 0 900 1048576 25 18446744073709551615";
        let expected =
            Stat { cpu: 12, threads: 3, started: 900, virtual_bytes: 1_048_576, resident_pages: 25 };
        assert_eq!(Stat::parse(stat), Some(expected));
        assert_eq!(Stat::parse("42 (a"), None);
    }

    #[test]
    fn this_process_has_all_of_them() {
        let mut text = Text::default();
        write(&mut text);
        let text = text.into_string();
        for name in
            ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds"]
        {
            let name = format!("process_{name} ");
            let line =
                text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("{name}"));
            assert!(line.parse::<f64>().is_ok_and(|value| value >= 0.0), "{name}{line}");
        }
    }

    #[test]
    fn no_limit_is_no_number() {
        assert_eq!(max_open_files("Max open files            1024                 4096 files\n"), Some(1024));
        assert_eq!(max_open_files("Max open files            unlimited            unlimited files\n"), None);
    }
}
