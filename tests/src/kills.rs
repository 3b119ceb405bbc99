//! Operations of more than one write that are cut off, or whose process is killed, at each of their steps. Afterwards
//! nobody is locked out, nobody's session ends for another, limits hold, and what was answered is so. Briefly in the
//! tests, for long in the soak.
//!
//! - `stand`: a host on a store, and how it is interrupted
//! - `operations`: what is interrupted, and what must hold afterwards

mod operations;
mod stand;

use std::collections::BTreeMap;
use std::fmt;

use operations::{Case, Later};
pub use operations::{OPERATIONS, Operation};
use stand::Stand;
pub use stand::{Interruption, Server};

/// Longer than a session must go unused until a login that is refused may take its place.
const GRACE: i64 = 130;
/// More steps than any operation has.
const MOST: usize = 400;

/// What was seen.
#[derive(Debug, Default)]
pub struct Found {
    /// Operations that were interrupted.
    pub interrupted: usize,
    /// Those among them that were answered 2xx all the same.
    pub answered: usize,
    /// Logins that were refused at first, as another session of the user might live.
    pub refused: usize,
    /// What must not be, and how often it was.
    pub faults: BTreeMap<&'static str, usize>,
    /// The first of each kind, in words.
    pub examples: BTreeMap<&'static str, String>,
}

/// Interrupts an operation at each of its steps; `None`, and reported, where something that it takes cannot be had.
///
/// # Panics
/// When the host does not start, or does not serve again.
pub fn run(test: &str, server: &Server, operation: Operation, interruption: Interruption) -> Option<Found> {
    let mut found = Found::default();
    let mut stand = Stand::start(test, server, operation.rules(), interruption)?;
    let mut later: Vec<Later> = Vec::new();
    for &point in interruption.points() {
        for step in 1..MOST {
            let mut case = Case::prepare(operation, &format!("{point}-{step}"), &stand.client());
            let Some(answer) = stand.interrupt(point, step, |client| case.ask(client)) else { break };
            found.interrupted += 1;
            case.answered(answer);
            found.answered += usize::from(case.is_answered());
            later.extend(case.check(&stand.client(), &mut found));
            if interruption.is_at_random() && step == stand::TRIES {
                break;
            }
        }
    }
    found.refused = later.len();
    if !later.is_empty() {
        stand.start_later(GRACE);
        for login in later {
            login.check(&stand.client(), &mut found);
        }
    }
    Some(found)
}

impl Found {
    fn fault(&mut self, kind: &'static str, example: impl FnOnce() -> String) {
        *self.faults.entry(kind).or_default() += 1;
        self.examples.entry(kind).or_insert_with(example);
    }

    /// Whether nothing was as it must not be, and something was interrupted at all.
    pub fn is_good(&self) -> bool {
        self.faults.is_empty() && self.interrupted > 0
    }
}

impl fmt::Display for Found {
    /// Columns of a table: interrupted, answered, refused at first, and what failed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> =
            self.faults.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
        let faults = if faults.is_empty() { "-".to_owned() } else { faults.join(", ") };
        write!(f, "{} | {} | {} | {faults}", self.interrupted, self.answered, self.refused)
    }
}
