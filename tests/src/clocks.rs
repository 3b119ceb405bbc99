//! Nodes on one store whose clocks differ: limits must be exact, sessions end when their node promised, and what was
//! answered is there. Briefly in the tests, for long in the soak.
//!
//! - `nodes`: hosts with clocks of their own, and an instance for each rule
//! - `limits`: many logins of one user at once, and one after the other
//! - `promises`: sessions that end when it was said, by the clock of the node that began them

mod limits;
mod nodes;
mod promises;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use nodes::{Nodes, RULES};

use crate::races::StopOnDrop;
use crate::store::Store;

/// How far behind its server's a node may be where the server removes what is past its time: a minute is added to it.
const REMOVAL: i64 = 60;

/// Clocks, and how long to try.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Where the sessions are.
    pub store: Store,
    /// A node each, so many seconds ahead.
    pub offsets: Vec<i64>,
    /// Where the files of each are; those that are tested where nothing is said.
    pub builds: Vec<PathBuf>,
    /// Where the clock of the last node is set to amid the rounds.
    pub step: Option<i64>,
    /// Rounds for each rule; with a step, so many before it and so many after it at least.
    pub rounds: usize,
    /// How long the rounds after a step go on: a clock that follows takes its time.
    pub after_step: Duration,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Found {
    /// Rounds of logins at once.
    pub rounds: usize,
    /// Logins that were answered 201.
    pub logins: usize,
    /// Answers 503 where the server's clock is too far ahead for a session to be kept.
    pub away: usize,
    /// What must not be, and how often it was.
    pub faults: BTreeMap<&'static str, usize>,
    /// The first of each kind, in words.
    pub examples: BTreeMap<&'static str, String>,
}

/// What was seen, of all that are at work.
struct Log {
    found: Mutex<Found>,
    may_be_away: bool,
}

impl Setting {
    /// Nodes of these offsets on a store, for so many rounds.
    pub fn new(store: Store, offsets: &[i64], rounds: usize) -> Self {
        Self {
            store,
            offsets: offsets.to_vec(),
            builds: Vec::new(),
            step: None,
            rounds,
            after_step: Duration::from_secs(12),
        }
    }

    /// Whether a node may say that the store cannot keep its sessions: they would be past their time there.
    fn may_be_away(&self) -> bool {
        self.store == Store::Redis && self.offsets.iter().chain(&self.step).any(|offset| *offset <= -REMOVAL)
    }

    /// Tries it; `None`, and reported, where something that it needs cannot be had.
    ///
    /// # Panics
    /// When a host does not start.
    pub fn run(&self, test: &str) -> Option<Found> {
        let config = self.store.config(test)?;
        let nodes = Nodes::start(test, &config, self)?;
        let log = Log { found: Mutex::default(), may_be_away: self.may_be_away() };
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            // The others end also when one panics.
            let stop = StopOnDrop(&stop);
            scope.spawn(|| nodes.clean_up_until(stop.0));
            let promises: Vec<_> = (0..self.offsets.len())
                .flat_map(|node| promises::INSTANCES.map(|instance| (node, instance)))
                .map(|(node, instance)| {
                    let (nodes, log) = (&nodes, &log);
                    scope.spawn(move || promises::keep(nodes, node, instance, log))
                })
                .collect();
            self.rounds(&nodes, &log);
            for promise in promises {
                promise.join().expect("no client panicked");
            }
        });
        Some(log.found.into_inner().expect("no client panicked"))
    }

    fn rounds(&self, nodes: &Nodes, log: &Log) {
        let hour = promises::begin_hour(nodes, log);
        let mut round = 0;
        let mut some = |until: Instant| {
            let begun = round;
            while round < begun + self.rounds || Instant::now() < until {
                for rule in RULES {
                    limits::round(nodes, rule, round, log);
                }
                round += 1;
            }
        };
        some(Instant::now());
        if let Some(step) = self.step {
            nodes.set_last(step);
            some(Instant::now() + self.after_step);
        }
        for rule in RULES {
            limits::one_by_one(nodes, rule, log);
        }
        promises::end_hour(nodes, &hour, log);
    }
}

impl Log {
    fn with(&self, act: impl FnOnce(&mut Found)) {
        act(&mut self.found.lock().expect("no client panicked"));
    }

    fn fault(&self, kind: &'static str, example: impl FnOnce() -> String) {
        self.with(|found| {
            *found.faults.entry(kind).or_default() += 1;
            found.examples.entry(kind).or_insert_with(example);
        });
    }

    /// An answer other than those that a login may get.
    fn unexpected(&self, status: u16, what: &str) {
        match status {
            503 if self.may_be_away => self.with(|found| found.away += 1),
            _ => self.fault("other answers", || format!("{what}: {status}")),
        }
    }
}

impl Found {
    /// Whether nothing was as it must not be, and something was seen at all.
    pub fn is_good(&self) -> bool {
        self.faults.is_empty() && (self.logins > 0 || self.away > 0)
    }
}

impl fmt::Display for Found {
    /// Columns of a table: rounds, logins, 503, and what failed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> =
            self.faults.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
        let faults = if faults.is_empty() { "-".to_owned() } else { faults.join(", ") };
        write!(f, "{} | {} | {} | {faults}", self.rounds, self.logins, self.away)
    }
}
