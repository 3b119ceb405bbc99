//! What became of tests, read from what libtest prints.

use std::fmt;

use super::fault::Test;

/// What became of the tests of a package.
#[derive(Debug)]
pub(super) enum Ran {
    /// There was nothing to run: what was planted does not compile.
    NotBuilt,
    Ended {
        /// Paths of tests, and whether they passed.
        tests: Vec<(String, bool)>,
        /// Those that could not check what they are for, as they name themselves.
        skipped: Vec<String>,
    },
}

/// What became of a test, which may be several: one for each store.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of them failed that ran: so many.
    Failed(usize),
    /// These passed.
    Passed(Vec<String>),
    /// None of them could check what it is for.
    Skipped(usize),
    /// No such test ran to its end, which is no failure of it.
    NotRun,
    /// Nor is this.
    NotBuilt,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(1) => f.write_str("failed"),
            Self::Failed(count) => write!(f, "failed ({count})"),
            Self::Passed(paths) => write!(f, "passed: {}", paths.join(", ")),
            Self::Skipped(_) => f.write_str("skipped: what it needs is not on this machine"),
            Self::NotRun => f.write_str("did not run to its end"),
            Self::NotBuilt => f.write_str("does not compile"),
        }
    }
}

impl Ran {
    /// From the output of libtest, and the list of tests that were skipped.
    pub(super) fn read(output: &str, skips: &str) -> Self {
        let tests = output.lines().filter_map(|line| {
            let (path, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
            match outcome {
                "ok" => Some((path.to_owned(), true)),
                "FAILED" => Some((path.to_owned(), false)),
                _ => None,
            }
        });
        let skipped = skips.lines().filter_map(|line| Some(line.split_once(": ")?.0.to_owned()));
        Self::Ended { tests: tests.collect(), skipped: skipped.collect() }
    }

    pub(super) fn outcome(&self, test: &Test) -> Outcome {
        let Self::Ended { tests, skipped } = self else { return Outcome::NotBuilt };
        let is_skipped = |path: &str| skipped.iter().any(|name| plain(path).ends_with(&plain(name)));
        let own: Vec<&(String, bool)> = tests.iter().filter(|(path, _)| test.is(path)).collect();
        let ran: Vec<&(String, bool)> =
            own.iter().filter(|(path, passed)| !(*passed && is_skipped(path))).copied().collect();
        let passed: Vec<String> =
            ran.iter().filter(|(_, passed)| *passed).map(|(path, _)| path.clone()).collect();
        match (own.len(), ran.len()) {
            (0, _) => Outcome::NotRun,
            (skipped, 0) => Outcome::Skipped(skipped),
            (_, count) if passed.is_empty() => Outcome::Failed(count),
            _ => Outcome::Passed(passed),
        }
    }
}

/// A store is named `RedisCluster` where a test says that it was skipped, and `redis_cluster` by libtest.
fn plain(name: &str) -> String {
    name.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(output: &str, skips: &str) -> Outcome {
        let test = Test { package: "e2e".into(), name: "a_test".into() };
        Ran::read(output, skips).outcome(&test)
    }

    #[test]
    fn a_test_has_failed_if_it_failed_on_every_store_that_there_is() {
        let failed =
            "test m::a_test::sqlite ... FAILED\ntest m::a_test::redis_cluster ... ok\ntest other ... ok\n";
        assert_eq!(outcome(failed, "a_test::RedisCluster: no server\n"), Outcome::Failed(1));
        assert_eq!(outcome(failed, ""), Outcome::Passed(vec!["m::a_test::redis_cluster".into()]));
    }

    #[test]
    fn what_did_not_run_has_not_failed() {
        assert_eq!(outcome("error: could not compile\n", ""), Outcome::NotRun);
        assert_eq!(outcome("test m::a_test has been running for over 60 seconds\n", ""), Outcome::NotRun);
        assert_eq!(outcome("test m::a_test ... ok\n", "a_test: no browser\n"), Outcome::Skipped(1));
        let test = Test { package: "e2e".into(), name: "a_test".into() };
        assert_eq!(Ran::NotBuilt.outcome(&test), Outcome::NotBuilt);
    }
}
