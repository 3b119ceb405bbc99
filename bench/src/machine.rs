//! What was measured, on what, and how to do it again.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::measure::Effort;
use crate::running::Scene;

/// The first line that a program prints about its version.
fn version(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let said = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&said).lines().next().unwrap_or("not there").trim().to_owned()
}

/// The kind of the file system that the stores write to.
pub(crate) fn file_system() -> Result<String> {
    let folder = std::env::temp_dir();
    let output = Command::new("stat").args(["-f", "-c", "%T"]).arg(&folder).output()?;
    let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(name != "tmpfs", "durable writes are not measured in memory: set TMPDIR to a folder on a disk");
    Ok(name)
}

/// The beginning of the page.
pub(crate) fn describe(effort: Effort) -> Result<String> {
    let processor = fs::read_to_string("/proc/cpuinfo")?;
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let Scene { sessions, data_bytes, .. } = Scene::USUAL;
    Ok(format!(
        "# Benchmarks\n\n\
         Written by `cargo xtask bench --write`; `cargo xtask bench` alone prints it. Every figure is the median of {} rounds of {} s in \
         which all contestants of a table take turns, and what counts is the ratio to bare hyper in the same round: machines \
         differ, and are busy.\n\n\
         - Machine: {}, {}, 2 cores used; Linux {}; stores on {}.\n\
         - Versions: {}; {}; {}; node {}.\n\
         - The server and its database share the first core, `wrk` has the second. {sessions} sessions of {data_bytes} bytes of data and \
         64 connections unless said otherwise. Each `update` changes what is stored.\n\
         - sessman as it ships, metrics and limits on; `max_connections`, `max_memory_bytes` and `cache_bytes` are raised for what the load \
         brings. Bare hyper answers with the headers and body of sessman's `get`, made \
         before.\n\n",
        effort.rounds,
        effort.duration.as_secs(),
        model.trim_start_matches([' ', '\t', ':']),
        std::env::consts::ARCH,
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        file_system()?,
        version("wrk", &["-v"]),
        version("redis-server", &["--version"]),
        // It has no option for its version.
        version("dpkg-query", &["--show", "webdis"]),
        version("node", &["--version"]),
    ))
}
