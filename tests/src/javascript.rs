//! The npm package of `clients/javascript`, packed as it is published, in a project beside what its tests use.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::artifacts;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The packed file: each run packs it once.
static PACKED: OnceLock<Vec<u8>> = OnceLock::new();

/// A project of a user who has installed the package.
pub struct Project {
    folder: TempDir,
}

impl Project {
    /// A project with the package, its tests and the examples; `None`, and reported, where npm packages are missing.
    ///
    /// # Panics
    /// When the package cannot be packed.
    pub fn new(test: &str) -> Option<Self> {
        let tools = artifacts().join("../tools/javascript");
        let sources = Sources::copy(test)?;
        let packed = PACKED.get_or_init(|| {
            sources.run("npm pack ./clients/javascript");
            fs::read(sources.packed()).expect("a packed file")
        });
        let project = Self { folder: TempDir::new().expect("a temporary folder") };
        let modules = project.path("node_modules");
        fs::create_dir_all(modules.join("sessman")).expect("a folder for the package");
        for entry in fs::read_dir(tools.join("node_modules")).expect("installed packages") {
            let entry = entry.expect("an installed package");
            let from = fs::canonicalize(entry.path()).expect("its path");
            symlink(from, modules.join(entry.file_name())).expect("a link");
        }
        fs::write(project.path("packed.tgz"), packed).expect("the packed file");
        let from = project.path("packed.tgz");
        run(Command::new("tar")
            .arg("xzf")
            .arg(from)
            .arg("--strip-components=1")
            .current_dir(modules.join("sessman")));
        for source in ["clients/javascript/README.md", "clients/javascript/test", "examples"] {
            run(Command::new("cp").arg("-r").arg(Path::new(ROOT).join(source)).arg(project.path("")));
        }
        Some(project)
    }

    /// A file of the project.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `node` in the project's folder, with the service that it is to use.
    pub fn node(&self, service: &str, key: &str) -> Command {
        let mut node = Command::new("node");
        node.current_dir(self.folder.path()).env("SESSMAN_URL", service).env("SESSMAN_KEY", key);
        node.stdin(Stdio::null());
        node
    }
}

/// A checkout with what the package is made of.
pub struct Sources {
    folder: TempDir,
}

impl Sources {
    /// Copies them; `None`, and reported, where npm packages are missing.
    ///
    /// # Panics
    /// When it cannot.
    pub fn copy(test: &str) -> Option<Self> {
        if !artifacts().join("../tools/javascript/installed").exists() {
            crate::skip(test, "npm or the packages of clients/javascript are not installed");
            return None;
        }
        let folder = TempDir::new().expect("a temporary folder");
        let package = folder.path().join("clients/javascript");
        fs::create_dir_all(&package).expect("a folder for the package");
        let from = Path::new(ROOT).join("clients/javascript");
        for entry in fs::read_dir(from).expect("the package's folder") {
            let entry = entry.expect("a file of the package");
            // What a developer may have installed there is none of its sources.
            if entry.file_name() != "node_modules" {
                run(Command::new("cp").arg("-r").arg(entry.path()).arg(&package));
            }
        }
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            fs::copy(Path::new(ROOT).join(licence), folder.path().join(licence)).expect("a licence");
        }
        Some(Self { folder })
    }

    /// Runs a command line in the checkout's folder, without a network.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, line: &str) -> String {
        let mut shell = Command::new("bash");
        shell.args(["-euc", line]).current_dir(self.folder.path());
        let output = run(shell.env("npm_config_offline", "true").env("npm_config_update_notifier", "false"));
        String::from_utf8(output.stdout).expect("text")
    }

    /// The file that `npm pack` makes.
    pub fn packed(&self) -> PathBuf {
        self.folder.path().join("sessman-0.1.0.tgz")
    }
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (told, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{told}\n{failed}");
    output
}

/// A program that serves; killed when it is dropped.
pub struct Server(Child);

impl Server {
    /// Starts it and waits until it says `listening on URL`, which is given back.
    ///
    /// # Panics
    /// When it says something else.
    pub fn start(command: &mut Command) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("its output is piped"));
        output.read_line(&mut line).expect("a line");
        let server = Self(child);
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}"));
        (server, url.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
