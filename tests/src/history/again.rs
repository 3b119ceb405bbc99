//! Clients of a handful of ids that they choose themselves: there is one session after the other under each, of one of a few
//! users, who may have so many, and all of whose sessions are ended now and then.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::Instant;

use serde_json::json;

use super::clients::{Random, Recorded, locked, send};
use super::model::own;
use super::users::{self, Limited, Lived, Refused};
use super::{Action, Answered, History, Incarnation, Operation, State, Tag, User, check};
use crate::http::{Answer, Client};
use crate::races::StopOnDrop;

const CLIENTS: usize = 16;
const SLOTS: usize = 6;
const USERS: u64 = 3;
/// Operations on an id until another one takes its place.
const LIFE: usize = 200;

/// How many sessions a user may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// At least so many: a reload may change it meanwhile.
    pub least: usize,
    /// And at most.
    pub most: usize,
    /// Whether one more is refused; otherwise the oldest makes room.
    pub rejects: bool,
}

/// An id, and what happened to it.
struct Slot {
    id: String,
    operations: Mutex<Vec<Operation>>,
    /// The last that were shown, whosever they were.
    tags: Mutex<Vec<(Tag, String)>>,
    /// Where a session may be there for a moment and then be refused, nobody else asks meanwhile: what was answered about
    /// it would have to be told apart.
    gate: RwLock<()>,
    begun: AtomicU64,
}

struct Load<'a> {
    bases: &'a [String],
    limit: Option<Limit>,
    slots: Vec<Mutex<Arc<Slot>>>,
    finished: Mutex<Vec<Arc<Slot>>>,
    /// Logins and ends of users, which concern all ids but the one that a login is about.
    common: Mutex<Vec<(Operation, String)>>,
    refused: Mutex<Vec<Refused>>,
    statuses: Mutex<BTreeMap<String, usize>>,
    strange: Mutex<Vec<String>>,
    started: Instant,
    stop: AtomicBool,
    numbers: AtomicU64,
}

/// Has clients work on ids of their choice at the hosts, `http://host:port`, while `meanwhile` runs; then checks what they
/// saw. Hosts refuse administrators without [`ADMIN_KEY`](crate::races::ADMIN_KEY).
pub(super) fn run(bases: &[String], limit: Option<Limit>, meanwhile: impl FnOnce()) -> Recorded {
    let numbers = AtomicU64::new(1);
    let load = Load {
        bases,
        limit,
        slots: (0..SLOTS).map(|_| Mutex::new(Slot::new(&numbers))).collect(),
        finished: Mutex::default(),
        common: Mutex::default(),
        refused: Mutex::default(),
        statuses: Mutex::default(),
        strange: Mutex::default(),
        started: Instant::now(),
        stop: AtomicBool::new(false),
        numbers,
    };
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let load = &load;
            scope.spawn(move || load.work(number));
        }
        let stop = StopOnDrop(&load.stop);
        meanwhile();
        drop(stop);
    });
    load.judge()
}

impl Slot {
    fn new(numbers: &AtomicU64) -> Arc<Self> {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            // Two runs on one store must not meet.
            id: format!("an-id-that-is-used-again-{}-{number}", std::process::id()),
            operations: Mutex::default(),
            tags: Mutex::default(),
            gate: RwLock::default(),
            begun: AtomicU64::new(0),
        })
    }

    fn push(&self, action: Action, begun: u64, ended: Option<u64>, answered: Option<Answered>) {
        locked(&self.operations).push(Operation { action, id: 0, begun, ended, answered });
    }
}

impl Load<'_> {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn work(&self, number: usize) {
        let mut random = Random::new(1_000 + number as u64);
        let clients: Vec<Client> = self.bases.iter().map(|base| Client::new(base)).collect();
        while !self.stop.load(Ordering::Relaxed) {
            let client = &clients[random.below(clients.len() as u64) as usize];
            let place = &self.slots[random.below(SLOTS as u64) as usize];
            let slot = locked(place).clone();
            if slot.begun.fetch_add(1, Ordering::Relaxed) < LIFE as u64 {
                self.act(&slot, client, &mut random);
                continue;
            }
            let mut current = locked(place);
            if Arc::ptr_eq(&current, &slot) {
                // It must not keep a place of its user's.
                self.ask(&slot, client, Action::End, "");
                *current = Slot::new(&self.numbers);
                locked(&self.finished).push(slot);
            }
        }
    }

    fn act(&self, slot: &Slot, client: &Client, random: &mut Random) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let user = random.below(USERS) as User;
        let tag = {
            let tags = locked(&slot.tags);
            (!tags.is_empty()).then(|| tags[random.below(tags.len() as u64) as usize].clone())
        };
        let (action, tag) = match (random.below(100), tag) {
            (0..30, _) => (Action::Get, String::new()),
            (30..45, _) => {
                let incarnation = Incarnation { number, user: Some(user) };
                (Action::Begin(incarnation, json!({ "of": number })), String::new())
            }
            (45..65, _) => (Action::Merge(format!("m{}", number % 3), json!(number)), String::new()),
            (65..80, Some((tag, text))) => (Action::Replace(json!({ "n": number }), Some(tag)), text),
            (80..85, _) => (Action::Touch, String::new()),
            (85..98, _) => (Action::End, String::new()),
            (98.., _) => (Action::EndUser(user), String::new()),
            _ => (Action::Replace(json!({ "n": number }), None), String::new()),
        };
        self.ask(slot, client, action, &tag);
    }

    fn ask(&self, slot: &Slot, client: &Client, action: Action, tag: &str) {
        let (begun, sent, ended) = {
            let is_alone =
                self.limit.is_some_and(|limit| limit.rejects) && matches!(action, Action::Begin(..));
            let _alone = is_alone.then(|| slot.gate.write().expect("no client panicked"));
            let _together = (!is_alone).then(|| slot.gate.read().expect("no client panicked"));
            (self.now(), send(client, &slot.id, &action, tag), self.now())
        };
        let kind = sent.as_ref().map_or("no answer".to_owned(), |answer| answer.status.to_string());
        *locked(&self.statuses).entry(kind).or_default() += 1;
        if let Action::Begin(Incarnation { user, .. }, _) = &action {
            // Whether it was let in or not, others of its user may have made room for it.
            self.common(Action::GiveWay(*user), &slot.id, begun, None);
        }
        let is_limit = |answer: &Answer| answer.text.contains("max_sessions_per_user");
        let answered = match &sent {
            Ok(answer) => match (answer.status, &action) {
                (409, Action::Merge(..)) => return,
                (409, Action::Begin(Incarnation { user: Some(user), .. }, _)) if is_limit(answer) => {
                    return locked(&self.refused).push(Refused { user: *user, begun, ended });
                }
                (409, Action::Begin(..)) => Some(Answered::Exists),
                (200, Action::EndUser(_)) => return self.common(action, "", begun, Some(ended)),
                (200, Action::End) => Some(Answered::Ended),
                (200 | 201, _) => Some(slot.shown(answer)),
                (404, _) => Some(Answered::Missing),
                (412, Action::Replace(_, Some(_))) => Some(Answered::Changed),
                (503, _) if answer.header("retry-after").is_some() => None,
                _ => {
                    locked(&self.strange).push(format!("{action:?}: {answer:?}"));
                    None
                }
            },
            Err(_) => None,
        };
        match (&answered, &action) {
            (None, Action::Get | Action::Touch) => {}
            (None, Action::EndUser(_)) => self.common(action, "", begun, None),
            _ => slot.push(action, begun, answered.is_some().then_some(ended), answered),
        }
    }

    fn common(&self, action: Action, except: &str, begun: u64, ended: Option<u64>) {
        let answered = ended.is_some().then_some(Answered::Done);
        locked(&self.common).push((Operation { action, id: 0, begun, ended, answered }, except.to_owned()));
    }

    fn judge(self) -> Recorded {
        let mut slots = locked(&self.finished).clone();
        slots.extend(self.slots.iter().map(|slot| locked(slot).clone()));
        let mut recorded = Recorded {
            sessions: 0,
            operations: 0,
            unsure: 0,
            answers: locked(&self.statuses).clone(),
            violations: locked(&self.strange).clone(),
        };
        let common = locked(&self.common).clone();
        let mut limited = Limited { lived: Vec::new(), refused: locked(&self.refused).clone() };
        for slot in slots {
            let mut operations = locked(&slot.operations).clone();
            recorded.sessions += operations.iter().filter(|operation| is_begun(operation)).count();
            recorded.operations += operations.len();
            recorded.unsure += operations.iter().filter(|operation| operation.answered.is_none()).count();
            let first = operations.iter().map(|operation| operation.begun).min().unwrap_or(0);
            let last = operations.iter().map(|operation| operation.ended.unwrap_or(operation.begun)).max();
            // What ended before this id was used, or came after, is nothing to it.
            let meets = |(other, except): &&(Operation, String)| {
                let is_possible = self.limit.is_some() || !matches!(other.action, Action::GiveWay(_));
                let is_then =
                    other.begun <= last.unwrap_or(0) && other.ended.is_none_or(|ended| ended >= first);
                is_possible && is_then && *except != slot.id
            };
            limited.lived.extend(lives(&operations, &common));
            operations.extend(common.iter().filter(meets).map(|(other, _)| other.clone()));
            recorded.violations.extend(check(&History { start: State::none(), operations }).err());
        }
        if let Some(Limit { least, most, .. }) = self.limit {
            recorded.violations.extend(users::check(&limited, least, most));
        }
        recorded
    }
}

impl Slot {
    fn shown(&self, answer: &Answer) -> Answered {
        const TAGS: usize = 4;
        let mut shown = answer.json();
        let version = shown["version"].as_u64().unwrap_or(0);
        let incarnation = shown["metadata"]["incarnation"].as_u64().unwrap_or(0);
        if let Some(tag) = answer.header("etag") {
            let mut tags = locked(&self.tags);
            tags.push((Tag { incarnation, version }, tag.to_owned()));
            let surplus = tags.len().saturating_sub(TAGS);
            tags.drain(..surplus);
        }
        Answered::Session { incarnation, version, data: shown["data"].take(), own: own(&mut shown) }
    }
}

fn is_begun(operation: &Operation) -> bool {
    matches!((&operation.action, &operation.answered), (Action::Begin(..), Some(Answered::Session { .. })))
}

/// The sessions that there were under an id.
fn lives<'a>(
    operations: &'a [Operation],
    common: &'a [(Operation, String)],
) -> impl Iterator<Item = Lived> + use<'a> {
    operations.iter().filter_map(move |operation| {
        let Action::Begin(Incarnation { number, user: Some(user) }, _) = operation.action else { return None };
        let answered = match (&operation.answered, operation.ended) {
            (Some(Answered::Session { .. }), Some(ended)) => ended,
            (Some(_), _) => return None,
            // It may begin at any time, or never.
            (None, _) => {
                return Some(Lived { user, asked: operation.begun, answered: u64::MAX, seen: 0, gone: u64::MAX });
            }
        };
        let is_it = |other: &&Operation| {
            matches!(other.answered, Some(Answered::Session { incarnation, .. }) if incarnation == number)
        };
        let seen = operations.iter().filter(is_it).map(|other| other.begun).max().unwrap_or(0);
        let later = || operations.iter().filter(move |other| other.begun >= answered);
        let is_gone = |other: &&Operation| match other.answered {
            Some(Answered::Ended | Answered::Missing) => true,
            Some(Answered::Session { incarnation, .. }) => incarnation != number,
            _ => false,
        };
        let ends = common
            .iter()
            .map(|(other, _)| other)
            .filter(|other| other.begun >= answered && other.action == Action::EndUser(user))
            .filter_map(|other| other.ended);
        let gone = later().filter(is_gone).filter_map(|other| other.ended).chain(ends).min();
        Some(Lived { user, asked: operation.begun, answered, seen, gone: gone.unwrap_or(u64::MAX) })
    })
}
