//! `pserve dev`: reloads what changes on disk, and says on standard output what happened.
//!
//! It orders what SIGHUP orders, and nothing else: what is reloaded, and what a failure means, is decided in
//! `lifecycle`.

mod files;

use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use self::files::{Change, Files};
use crate::config::Config;
use crate::http::control::orders::{Order, OrderError, Report, Task};

/// Time between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// The files of a host, as they are before it reads them.
#[derive(Debug)]
pub struct Watch(Files);

/// Ends the watch when it is dropped.
pub(crate) struct Watching {
    _stop: Sender<()>,
}

impl Watch {
    /// Looks at the files that `config` names, which came from `ini_file`.
    pub fn new(ini_file: &Path, config: &Config) -> Self {
        Self(Files::new(ini_file, config))
    }

    /// Looks at the files from now on, and orders a reload for each change.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(crate) fn start(self, orders: UnboundedSender<Order>) -> io::Result<Watching> {
        let Self(mut files) = self;
        let (stop, stopped) = channel();
        let is_stopped = move |wait| stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout);
        say(&format!("watching {files}"));
        thread::Builder::new().name("pserve-dev".to_owned()).spawn(move || {
            while !is_stopped(LOOK_INTERVAL) {
                let changes = files.look();
                if changes.is_empty() {
                    continue;
                }
                let begun = Instant::now();
                let (reply, told) = oneshot::channel();
                let order = Order { task: Task::ReloadAll, reply: Some(reply) };
                // Nobody carries out orders once the host stops.
                let (Ok(()), Ok(done)) = (orders.send(order), told.blocking_recv()) else { return };
                if !is_stopped(Duration::ZERO) {
                    say(&outcome(&changes, &done, begun.elapsed()));
                }
            }
        })?;
        Ok(Watching { _stop: stop })
    }
}

/// Writes a line to standard output, where the host says its address, too.
fn say(line: &str) {
    let mut output = io::stdout().lock();
    // A closed standard output is not a reason to stop serving.
    let _ = writeln!(output, "pserve: {line}").and_then(|()| output.flush());
}

/// What happened, for people: a line, and one for each thing that is wrong.
fn outcome(changes: &[Change], done: &Result<Report, OrderError>, took: Duration) -> String {
    let changes = changes.iter().map(Change::to_string).collect::<Vec<_>>().join(", ");
    let took = took.as_millis();
    match done {
        Ok(report) => {
            let lists =
                [("reloaded", &report.reloaded), ("loaded", &report.loaded), ("unloaded", &report.unloaded)];
            let done = lists.iter().filter(|(_, names)| !names.is_empty());
            let done: Vec<String> =
                done.map(|(what, names)| format!("{what} {}", names.join(", "))).collect();
            let done = if done.is_empty() { "nothing to reload".to_owned() } else { done.join("; ") };
            let mut text = format!("{changes}: {done} ({took} ms)");
            for failure in &report.failed {
                text.push_str(&format!("\n  failed: {}: {}", failure.name, failure.reason));
            }
            for note in &report.notes {
                text.push_str(&format!("\n  {note}"));
            }
            text
        }
        Err(refusal) => {
            format!("{changes}: not reloaded, what was loaded goes on serving ({took} ms)\n  {refusal}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::files::Kind;
    use super::*;
    use crate::plugin::Failure;

    fn changes() -> Vec<Change> {
        let change = |name: &str, kind| Change { name: name.into(), kind };
        vec![change("plugins/liba.so", Kind::Changed), change("a.json", Kind::New)]
    }

    #[test]
    fn what_was_done_is_said_by_file_and_instance() {
        let took = Duration::from_millis(84);
        let report = Report {
            reloaded: vec!["one".into(), "two".into()],
            loaded: vec!["three".into()],
            kept: vec!["four".into()],
            ..Report::default()
        };
        let text = outcome(&changes(), &Ok(report), took);
        assert_eq!(text, "plugins/liba.so changed, a.json is new: reloaded one, two; loaded three (84 ms)");
        let text = outcome(&changes()[..1], &Ok(Report::default()), took);
        assert_eq!(text, "plugins/liba.so changed: nothing to reload (84 ms)");
    }

    #[test]
    fn what_is_wrong_has_a_line_of_its_own() {
        let failed = vec![Failure { name: "ghost".into(), mount: None, reason: "no such plugin".into() }];
        let notes = vec!["[network] threads counts from the next start".to_owned()];
        let report = Report { failed, notes, ..Report::default() };
        let text = outcome(&changes()[..1], &Ok(report), Duration::ZERO);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            ["  failed: ghost: no such plugin", "  [network] threads counts from the next start"]
        );
        let refusal = OrderError::Invalid("liba.so: it is no file".into());
        let text = outcome(&changes()[..1], &Err(refusal), Duration::ZERO);
        assert!(text.contains("goes on serving") && text.ends_with("it is no file; nothing was changed"));
    }
}
