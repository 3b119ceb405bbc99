//! What a run of the checks says at its end.

use std::fmt;
use std::time::Duration;

/// Counts of single tests.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    /// Reads the line with which a test binary closes; any other line is `None`.
    pub(crate) fn from_result_line(line: &str) -> Option<Self> {
        let counts = line.strip_prefix("test result: ")?;
        let count = |label: &str| {
            let words: Vec<&str> = counts.split([' ', ';']).filter(|word| !word.is_empty()).collect();
            let at = words.iter().position(|word| *word == label)?;
            words[at.checked_sub(1)?].parse().ok()
        };
        Some(Self { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// The closing line, in the form that continuous integration counts tests by.
impl fmt::Display for Tally {
    fn fmt(&self, line: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(line, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(line, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// How a stage ended.
pub(crate) enum Verdict {
    Passed,
    Failed(String),
    NotRun(String),
}

/// What all stages of a run did, for its summary.
#[derive(Default)]
pub(crate) struct Report {
    stages: Vec<(&'static str, Duration, Verdict)>,
    tally: Tally,
    skips: Vec<String>,
}

impl Report {
    /// Notes the end of a stage. Each one that failed, without a failed test to show for it, counts as one failure: the
    /// closing line must never look good beside an exit status that is not.
    pub(crate) fn stage(&mut self, name: &'static str, took: Duration, mut tally: Tally, verdict: Verdict) {
        if !matches!(verdict, Verdict::Passed) && tally.failed == 0 {
            tally.failed = 1;
        }
        self.tally.add(tally);
        self.stages.push((name, took, verdict));
    }

    /// Notes a test that ran, found that it could not check what it is for, and was counted as passed by its binary.
    pub(crate) fn skipped_test(&mut self, line: &str) {
        self.tally.passed = self.tally.passed.saturating_sub(1);
        self.tally.skipped += 1;
        self.skips.push(line.to_owned());
    }

    /// Notes something that was left out; `counted` if a test binary has counted it as ignored.
    pub(crate) fn left_out(&mut self, name: &str, reason: &str, counted: bool) {
        self.tally.skipped += usize::from(!counted);
        self.skips.push(format!("{name}: {reason}"));
    }

    /// Whether the stage of this name was run and passed.
    pub(crate) fn has_passed(&self, name: &str) -> bool {
        self.stages.iter().any(|(stage, _, verdict)| *stage == name && matches!(verdict, Verdict::Passed))
    }

    /// Whether nothing failed.
    pub(crate) fn is_good(&self) -> bool {
        self.tally.failed == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: Duration = self.stages.iter().map(|(_, took, _)| *took).sum();
        writeln!(text, "\n=== summary ({:.0} s)", total.as_secs_f64())?;
        for (name, took, verdict) in &self.stages {
            write!(text, "{name:<10} {:>7.1} s  ", took.as_secs_f64())?;
            match verdict {
                Verdict::Passed => writeln!(text, "ok")?,
                Verdict::Failed(why) => writeln!(text, "FAILED: {why}")?,
                Verdict::NotRun(why) => writeln!(text, "NOT RUN: {why}")?,
            }
        }
        for skip in &self.skips {
            writeln!(text, "SKIPPED: {}", loud(skip))?;
        }
        write!(text, "{}", self.tally)
    }
}

/// In capital letters, but for file names, which would then name nothing.
fn loud(text: &str) -> String {
    let words =
        text.split(' ').map(|word| if word.contains('/') { word.to_owned() } else { word.to_uppercase() });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Report, Tally, Verdict};

    const SECOND: Duration = Duration::from_secs(1);

    fn tally(passed: usize, failed: usize, skipped: usize) -> Tally {
        Tally { passed, failed, skipped }
    }

    fn last_line(report: &Report) -> String {
        report.to_string().lines().last().unwrap().to_owned()
    }

    #[test]
    fn result_lines_are_read() {
        let good =
            "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 40 filtered out; finished in 0.05s";
        assert_eq!(Tally::from_result_line(good), Some(tally(12, 0, 3)));
        let bad = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s";
        assert_eq!(Tally::from_result_line(bad), Some(tally(1, 2, 0)));
        assert_eq!(Tally::from_result_line("test store::result: ok ... ok"), None);
        assert_eq!(Tally::from_result_line("test result: unknown"), None);
    }

    #[test]
    fn the_last_line_sums_up_all_binaries() {
        let mut report = Report::default();
        report.stage("unit", SECOND, tally(10, 0, 0), Verdict::Passed);
        report.stage("e2e", SECOND, tally(5, 0, 0), Verdict::Passed);
        assert_eq!(last_line(&report), "15 passed, 0 failed");
        assert!(report.is_good());
    }

    #[test]
    fn a_skipped_test_is_named_and_not_counted_as_passed() {
        let mut report = Report::default();
        report.stage("e2e", SECOND, tally(5, 0, 0), Verdict::Passed);
        report.skipped_test("MongoDB authentication: no MONGODB_URI");
        assert!(
            report.to_string().contains("\nSKIPPED: MONGODB AUTHENTICATION: NO MONGODB_URI\n"),
            "{report}"
        );
        assert_eq!(last_line(&report), "4 passed, 0 failed, 1 skipped");
        assert!(report.is_good());
    }

    #[test]
    fn a_reason_keeps_its_file_names() {
        let mut report = Report::default();
        report.left_out("MongoDB", "mongod ended; see target/tools/log", false);
        assert!(
            report.to_string().contains("\nSKIPPED: MONGODB: MONGOD ENDED; SEE target/tools/log\n"),
            "{report}"
        );
    }

    #[test]
    fn an_ignored_test_is_counted_once() {
        let mut report = Report::default();
        report.stage("unit", SECOND, tally(5, 0, 1), Verdict::Passed);
        report.left_out("slow", "ignored", true);
        assert_eq!(last_line(&report), "5 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn a_check_that_fails_or_is_not_run_counts_as_a_failure() {
        let mut report = Report::default();
        report.stage("clippy", SECOND, Tally::default(), Verdict::Failed("why".to_owned()));
        report.stage("e2e", SECOND, Tally::default(), Verdict::NotRun("build failed".to_owned()));
        assert_eq!(last_line(&report), "0 passed, 2 failed");
        assert!(!report.is_good());
    }

    #[test]
    fn a_stage_that_failed_through_its_tests_counts_them_alone() {
        let mut report = Report::default();
        report.stage("unit", SECOND, tally(4, 3, 0), Verdict::Failed("why".to_owned()));
        assert_eq!(last_line(&report), "4 passed, 3 failed");
    }
}
