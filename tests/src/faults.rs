//! What clients are answered while something is wrong with a store, and whether what was answered is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{Answer, Client};
use crate::pserve::Pserve;

/// Clients at a time, none of which pauses.
const CLIENTS: usize = 16;
/// Sessions of each.
const SESSIONS: usize = 20;
/// Within this time the service is whole again after a fault.
pub const BACK: Duration = Duration::from_secs(15);
/// Two seconds are promised for an answer; the rest is for a machine that does other things too.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// The host that clients ask; `None` while it is away itself.
pub type Host = RwLock<Option<Pserve>>;

/// A session, as the client knows it that has it to itself.
struct Known {
    id: String,
    /// Of the last write that was answered.
    answered: u64,
    /// Writes after that whose fate is unknown.
    unsure: Vec<u64>,
}

/// What clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Requests that were sent.
    pub requests: usize,
    /// Answers 2xx.
    pub good: usize,
    /// Answers 503 that say when to come again.
    pub away: usize,
    /// Connections that ended without an answer.
    pub unanswered: usize,
    /// Answers that must not be, how often each came.
    pub others: BTreeMap<String, usize>,
    /// The longest time to an answer.
    pub longest: Duration,
    /// Sessions whose last answered write is not there afterwards.
    pub lost: usize,
    /// After the end of the fault, until the last request that was not served.
    pub back: Duration,
    /// What the host held in memory before and after, in KiB.
    pub memory: [u64; 2],
}

/// Requests that were not served: when they ended.
#[derive(Default)]
struct Log {
    seen: Seen,
    last_bad: Option<Instant>,
}

/// Has clients write and read all the time, from `before` the fault until `after` it.
///
/// # Panics
/// When the host is away before or after the fault.
pub fn under_load(host: &Host, before: Duration, fault: impl FnOnce(), after: Duration) -> Seen {
    let memory = || host.read().expect("no client panicked").as_ref().expect("it runs").memory_kib();
    let stop = AtomicBool::new(false);
    let (mut seen, known, ended, last_bad) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| work(host, &stop))).collect();
        thread::sleep(before);
        let at_first = memory();
        fault();
        let ended = Instant::now();
        thread::sleep(after);
        stop.store(true, Ordering::Relaxed);
        let mut all = Seen { memory: [at_first, memory()], ..Seen::default() };
        let (mut known, mut last_bad) = (Vec::new(), None);
        for client in clients {
            let (log, sessions) = client.join().expect("no client panicked");
            all.add(log.seen);
            known.extend(sessions);
            last_bad = last_bad.max(log.last_bad);
        }
        (all, known, ended, last_bad)
    });
    seen.back = last_bad.map_or(Duration::ZERO, |bad| bad.saturating_duration_since(ended));
    let client = host.read().expect("no client panicked").as_ref().expect("it runs").client();
    seen.lost = known.iter().filter(|session| !session.is_kept(&client)).count();
    seen
}

fn work(host: &Host, stop: &AtomicBool) -> (Log, Vec<Known>) {
    let (mut log, mut known) = (Log::default(), Vec::<Known>::new());
    let mut current: Option<(String, Client)> = None;
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let address = host.read().expect("no client panicked").as_ref().map(|host| host.address().to_owned());
        let Some(address) = address else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        if current.as_ref().is_none_or(|(known, _)| *known != address) {
            current = Some((address.clone(), Client::new(&format!("http://{address}"))));
        }
        let Some((_, client)) = &current else { continue };
        number += 1;
        if known.len() < SESSIONS {
            let begun = log.ask(client, "/sessman/new", json!({ "data": number }));
            if let Some(answer) = begun {
                known.push(Known { id: answer.member("session_id"), answered: number, unsure: Vec::new() });
            }
        } else {
            let place = number as usize % SESSIONS;
            known[place].change_and_read(client, number, &mut log);
        }
    }
    (log, known)
}

impl Known {
    fn change_and_read(&mut self, client: &Client, number: u64, log: &mut Log) {
        let update = log.ask(client, "/sessman/update", json!({ "token": self.id, "data": number }));
        match update {
            Some(_) => {
                self.answered = number;
                self.unsure.clear();
            }
            None => self.unsure.push(number),
        }
        if let Some(read) = log.ask(client, "/sessman/get", json!({ "token": self.id }))
            && !self.may_be(&read)
        {
            let what = format!("wrong data after {}: {}", self.answered, read.json()["data"]);
            *log.seen.others.entry(what).or_default() += 1;
        }
    }

    fn may_be(&self, read: &Answer) -> bool {
        let data = read.json()["data"].as_u64();
        data == Some(self.answered) || self.unsure.iter().any(|unsure| data == Some(*unsure))
    }

    fn is_kept(&self, client: &Client) -> bool {
        let read = client.post("/sessman/get", json!({ "token": self.id }));
        read.status == 200 && self.may_be(&read)
    }
}

impl Log {
    /// The answer, if it is a good one.
    fn ask(&mut self, client: &Client, path: &str, body: Value) -> Option<Answer> {
        let begun = Instant::now();
        let sent = client.try_send("POST", path, &body.to_string());
        self.seen.requests += 1;
        self.seen.longest = self.seen.longest.max(begun.elapsed());
        match sent {
            Ok(answer) if matches!(answer.status, 200 | 201) => {
                self.seen.good += 1;
                return Some(answer);
            }
            Ok(answer) if answer.status == 503 && answer.header("retry-after").is_some() => {
                self.seen.away += 1
            }
            Ok(answer) => {
                *self.seen.others.entry(format!("{path}: {}", answer.status)).or_default() += 1;
                if answer.status == 404 {
                    // It is served again, by a store that has lost the session.
                    return None;
                }
            }
            Err(_) => self.seen.unanswered += 1,
        }
        self.last_bad = Some(Instant::now());
        None
    }
}

impl Seen {
    fn add(&mut self, more: Self) {
        self.requests += more.requests;
        self.good += more.good;
        self.away += more.away;
        self.unanswered += more.unanswered;
        self.longest = self.longest.max(more.longest);
        for (what, count) in more.others {
            *self.others.entry(what).or_default() += count;
        }
    }

    /// Whether nothing but right answers and 503 in time came, and the service came back.
    pub fn is_good(&self) -> bool {
        self.others.is_empty() && self.lost == 0 && self.longest < DEADLINE && self.back < BACK
    }
}

impl fmt::Display for Seen {
    /// A row of a table: requests, 2xx, 503, no answer, others, longest, lost, back, memory.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others: usize = self.others.values().sum();
        let [before, after] = self.memory.map(|kib| kib as f64 / 1024.0);
        write!(
            f,
            "{} | {} | {} | {} | {others} | {:.1} s | {} | {:.1} s | {before:.0} → {after:.0} MiB",
            self.requests,
            self.good,
            self.away,
            self.unanswered,
            self.longest.as_secs_f64(),
            self.lost,
            self.back.as_secs_f64(),
        )
    }
}
