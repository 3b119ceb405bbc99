//! A real `pserve` process with real plugin files, in a folder of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::artifacts;
use crate::cgroup::Cgroup;
use crate::http::Client;

/// Longer than any start or stop takes, even where much else runs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a configuration and plugins, as a user lays it out.
pub struct Site {
    folder: TempDir,
    /// Where the files that ship are taken from.
    artifacts: PathBuf,
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// A site with the `sessman` plugin and no configuration but a free port.
    ///
    /// # Panics
    /// When the plugin was not built: `cargo xtask test` does it.
    pub fn new() -> Self {
        Self::with_artifacts(&artifacts())
    }

    /// As [`new`](Self::new), of another build, whose files are in that folder.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn with_artifacts(artifacts: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("pserve-e2e-").tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("plugins")).expect("a plugin folder");
        fs::set_permissions(folder.path().join("plugins"), fs::Permissions::from_mode(0o755))
            .expect("its mode");
        let site = Self { folder, artifacts: artifacts.to_owned() };
        site.ini("");
        site.plugin("libsessman_plugin.so");
        site
    }

    /// Writes `pserve.ini`: a free port, and what is given.
    pub fn ini(&self, rest: &str) {
        let network = if rest.contains("[network]") { "" } else { "[network]\nport=0\n" };
        self.write("pserve.ini", format!("{network}[paths]\nplugins=plugins\n{rest}\n"));
    }

    /// Writes `sessman.json`, and `pserve.ini` with the line that names it.
    pub fn sessman(&self, json: &str) {
        self.write("sessman.json", json);
        self.ini("[plugin_parms]\nsessman=json=sessman.json");
    }

    /// Writes a file of the site.
    ///
    /// # Panics
    /// When it cannot.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("a file of the site is written");
    }

    /// Puts a plugin that was built beside `pserve` into the plugin folder.
    ///
    /// # Panics
    /// When it was not built.
    pub fn plugin(&self, file: &str) {
        let built = self.artifacts.join(file);
        let to = self.path("plugins").join(file);
        fs::copy(&built, to)
            .unwrap_or_else(|error| panic!("{} (run `cargo xtask test`): {error}", built.display()));
    }

    /// A file of the site.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts `pserve` and waits until it listens.
    ///
    /// # Panics
    /// When it ends or stays silent instead.
    pub fn start(&self) -> Pserve {
        self.try_start().unwrap_or_else(|log| panic!("pserve did not start:\n{log}"))
    }

    /// Starts `pserve`; the error is its log when it ends before it listens.
    ///
    /// # Errors
    /// What it wrote before it ended.
    ///
    /// # Panics
    /// When it neither listens nor ends.
    pub fn try_start(&self) -> Result<Pserve, String> {
        self.try_start_with(&[])
    }

    /// As [`try_start`](Self::try_start), with more environment.
    ///
    /// # Errors
    /// What it wrote before it ended.
    ///
    /// # Panics
    /// When it neither listens nor ends.
    pub fn try_start_with(&self, environment: &[(&str, &str)]) -> Result<Pserve, String> {
        self.try_start_by(Command::new(self.artifacts.join("pserve")), environment)
    }

    /// As [`try_start_with`](Self::try_start_with), in a control group.
    ///
    /// # Errors
    /// What it wrote before it ended.
    ///
    /// # Panics
    /// When it neither listens nor ends.
    pub fn try_start_in(&self, group: &Cgroup) -> Result<Pserve, String> {
        self.try_start_by(group.command(&self.artifacts.join("pserve")), &[])
    }

    /// Starts `pserve dev` and waits until it watches.
    ///
    /// # Panics
    /// When it does not.
    pub fn start_dev(&self) -> Pserve {
        let mut command = Command::new(self.artifacts.join("pserve"));
        command.arg("dev");
        let pserve =
            self.try_start_by(command, &[]).unwrap_or_else(|log| panic!("pserve did not start:\n{log}"));
        pserve.wait_for_output("watching");
        pserve
    }

    fn try_start_by(&self, mut command: Command, environment: &[(&str, &str)]) -> Result<Pserve, String> {
        command.arg("-i").arg(self.path("pserve.ini")).current_dir("/");
        command.env_remove("MONGODB_URI").env_remove("REDIS_URL").envs(environment.iter().copied());
        Pserve::spawn(command, self.path("pserve.log"))
    }
}

/// A running `pserve`; killed when it is dropped.
pub struct Pserve {
    child: Child,
    address: String,
    log: PathBuf,
    /// What it wrote to standard output.
    output: Arc<Mutex<String>>,
}

impl Pserve {
    /// Starts it by a command, with its log at the end of a file, and waits until it listens.
    ///
    /// # Errors
    /// What it wrote before it ended.
    ///
    /// # Panics
    /// When it neither listens nor ends.
    pub fn spawn(mut command: Command, log: PathBuf) -> Result<Self, String> {
        let log_file = fs::OpenOptions::new().create(true).append(true).open(&log).expect("a log");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file);
        let mut child = command.spawn().expect("pserve starts (run `cargo xtask test`)");
        let stdout = child.stdout.take().expect("its output is piped");
        let (send, lines) = mpsc::channel();
        let output = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&output);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                *kept.lock().expect("nobody panics with it") += &format!("{line}\n");
                let _ = send.send(line);
            }
        });
        let mut pserve = Self { child, address: String::new(), log, output };
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                let url = line.strip_prefix("pserve: listening on ");
                let address = url.and_then(|url| url.split_once("://"));
                pserve.address = address.unwrap_or_else(|| panic!("unexpected output: {line}")).1.to_owned();
                Ok(pserve)
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let _ = pserve.child.wait();
                Err(pserve.log())
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                panic!("pserve neither listens nor ends:\n{}", pserve.log())
            }
        }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process id, also where what was started is a program that runs it.
    pub fn pid(&self) -> u32 {
        let mut pid = self.child.id();
        let read =
            |pid: u32, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        while read(pid, "comm").trim_end() != "pserve" {
            let children = read(pid, &format!("task/{pid}/children"));
            let Some(child) = children.split_whitespace().next().and_then(|child| child.parse().ok()) else {
                return self.child.id();
            };
            pid = child;
        }
        pid
    }

    /// What it holds in memory, in KiB.
    ///
    /// # Panics
    /// When it is not there any more.
    pub fn memory_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// The most that it held in memory so far, in KiB.
    ///
    /// # Panics
    /// When it is not there any more.
    pub fn peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("its memory");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// A client of it, without TLS.
    pub fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.address))
    }

    /// What it logged so far, this run and earlier ones in its folder.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until a line of the log contains `text`.
    ///
    /// # Panics
    /// When none comes.
    pub fn wait_for_log(&self, text: &str) {
        eventually(&format!("{text:?} in the log"), || self.log().contains(text));
    }

    /// What it wrote to standard output so far.
    ///
    /// # Panics
    /// Never: nobody panics while it is written.
    pub fn output(&self) -> String {
        self.output.lock().expect("nobody panics with it").clone()
    }

    /// Waits until standard output contains `text`.
    ///
    /// # Panics
    /// When it never does.
    pub fn wait_for_output(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.output().contains(text) {
            assert!(Instant::now() < deadline, "never {text:?} in the output:\n{}", self.output());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it is not there any more.
    pub fn signal(&self, signal: Signal) {
        send_signal_to(self.pid(), signal);
    }

    /// Ends it at once, as `kill -9` does.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill_9(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it ends");
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Panics
    /// When it does not.
    pub fn stop(self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "pserve does not stop:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Pserve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of pserve ---\n{}", self.log());
        }
    }
}

/// Sends a signal to a process that was started here.
///
/// # Panics
/// When it is not there any more.
pub fn send_signal(child: &Child, signal: Signal) {
    send_signal_to(child.id(), signal);
}

fn send_signal_to(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
    kill_process(pid, signal).expect("it takes the signal");
}

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not for a minute.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Overwrites a file in place, as `cp` does: the same inode, new content.
///
/// # Panics
/// When it cannot.
pub fn overwrite_in_place(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("the file is overwritten");
}
