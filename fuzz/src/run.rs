//! One run of a target.

use std::fmt;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// How much is tried, and from where.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Inputs.
    pub executions: u32,
    /// The same seed makes the same inputs.
    pub seed: u64,
}

/// An input for which something did not hold.
#[derive(Debug)]
pub struct Finding {
    /// What did not hold.
    pub reason: String,
    /// The smallest such input that could be found.
    pub input: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  with {}", self.reason, self.input)
    }
}

/// Tries `check`, which panics when something does not hold, with inputs from `strategy`.
pub(crate) fn run<S: Strategy>(plan: &Plan, strategy: &S, check: impl Fn(S::Value)) -> Result<(), Finding> {
    let config = Config { cases: plan.executions, failure_persistence: None, ..Config::default() };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&plan.seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let outcome = TestRunner::new_with_rng(config, rng).run(strategy, |input| {
        check(input);
        Ok(())
    });
    outcome.map_err(|error| match error {
        TestError::Abort(reason) => Finding { reason: reason.to_string(), input: "no input".into() },
        TestError::Fail(reason, input) => Finding { reason: reason.to_string(), input: format!("{input:?}") },
    })
}
