//! For tests: what a routine costs on an input of twice the size.
//!
//! A client decides how large its input is, so a routine that reads it may cost twice as much for twice the bytes, but not
//! four times. What counts is the processor time of this thread: what else the machine does is not in it.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Runs of each size; the quickest counts, as nothing makes a routine quicker than it is.
const RUNS: usize = 5;
/// How often there are more runs where it seems too slow: caches are shared with everything else on the machine.
const ATTEMPTS: usize = 4;
/// What twice the input may cost: between 2, for what grows as its input, and 4, for what grows as its square.
const MOST: f64 = 3.0;
/// What takes no longer on the largest input need not be looked at.
const LEAST: Duration = Duration::from_micros(50);
/// What takes so long is measured once.
const ENOUGH: Duration = Duration::from_secs(2);

/// Measures `routine` on inputs of `size` and of four times that: two doublings, so that chance cannot make up for one.
/// Four times `size` should be the most that a client may send.
///
/// # Panics
/// If twice the input takes more than three times the processor time.
#[track_caller]
pub fn assert_linear<I, O>(
    what: &str,
    size: usize,
    input: impl Fn(usize) -> I,
    mut routine: impl FnMut(&I) -> O,
) {
    let (small, large) = (input(size), input(4 * size));
    let (mut one, mut four) = (Duration::MAX, Duration::MAX);
    for _ in 0..ATTEMPTS {
        for _ in 0..RUNS {
            one = one.min(cost(|| routine(&small)));
            four = four.min(cost(|| routine(&large)));
            if four >= ENOUGH {
                break;
            }
        }
        if four <= LEAST || doubling(one, four) <= MOST {
            return;
        }
        if four >= ENOUGH {
            break;
        }
    }
    let times = doubling(one, four);
    panic!(
        "{what}: twice the input costs {times:.1} times as much ({one:?} for {size}, {four:?} for {})",
        4 * size
    );
}

/// What one of two doublings costs.
fn doubling(one: Duration, four: Duration) -> f64 {
    (four.as_secs_f64() / one.as_secs_f64()).sqrt()
}

/// The processor time that this thread takes for `work`.
pub fn cost<O>(work: impl FnOnce() -> O) -> Duration {
    let before = processor_time();
    black_box(work());
    processor_time().saturating_sub(before)
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // It counts from zero on.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_as_its_input_passes() {
        assert_linear(
            "a sum",
            200_000,
            |size| vec![1_u64; size],
            |items| items.iter().map(|item| black_box(*item)).sum::<u64>(),
        );
    }

    #[test]
    #[should_panic(expected = "twice the input costs")]
    fn what_grows_as_the_square_of_its_input_does_not() {
        let pairs = |items: &Vec<u64>| -> u64 {
            items.iter().flat_map(|one| items.iter().map(move |other| black_box(one ^ other))).sum()
        };
        assert_linear("all pairs", 500, |size| (0..size as u64).collect(), pairs);
    }
}
