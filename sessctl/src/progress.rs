//! Progress of a long command on standard error: a bar on a terminal, else a line now and then.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::number;

/// Interval of the lines without a terminal.
const LINES: Duration = Duration::from_secs(5);

/// The progress of one step of a command.
pub(crate) struct Progress {
    what: &'static str,
    total: Option<u64>,
    done: u64,
    begun: Instant,
    said: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins a step over `total` records, if their number is known.
    pub(crate) fn begin(what: &'static str, total: Option<u64>) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let (bar, template) = match total {
                Some(total) => (
                    ProgressBar::new(total),
                    "{msg} {wide_bar} {human_pos}/{human_len} {per_sec}, {eta} left",
                ),
                None => (ProgressBar::new_spinner(), "{msg} {human_pos} {per_sec}"),
            };
            // The template is a literal, and valid.
            bar.set_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()));
            bar.with_message(what)
        });
        let now = Instant::now();
        Self { what, total, done: 0, begun: now, said: now, bar }
    }

    /// Counts one record.
    pub(crate) fn advance(&mut self) {
        self.done += 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None if self.said.elapsed() >= LINES => {
                self.said = Instant::now();
                // A failure to print progress must not stop the command.
                let _ = writeln!(
                    stderr(),
                    "{}",
                    describe(self.what, self.done, self.total, self.begun.elapsed())
                );
            }
            None => {}
        }
    }

    /// Ends the step; returns its duration in seconds.
    pub(crate) fn end(self) -> f64 {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.begun.elapsed().as_secs_f64()
    }
}

fn describe(what: &str, done: u64, total: Option<u64>, took: Duration) -> String {
    let rate = done as f64 / took.as_secs_f64().max(0.001);
    let of = total.map_or(String::new(), |total| format!(" of {}", number(total)));
    let left = total
        .filter(|total| *total > done && done > 0)
        .map_or(String::new(), |total| format!(", {:.0} s left", (total - done) as f64 / rate));
    format!("{what}: {}{of}, {rate:.0}/s{left}", number(done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_rate_and_time_left() {
        let ten = Duration::from_secs(10);
        assert_eq!(
            describe("copied", 20_000, Some(100_000), ten),
            "copied: 20,000 of 100,000, 2000/s, 40 s left"
        );
        assert_eq!(describe("copied", 5, None, ten), "copied: 5, 0/s");
        assert_eq!(describe("copied", 0, Some(7), ten), "copied: 0 of 7, 0/s");
    }
}
