//! Which cores a process may use.

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Some cores of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cores {
    /// The first: the server's.
    First,
    /// The second: the load's.
    Second,
    /// Both.
    Both,
}

impl Cores {
    fn set(self) -> CpuSet {
        let mut set = CpuSet::new();
        let cores: &[usize] = match self {
            Self::First => &[0],
            Self::Second => &[1],
            Self::Both => &[0, 1],
        };
        for core in cores {
            set.set(*core);
        }
        set
    }

    /// Runs `start`, whose processes inherit these cores for good.
    pub(crate) fn during<T>(self, start: impl FnOnce() -> T) -> Result<T> {
        let before = sched_getaffinity(None)?;
        sched_setaffinity(None, &self.set()).context("this machine has no two cores to pin to")?;
        let started = start();
        sched_setaffinity(None, &before)?;
        Ok(started)
    }
}
