//! What a process gets from the system, made worse by strace.

use std::fs;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::pserve::{eventually, send_signal};

/// A strace that is attached to all threads of a process; it lets go of them when it is dropped.
pub(crate) struct Tracer(Child);

impl Tracer {
    /// Injects something into a system call of the process; the form is strace's.
    pub(crate) fn attach(pid: u32, injection: &str, call: &str) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-q", "-o", "/dev/null", "-e", &format!("trace={call}")]);
        command.args(["-e", &format!("inject={injection}"), "-p", &pid.to_string()]);
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("strace starts");
        let is_traced = |task: fs::DirEntry| {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
        };
        eventually("strace is attached", || {
            fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|tasks| tasks.flatten().all(is_traced))
        });
        Self(child)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        send_signal(&self.0, Signal::TERM);
        let _ = self.0.wait();
    }
}
