//! Rounds: each contestant in turn, several times, so that a machine that is busy for a while is busy for all.

use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::wrk::{self, Measured};

use crate::pin::Cores;
use crate::running::{Kind, Running};

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) duration: Duration,
}

/// One of those that are measured together.
pub(crate) struct Entry<'a> {
    pub(crate) running: &'a Running,
    pub(crate) kind: Kind,
    pub(crate) connections: u32,
}

/// What came out for an entry: medians over the rounds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    pub(crate) rate: f64,
    /// To the first entry in the same round.
    pub(crate) ratio: f64,
    /// Requests for each second of the server's CPU.
    pub(crate) per_cpu: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// p99 to that of the first entry in the same round.
    pub(crate) p99_ratio: f64,
    /// In all rounds.
    pub(crate) errors: u64,
    pub(crate) memory: u64,
}

/// Measures all entries against the first.
pub(crate) fn compare(entries: &[Entry<'_>], effort: Effort, load: Cores) -> Result<Vec<Outcome>> {
    let mut seen: Vec<Vec<(Measured, f64)>> = vec![Vec::new(); entries.len()];
    for _ in 0..effort.rounds {
        for (entry, seen) in entries.iter().zip(&mut seen) {
            let requests = entry.running.requests(entry.kind).context("it cannot be asked for that")?;
            let Entry { running, connections, .. } = entry;
            let before = running.cpu();
            let round = load.during(|| {
                wrk::load(&running.address, &requests, running.ids(), *connections, effort.duration)
            })?;
            let used = running.cpu() - before;
            seen.push((round, round.rate * effort.duration.as_secs_f64() / used.max(0.01)));
        }
    }
    let pattern = seen[0].clone();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let outcome = |(rounds, entry): (&Vec<(Measured, f64)>, &Entry<'_>)| {
        let all = |value: &dyn Fn(usize) -> f64| median((0..rounds.len()).map(value).collect());
        Outcome {
            rate: all(&|round| rounds[round].0.rate),
            ratio: all(&|round| rounds[round].0.rate / pattern[round].0.rate),
            per_cpu: all(&|round| rounds[round].1),
            p50: all(&|round| micros(rounds[round].0.p50)),
            p99: all(&|round| micros(rounds[round].0.p99)),
            p99_ratio: all(&|round| micros(rounds[round].0.p99) / micros(pattern[round].0.p99)),
            errors: rounds.iter().map(|(seen, _)| seen.failed).sum(),
            memory: entry.running.memory(),
        }
    };
    Ok(seen.iter().zip(entries).map(outcome).collect())
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[length / 2],
        length => f64::midpoint(values[length / 2 - 1], values[length / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
