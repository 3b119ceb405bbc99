//! A release: made twice, in two places, and compared; the Debian package installed, served, upgraded, removed and purged.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use e2e::http::Client;
use e2e::pserve::send_signal;
use e2e::release::{Packages, first_steps, succeed};
use rustix::process::Signal;
use serde_json::json;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const CONFIGURATION: &str = "/etc/pserve/sessman.json";
const STATE: &str = "/var/lib/pserve/sessman.db";

pub(crate) fn run() -> ExitCode {
    let root = std::path::absolute(ROOT).expect("a path");
    let into = root.join("target/dist");
    let _ = fs::remove_dir_all(&into);
    let packages = Packages::make(&root, &[], &into);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let told = first_steps(&packages.tarball, folder.path());
    println!("the first steps of docs/install.md, in an empty folder: {}", told.lines().count());
    let found = paths_of_this_machine(&packages, &root);
    println!("places in the packages where a path of this machine stands: {}", found.len());
    found.iter().for_each(|place| println!("  {place}"));

    if succeed(Command::new("id").arg("-u")).trim() != "0" {
        println!("NOT SHOWN: the Debian package was not installed: that takes root");
        return ExitCode::FAILURE;
    }
    let is_there = Command::new("dpkg-query").args(["--status", "pserve"]).output().expect("dpkg runs");
    if is_there.status.success() {
        println!(
            "NOT SHOWN: the Debian package was not installed: one is installed already, and would be purged"
        );
        return ExitCode::FAILURE;
    }
    life_of_a_package(&packages.deb);
    let is_good = is_the_same_from_elsewhere(&root, &packages) && found.is_empty();
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Builds the last commit once more, in a folder of another name and with nothing built before.
fn is_the_same_from_elsewhere(root: &Path, packages: &Packages) -> bool {
    if !succeed(Command::new("git").args(["status", "--porcelain"]).current_dir(root)).is_empty() {
        println!("NOT SHOWN: nothing was compared, as there are changes that are in no commit");
        return false;
    }
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let clone = elsewhere.path().join("another-name");
    succeed(Command::new("git").args(["clone", "--quiet"]).arg(root).arg(&clone));
    let others = Packages::make(&clone, &[], &elsewhere.path().join("packages"));
    let digest = |file: &Path| {
        let said = succeed(Command::new("sha256sum").arg(file));
        said.split_whitespace().next().unwrap_or_default().to_owned()
    };
    let mut is_same = true;
    for (here, there) in [(&packages.tarball, &others.tarball), (&packages.deb, &others.deb)] {
        let (first, second) = (digest(here), digest(there));
        let name = here.file_name().expect("a name").display();
        println!("{name}: {first} here, {}", if first == second { "the same elsewhere" } else { &second });
        is_same &= first == second;
    }
    is_same
}

/// The file and the string, for each.
fn paths_of_this_machine(packages: &Packages, root: &Path) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    packages.unpack(folder.path());
    let home = std::env::var("HOME").expect("a home");
    let mut grep = Command::new("grep");
    grep.args(["--recursive", "--text", "--only-matching", "--fixed-strings"]).current_dir(folder.path());
    for path in [root.to_str().expect("text"), &format!("{home}/"), "index.crates.io", "rustup/toolchains"] {
        grep.args(["-e", path]);
    }
    let output = grep.arg(".").output().expect("grep runs");
    assert!(output.status.code() != Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Installs, serves, upgrades, removes, installs again and purges, with dpkg itself.
fn life_of_a_package(deb: &Path) {
    let before = files();
    assert!(!before.iter().any(|file| file.ends_with("/pserve")), "something of pserve is there already");
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Also when a step fails, nothing of it stays on this machine.
    let purged = Purged;
    dpkg(&["--install"], Some(deb));
    let modes = succeed(Command::new("stat").args(["-c", "%U:%G %a", "/etc/pserve", "/var/lib/pserve"]));
    assert_eq!(modes, "root:pserve 750\npserve:pserve 700\n");

    let id = {
        let service = Service::start();
        let new =
            service.client.post("/sessman/new", json!({ "user_id": "ada", "data": { "n": 1 } })).expect(201);
        new.member("session_id")
    };
    let owner = succeed(Command::new("stat").args(["-c", "%U", STATE]));
    assert_eq!(owner, "pserve\n");
    println!("installed and served by the unit's command, as the user pserve");

    let changed = fs::read_to_string(CONFIGURATION).expect("the configuration").replace("86400", "3600");
    fs::write(CONFIGURATION, &changed).expect("root may write");
    dpkg(&["--install"], Some(deb));
    // The next version says something else in the one file, and the same as before in the other.
    dpkg(&["--install"], Some(&next_version(deb, folder.path())));
    assert_eq!(fs::read_to_string(CONFIGURATION).expect("the configuration"), changed);
    let ini = fs::read_to_string("/etc/pserve/pserve.ini").expect("the INI file");
    assert!(ini.contains("of the next version"), "{ini}");
    let shown = succeed(Command::new("dpkg-query").args([
        "--show",
        "--showformat",
        "${Version} ${Status}",
        "pserve",
    ]));
    assert_eq!(shown, "99.0.0-1 install ok installed");
    {
        let service = Service::start();
        let session = service.client.with("X-Session-Id", &id).get("/sessman/get").expect(200);
        assert_eq!(session.json()["data"], json!({ "n": 1 }));
    }
    println!("upgraded: the changed file stayed, the other is that of the new version, the session lives");

    dpkg(&["--remove", "pserve"], None);
    assert!(Path::new(STATE).exists() && Path::new(CONFIGURATION).exists(), "they stay");
    assert!(!Path::new("/usr/bin/pserve").exists());
    dpkg(&["--install"], Some(deb));
    {
        let service = Service::start();
        service.client.with("X-Session-Id", &id).get("/sessman/get").expect(200);
    }
    println!("removed, and installed again: configuration and session are there");
    fs::write("/etc/pserve/environment", "PSERVE_AUTH_APIKEY=secret\n").expect("root may write");

    drop(purged);
    let left: Vec<String> = files().symmetric_difference(&before).cloned().collect();
    println!("purged: {} files and folders differ from before the installation", left.len());
    assert!(left.is_empty(), "{left:#?}");
    for names in ["passwd", "group"] {
        let known = Command::new("getent").args([names, "pserve"]).output().expect("getent runs");
        assert_eq!(known.status.code(), Some(2), "user and group are gone");
    }
}

/// Purges the package when it is dropped.
struct Purged;

impl Drop for Purged {
    fn drop(&mut self) {
        dpkg(&["--purge", "pserve"], None);
    }
}

fn dpkg(arguments: &[&str], file: Option<&Path>) {
    succeed(Command::new("dpkg").args(arguments).args(file).env("DEBIAN_FRONTEND", "noninteractive"));
}

/// All files and folders of the system, but those that dpkg keeps about packages, logs, and what is not on the disk.
fn files() -> BTreeSet<String> {
    let mut find = Command::new("find");
    find.args(["/etc", "/usr", "/var", "/lib", "/opt", "-xdev"]);
    find.args([
        "-not",
        "-path",
        "/var/lib/dpkg/*",
        "-not",
        "-path",
        "/var/log/*",
        "-not",
        "-path",
        "/var/tmp/*",
    ]);
    // Whether others use the machine at the same time is not the question.
    find.args([
        "-not",
        "-path",
        "/var/cache/*",
        "-not",
        "-path",
        "/var/lib/apt/*",
        "-not",
        "-path",
        "*/__pycache__*",
    ]);
    succeed(&mut find).lines().map(str::to_owned).collect()
}

/// The same package under a higher version, whose INI file has a line more.
fn next_version(deb: &Path, folder: &Path) -> PathBuf {
    let root = folder.join("next");
    succeed(Command::new("dpkg-deb").arg("--raw-extract").arg(deb).arg(&root));
    for (file, from, to) in [
        ("DEBIAN/control", "\nVersion: ", "\nVersion: 99.0.0-1\nX-Was: "),
        ("etc/pserve/pserve.ini", "\n[network]\n", "\n; of the next version\n[network]\n"),
    ] {
        let file = root.join(file);
        let text = fs::read_to_string(&file).expect("a file of the package");
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replace(from, to)).expect("it is written");
    }
    let next = folder.join("next.deb");
    succeed(Command::new("dpkg-deb").args(["--root-owner-group", "-z1", "--build"]).arg(&root).arg(&next));
    next
}

/// `pserve` as the unit starts it: its command, user and environment. What systemd would add, its sandbox and its
/// restarts, is not there.
struct Service {
    child: Child,
    client: Client,
}

impl Service {
    fn start() -> Self {
        let unit = fs::read_to_string("/usr/lib/systemd/system/pserve.service").expect("the unit");
        let all = |key: &str| {
            let lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let [user, command] =
            ["User", "ExecStart"].map(|key| all(key).pop().unwrap_or_else(|| panic!("no {key}")));
        let mut start = Command::new("setpriv");
        start.args(["--reuid", &user, "--regid", &user, "--init-groups", "--no-new-privs"]);
        start.args(command.split_whitespace()).env_clear().current_dir("/");
        for setting in all("Environment") {
            let (name, value) = setting.split_once('=').expect("a name and a value");
            start.env(name, value);
        }
        // Somebody may use the port of the shipped file.
        start.env("PSERVE_NETWORK_PORT", "0").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = start.spawn().expect("setpriv starts");
        let stdout = child.stdout.take().expect("its output is piped");
        let line = BufReader::new(stdout).lines().next().expect("a line").expect("text");
        let base = line.strip_prefix("pserve: listening on ").unwrap_or_else(|| panic!("{line}"));
        Self { child, client: Client::new(base) }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        send_signal(&self.child, Signal::TERM);
        let _ = self.child.wait();
    }
}
