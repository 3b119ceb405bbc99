//! The packages of a release, and the page that says how to install them.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What `cargo xtask dist` made.
pub struct Packages {
    /// The tarball.
    pub tarball: PathBuf,
    /// The Debian package.
    pub deb: PathBuf,
}

impl Packages {
    /// Makes them with `cargo xtask dist` of the project in `root`, `into` a folder.
    ///
    /// # Panics
    /// When it fails, or makes something else than these two.
    pub fn make(root: &Path, arguments: &[&str], into: &Path) -> Self {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["xtask", "dist", "--into"]).arg(into).args(arguments).current_dir(root);
        succeed(&mut cargo);
        let files: Vec<PathBuf> =
            fs::read_dir(into).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        let find = |ending: &str| {
            let mut found = files.iter().filter(|file| file.to_string_lossy().ends_with(ending));
            let file = found.next().unwrap_or_else(|| panic!("no {ending} in {files:?}")).clone();
            assert!(found.next().is_none(), "{files:?}");
            file
        };
        Self { tarball: find(".tar.gz"), deb: find(".deb") }
    }

    /// Unpacks the tarball below `folder`, and says where it is then.
    ///
    /// # Panics
    /// When that fails, or it holds anything but one folder.
    pub fn unpack(&self, folder: &Path) -> PathBuf {
        succeed(Command::new("tar").arg("-C").arg(folder).arg("-xf").arg(&self.tarball));
        let mut entries = fs::read_dir(folder).expect("a folder");
        let unpacked = entries.next().expect("something was unpacked").expect("an entry").path();
        assert!(entries.next().is_none(), "one folder in the tarball");
        unpacked
    }
}

/// Follows the first steps of docs/install.md as they are written, in an empty folder with the tarball; the one thing that
/// differs is a free port. Returns what the commands of the second terminal said.
///
/// # Panics
/// When a step fails.
pub fn first_steps(tarball: &Path, folder: &Path) -> String {
    let page = fs::read_to_string(format!("{ROOT}/docs/install.md")).expect("docs/install.md");
    let blocks: Vec<&str> =
        page.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap_or_default()).collect();
    let [start, use_it, generate] = blocks[..] else { panic!("other steps than expected: {blocks:?}") };
    fs::copy(tarball, folder.join(tarball.file_name().expect("a name"))).expect("a copy of the tarball");
    let bash = |block: &str, folder: &Path| {
        let mut bash = Command::new("bash");
        bash.args(["-o", "pipefail", "-euc", block]).current_dir(folder);
        bash.env_remove("MONGODB_URI").env_remove("REDIS_URL").env("HOME", folder);
        bash
    };

    let mut first = bash(start, folder);
    let first = first.env("PSERVE_NETWORK_PORT", "0").stdout(Stdio::piped()).process_group(0).spawn();
    let mut first = Terminal(first.expect("bash starts"));
    let mut said = BufReader::new(first.0.stdout.take().expect("its output is piped")).lines();
    let line = said.next().expect("pserve says where it listens").expect("a line");
    let address = line.strip_prefix("pserve: listening on http://").unwrap_or_else(|| panic!("{line}"));

    let name = tarball.file_name().and_then(|name| name.to_str()).expect("a name");
    let unpacked = folder.join(name.trim_end_matches(".tar.gz"));
    let mut second = bash(&use_it.replace("localhost:6123", address), &unpacked);
    let port = address.rsplit(':').next().expect("a port");
    let output = second.env("PSERVE_NETWORK_PORT", port).output().expect("bash starts");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    succeed(&mut bash(generate, &unpacked));
    told
}

/// What runs in a terminal: it ends, with all that it started, when this is dropped.
struct Terminal(Child);

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.0.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

/// Runs a command that must succeed, and returns what it printed.
///
/// # Panics
/// When it does not; with what it said.
pub fn succeed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
