//! A door: how inputs for it are made, what must hold for each, and the two ways to try it.

use std::fmt;
use std::sync::LazyLock;

use proptest::prelude::Rng as _;
use proptest::strategy::{Just, Strategy};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// How much is tried at random, and from where.
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

/// What comes in from outside at one place.
pub trait Door {
    /// Tries inputs made up at random.
    ///
    /// # Errors
    /// The first for which something did not hold.
    fn at_random(&self, plan: &Plan) -> Result<(), Finding>;

    /// Tries the one input that `bytes` stand for: the same bytes are the same input, and most of a small change in
    /// them is a small change in it.
    ///
    /// # Errors
    /// Something did not hold.
    fn with_bytes(&self, bytes: &[u8]) -> Result<(), Finding>;

    /// Bytes to begin with.
    fn seeds(&self) -> Vec<Vec<u8>>;

    /// What is worth being put into bytes.
    fn words(&self) -> &[&'static str];
}

/// The one implementation.
pub(crate) struct Checked<S: Strategy, C> {
    strategy: S,
    check: C,
    raw: Option<Raw<S::Value>>,
    words: Vec<&'static str>,
}

/// Bytes as they are, for what takes text or bytes.
struct Raw<T> {
    read: fn(&[u8]) -> T,
    seeds: &'static [&'static [u8]],
}

/// A door with inputs from `strategy`, and a `check` that panics when something does not hold.
pub(crate) fn door<S: Strategy, C: Fn(S::Value)>(strategy: S, check: C) -> Checked<S, C> {
    Checked { strategy, check, raw: None, words: Vec::new() }
}

impl<S: Strategy, C> Checked<S, C> {
    /// Takes bytes as they are, too, and has some to begin with.
    pub(crate) fn raw(mut self, read: fn(&[u8]) -> S::Value, seeds: &'static [&'static [u8]]) -> Self {
        self.raw = Some(Raw { read, seeds });
        self
    }

    pub(crate) fn words(mut self, words: &[&'static str]) -> Self {
        self.words.extend(words);
        self
    }
}

/// Where a door takes bytes as they are: the first byte of those that the strategy makes an input from.
const FOR_STRATEGY: u8 = 0;

/// Inputs that are recorded to begin with.
const RECORDED: u64 = 100;

/// What the strategy reads after the bytes end: always the same, so that the bytes alone decide. There is more of it than
/// any input takes, for behind it are zeros without end, and a strategy that tries again until a number fits would do so
/// for ever.
static MORE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut more = vec![0; 64 * 1024];
    TestRng::from_seed(RngAlgorithm::ChaCha, &[1; 32]).fill_bytes(&mut more);
    more
});

fn runner(executions: u32, algorithm: RngAlgorithm, seed: &[u8]) -> TestRunner {
    // Left alone it would try to make a failure smaller four times for each of the executions: hardly, or for ever.
    let config = Config {
        cases: executions,
        max_shrink_iters: 10_000,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(algorithm, seed))
}

fn seed_of(number: u64) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    seed
}

fn finding<T: fmt::Debug>(error: TestError<T>) -> Finding {
    match error {
        TestError::Abort(reason) => Finding { reason: reason.to_string(), input: "no input".into() },
        TestError::Fail(reason, input) => Finding { reason: reason.to_string(), input: format!("{input:?}") },
    }
}

impl<S, C> Checked<S, C>
where
    S: Strategy,
    S::Value: Clone,
    C: Fn(S::Value),
{
    fn try_one(&self, strategy: &impl Strategy<Value = S::Value>, bytes: &[u8]) -> Result<(), Finding> {
        let mut runner = runner(1, RngAlgorithm::PassThrough, &[bytes, &MORE].concat());
        let abort = |reason| finding::<S::Value>(TestError::Abort(reason));
        let tree = strategy.new_tree(&mut runner).map_err(abort)?;
        // Zeros may be those of the input, but not so many.
        let mut rest = vec![0; bytes.len() + 16];
        runner.rng().fill_bytes(&mut rest);
        if rest.iter().all(|byte| *byte == 0) {
            return Err(abort("the strategy takes more bytes than there are: see `choice.rs`".into()));
        }
        runner.run_one(tree, |input| self.holds(input)).map_err(finding).map(drop)
    }

    /// A finding is made small by leaving out what it does not need.
    fn try_raw(&self, raw: &Raw<S::Value>, bytes: &[u8]) -> Result<(), Finding> {
        let found = |bytes: &[u8]| self.try_one(&Just((raw.read)(bytes)), &[]).err();
        let Some(mut finding) = found(bytes) else { return Ok(()) };
        let mut bytes = bytes.to_vec();
        let mut size = bytes.len() / 2;
        while size > 0 {
            let mut at = 0;
            while at + size <= bytes.len() {
                let without = [&bytes[..at], &bytes[at + size..]].concat();
                match found(&without) {
                    Some(smaller) => (finding, bytes) = (smaller, without),
                    None => at += size,
                }
            }
            size /= 2;
        }
        Err(finding)
    }

    #[allow(clippy::unnecessary_wraps, reason = "what the runner takes; a panic in it is a failure")]
    fn holds(&self, input: S::Value) -> Result<(), TestCaseError> {
        (self.check)(input);
        Ok(())
    }
}

impl<S, C> Door for Checked<S, C>
where
    S: Strategy,
    S::Value: Clone,
    C: Fn(S::Value),
{
    fn at_random(&self, plan: &Plan) -> Result<(), Finding> {
        let mut runner = runner(plan.executions, RngAlgorithm::ChaCha, &seed_of(plan.seed));
        runner.run(&self.strategy, |input| self.holds(input)).map_err(finding)
    }

    fn with_bytes(&self, bytes: &[u8]) -> Result<(), Finding> {
        let for_strategy = match (&self.raw, bytes) {
            (Some(_), [FOR_STRATEGY, rest @ ..]) => rest,
            (Some(raw), _) => return self.try_raw(raw, bytes),
            (None, _) => bytes,
        };
        self.try_one(&self.strategy, for_strategy)
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds = Vec::new();
        for number in 0..RECORDED {
            let mut runner = runner(1, RngAlgorithm::Recorder, &seed_of(number));
            if self.strategy.new_tree(&mut runner).is_ok() {
                let mut seed = runner.bytes_used();
                if self.raw.is_some() {
                    seed.insert(0, FOR_STRATEGY);
                }
                seeds.push(seed);
            }
        }
        seeds.extend(self.raw.iter().flat_map(|raw| raw.seeds).map(|seed| seed.to_vec()));
        seeds
    }

    fn words(&self) -> &[&'static str] {
        &self.words
    }
}

/// Bytes as text, whatever they are.
pub(crate) fn as_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use proptest::strategy::ValueTree as _;

    use super::*;
    use crate::choice::one_of;

    /// With a choice, which proptest's own would use the bytes up for.
    fn numbers() -> impl Strategy<Value = Vec<u64>> {
        // A range that is no power of two is where zeros would be tried again without end.
        proptest::collection::vec(one_of![0..1_000_000_007_u64, Just(7)], 1..50)
    }

    #[test]
    fn recorded_bytes_stand_for_the_input_they_were_recorded_with() {
        let seen = RefCell::new(Vec::new());
        let door = door(numbers(), |input| seen.borrow_mut().push(input));
        for seed in door.seeds() {
            door.with_bytes(&seed).unwrap();
        }
        let expected: Vec<_> = (0..RECORDED)
            .map(|number| {
                let mut runner = runner(1, RngAlgorithm::ChaCha, &seed_of(number));
                numbers().new_tree(&mut runner).unwrap().current()
            })
            .collect();
        assert_eq!(seen.take(), expected);
    }

    #[test]
    fn bytes_that_end_too_early_are_still_an_input() {
        let seen = RefCell::new(Vec::new());
        let door = door(numbers(), |input| seen.borrow_mut().push(input));
        for length in 0..100 {
            door.with_bytes(&vec![0; length]).unwrap();
            door.with_bytes(&vec![0xff; length]).unwrap();
        }
        assert_eq!(seen.borrow().len(), 200);
    }

    #[test]
    fn bytes_without_the_mark_are_taken_as_they_are() {
        let seen = RefCell::new(Vec::new());
        let door = door("strategy", |input: String| seen.borrow_mut().push(input)).raw(as_text, &[b"seed"]);
        for bytes in [&b"text"[..], b"", b"\0text", b"\xff"] {
            door.with_bytes(bytes).unwrap();
        }
        assert_eq!(seen.take(), ["text", "", "strategy", "\u{fffd}"]);
        assert!(door.seeds().contains(&b"seed".to_vec()));
        assert!(door.seeds().iter().any(|seed| seed[0] == FOR_STRATEGY));
    }

    #[test]
    fn what_bytes_find_is_made_small() {
        let numbers =
            door(numbers(), |input| assert!(input.iter().all(|number| *number < 1_000), "too large"));
        let found = numbers.seeds().iter().find_map(|seed| numbers.with_bytes(seed).err()).unwrap();
        assert!(found.reason.contains("too large"), "{found}");
        assert_eq!(found.input, "[1000]");

        let check = |input: String| assert!(!(input.contains('<') && input.contains('>')), "a pair");
        let found = door("strategy", check).raw(as_text, &[]).with_bytes(b"many > of < these <").unwrap_err();
        assert_eq!(found.input, "\"><\"");
    }
}
