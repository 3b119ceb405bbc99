//! Starting programs: commands that must succeed, and servers that must not outlive us.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Runs a command to its end, its output going where ours goes.
///
/// # Errors
/// If it cannot be started or ends with anything but 0; the error holds the command line.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let line = line_of(command);
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("could not start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// As [`succeed`]; and if what it printed is not UTF-8.
pub(crate) fn output_of(command: &mut Command) -> Result<String> {
    let line = line_of(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("could not start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed ({})", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("what `{line}` printed is no text"))
}

/// A command as a person would type it.
pub(crate) fn line_of(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Whether a program of this name is on PATH.
pub(crate) fn on_path(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Ends a process that was started here, and all that it started; what is gone already is no error.
pub(crate) fn end_with_descendants(id: u32) {
    let children = children_of(id);
    // First the parent, so that it starts nothing anew.
    let _ = Command::new("kill").args(["-KILL", &id.to_string()]).stderr(Stdio::null()).status();
    children.into_iter().for_each(end_with_descendants);
}

fn children_of(id: u32) -> Vec<u32> {
    // A child belongs to the thread that started it.
    let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// A server that is stopped, by its own process handle, when this value is dropped.
pub(crate) struct Server(pub(crate) Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a server that is gone already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a server that was started takes connections on a port of this machine.
///
/// # Errors
/// If it ends, or takes longer than `limit`.
pub(crate) fn wait_for_port(server: &mut Child, port: u16, limit: Duration) -> Result<()> {
    let started = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if let Some(status) = server.try_wait()? {
            bail!("it ended ({status})");
        }
        if started.elapsed() > limit {
            bail!("nothing on port {port} after {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::{Server, end_with_descendants, on_path, succeed};

    #[test]
    fn a_failing_command_is_named_in_its_error() {
        let error = succeed(Command::new("sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c exit 3") && error.contains('3'), "{error}");
    }

    #[test]
    fn a_dropped_server_is_stopped() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let id = child.id();
        drop(Server(child));
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn what_a_process_started_ends_with_it() {
        let script = "sleep 600 & echo $!; wait";
        let mut shell = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(shell.stdout.take().unwrap());
        let mut child = String::new();
        output.read_line(&mut child).unwrap();
        end_with_descendants(shell.id());
        shell.wait().unwrap();
        // The child holds the other end of the pipe.
        assert_eq!(output.read_line(&mut child).unwrap(), 0);
    }

    #[test]
    fn programs_are_found_on_path() {
        assert!(on_path("sh"));
        assert!(!on_path("no-such-program-anywhere"));
    }
}
