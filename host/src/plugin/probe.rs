//! Tries a plugin in a child process before this process opens it.
//!
//! Opening a library runs its initializers, and a broken one may crash the process. The child runs this same program.
//! It gets the copy as an inherited descriptor, and the parameters of the plugin's instances through a pipe, never as
//! arguments, which every user of the machine can read. First it reports the plugin's name; only then does it get
//! parameters, and only those of this plugin.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, ROption, RStr};
use plugin_api::abi::host::{RawHost, RawHost_TO};
use plugin_api::extension::RawExtension;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::LoadError;
use super::copy::{Copy, descriptor_path};
use super::library;

/// Timeout for the whole trial of one plugin.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Limit of a line from the child, in bytes.
const MAX_LINE: u64 = 1 << 20;

/// The child's first message.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Opened {
    Plugin { name: String },
    NoPlugin,
    Refused { error: String },
}

/// The parent's message that follows. No `Debug`: it holds secrets.
#[derive(Serialize, Deserialize)]
struct Trial {
    instances: Vec<TrialInstance>,
}

/// One instance to prepare.
#[derive(Serialize, Deserialize)]
pub(crate) struct TrialInstance {
    pub(crate) name: String,
    /// JSON text.
    pub(crate) parameters: String,
    pub(crate) state_folder: String,
}

/// The child's last message: why instances could not be prepared, by name.
type Refusals = BTreeMap<String, String>;

/// A child process with an open plugin.
pub(crate) struct Probe {
    /// The plugin's name.
    pub(crate) name: String,
    child: Running,
}

impl Probe {
    /// Starts a child process that opens the copy.
    pub(crate) fn open(copy: &Copy) -> Result<Self, LoadError> {
        let mut child = Running::start(copy).map_err(LoadError::Child)?;
        match child.read::<Opened>()? {
            Opened::Plugin { name } => Ok(Self { name, child }),
            Opened::NoPlugin => Err(LoadError::NoPlugin),
            Opened::Refused { error } => Err(LoadError::Refused(error)),
        }
    }

    /// Prepares `instances` in the child; returns why some of them failed, by name.
    pub(crate) fn prepare(mut self, instances: Vec<TrialInstance>) -> Result<Refusals, LoadError> {
        // Written on a separate thread: a child that does not read must not block the host.
        if let Some(mut input) = self.child.input.take() {
            std::thread::spawn(move || {
                // A crashed child is noticed when its answer is read.
                let _ =
                    serde_json::to_writer(&mut input, &Trial { instances }).map(|()| input.write_all(b"\n"));
            });
        }
        self.child.read()
    }
}

/// The child process; it is killed when this is dropped.
struct Running {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<io::Result<String>>,
    deadline: Instant,
}

impl Running {
    fn start(copy: &Copy) -> io::Result<Self> {
        let inherited = copy.inheritable()?;
        let mut child = Command::new("/proc/self/exe")
            .args(["probe", "--library-fd", &inherited.as_raw_fd().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        drop(inherited);
        let input = child.stdin.take();
        let output = child.stdout.take().map(BufReader::new);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let Some(mut output) = output else { return };
            loop {
                let mut line = String::new();
                let read = output.by_ref().take(MAX_LINE).read_line(&mut line);
                let end = !matches!(read, Ok(length) if length > 0);
                if sender.send(read.map(|_| line)).is_err() || end {
                    return;
                }
            }
        });
        Ok(Self { child, input, lines, deadline: Instant::now() + TIME_LIMIT })
    }

    /// Reads the next message of the child.
    fn read<T: DeserializeOwned>(&mut self) -> Result<T, LoadError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(Ok(line)) if !line.is_empty() => serde_json::from_str(&line)
                .map_err(|error| LoadError::Child(io::Error::new(io::ErrorKind::InvalidData, error))),
            Ok(Err(error)) => Err(LoadError::Child(error)),
            Err(RecvTimeoutError::Timeout) => Err(LoadError::Silent(TIME_LIMIT)),
            // End of its output: it has ended, or cannot be used any more.
            Ok(Ok(_)) | Err(RecvTimeoutError::Disconnected) => match self.wait() {
                Ok(Some(status)) => Err(LoadError::Died(describe(status))),
                Ok(None) => Err(LoadError::Silent(TIME_LIMIT)),
                Err(error) => Err(LoadError::Child(error)),
            },
        }
    }

    fn wait(&mut self) -> io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= self.deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn describe(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else { return format!("it exited with {status}") };
    let name = match signal {
        4 => " (SIGILL, an instruction this processor does not have)",
        6 => " (SIGABRT, it aborted)",
        7 => " (SIGBUS, a truncated library)",
        9 => " (SIGKILL, perhaps out of memory)",
        11 => " (SIGSEGV, a damaged library)",
        _ => "",
    };
    format!("signal {signal}{name}")
}

/// The child's main function: opens the library at `descriptor`, reports its name, prepares the instances it is told
/// to, and reports the results.
///
/// # Errors
/// The pipes to the parent are broken.
pub fn child(descriptor: i32) -> io::Result<()> {
    // If the host stops meanwhile, the child is killed, too.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // What the plugin prints goes to standard error, so that the pipe carries only the messages.
    let mut output = std::fs::File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?);
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    let path = descriptor_path(descriptor);
    let opened = library::check_raw(&path).and_then(|()| library::open(&path));
    let opened = match opened {
        Ok(opened) => {
            say(&mut output, &Opened::Plugin { name: opened.name.clone() })?;
            opened
        }
        Err(LoadError::NoPlugin) => return say(&mut output, &Opened::NoPlugin),
        Err(error) => return say(&mut output, &Opened::Refused { error: error.line() }),
    };
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if line.is_empty() {
        // The parent needs nothing else.
        return Ok(());
    }
    let trial: Trial = serde_json::from_str(&line)?;
    let mut refusals = Refusals::new();
    for instance in trial.instances {
        let name = instance.name.clone();
        let services = RawHost_TO::from_ptr(RBox::new(instance), TD_Opaque);
        match library::prepare(opened.module, services) {
            // Dropped in the child, not in the parent: a destructor may be broken too.
            Ok(plugin) => drop(plugin),
            Err(error) => {
                refusals.insert(name, error.line());
            }
        }
    }
    say(&mut output, &refusals)
}

fn say<T: Serialize>(output: &mut impl Write, answer: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    output.write_all(&line)
}

/// The host's services in the child: without a log, because the parent prepares the instance again and logs then.
impl RawHost for TrialInstance {
    fn instance(&self) -> RStr<'_> {
        self.name.as_str().into()
    }

    fn config(&self) -> RStr<'_> {
        self.parameters.as_str().into()
    }

    fn state_folder(&self) -> RStr<'_> {
        self.state_folder.as_str().into()
    }

    fn log_enabled(&self, _level: u8) -> bool {
        false
    }

    fn log(&self, _level: u8, _message: RStr<'_>) {}

    fn extension(&self, _id: RStr<'_>, _version: u32) -> ROption<RawExtension> {
        ROption::RNone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_told_by_its_signal() {
        assert_eq!(describe(ExitStatus::from_raw(11)), "signal 11 (SIGSEGV, a damaged library)");
        assert_eq!(describe(ExitStatus::from_raw(15)), "signal 15");
        assert_eq!(describe(ExitStatus::from_raw(3 << 8)), "it exited with exit status: 3");
    }

    #[test]
    fn services_in_the_child_offer_what_the_parent_says() {
        let instance = TrialInstance {
            name: "one".into(),
            parameters: "{\"a\":1}".into(),
            state_folder: "/state".into(),
        };
        assert_eq!((instance.instance().as_str(), instance.config().as_str()), ("one", "{\"a\":1}"));
        assert_eq!(instance.state_folder().as_str(), "/state");
    }
}
