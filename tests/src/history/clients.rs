//! Many clients of a handful of sessions, and what each of them saw.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::model::own;
use super::{Action, Answered, History, Incarnation, Operation, State, Tag, User, check};
use crate::http::{Answer, Client};
use crate::races::{ADMIN_KEY, StopOnDrop};

/// Operations on a session until another one takes its place: enough that all clients meet in it for a while.
const LIFE: usize = 150;
/// And requests whose fate is unknown: each of them doubles what may have happened.
const UNSURE: usize = 12;

/// Where the service is; that may change while clients are at work.
#[derive(Default)]
pub struct Hosts(RwLock<Vec<String>>);

impl Hosts {
    /// The service is at these addresses, `host:port`, from now on.
    ///
    /// # Panics
    /// When a client panicked.
    pub fn set(&self, addresses: &[&str]) {
        let bases = addresses.iter().map(|address| format!("http://{address}"));
        *self.0.write().expect("no client panicked") = bases.collect();
    }

    fn pick(&self, random: &mut Random) -> String {
        let bases = self.0.read().expect("no client panicked");
        bases[random.below(bases.len() as u64) as usize].clone()
    }
}

/// Clients at work.
pub struct Load {
    hosts: Hosts,
    slots: Vec<Mutex<Arc<Session>>>,
    finished: Mutex<Vec<Arc<Session>>>,
    statuses: Mutex<BTreeMap<String, usize>>,
    strange: Mutex<Vec<String>>,
    started: Instant,
    stop: AtomicBool,
    next_seed: AtomicU64,
}

/// A session and what happened to it.
struct Session {
    start: State,
    ids: Mutex<Vec<String>>,
    /// The entity tag of the highest version that was shown.
    tag: Mutex<(u64, String)>,
    operations: Mutex<Vec<Operation>>,
    begun: AtomicU64,
    unsure: AtomicU64,
    numbers: AtomicU64,
}

/// What was recorded, and what came of it.
#[derive(Debug)]
pub struct Recorded {
    /// Sessions that were worked on.
    pub sessions: usize,
    /// Requests about them that were recorded.
    pub operations: usize,
    /// Those among them whose fate is unknown.
    pub unsure: usize,
    /// How often each kind of answer came.
    pub answers: BTreeMap<String, usize>,
    /// Histories that no order explains, and answers that are none of those that there are.
    pub violations: Vec<String>,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no client panicked")
}

impl Load {
    /// Has so many clients work on so many sessions of the service at `addresses`, while `meanwhile` runs; then checks
    /// what they saw.
    ///
    /// # Panics
    /// When `meanwhile` does.
    pub fn run(
        addresses: &[&str],
        clients: u64,
        sessions: usize,
        meanwhile: impl FnOnce(&Hosts),
    ) -> Recorded {
        let hosts = Hosts::default();
        hosts.set(addresses);
        let load = Self {
            hosts,
            slots: (0..sessions).map(|_| Mutex::new(Session::none())).collect(),
            finished: Mutex::default(),
            statuses: Mutex::default(),
            strange: Mutex::default(),
            started: Instant::now(),
            stop: AtomicBool::new(false),
            next_seed: AtomicU64::new(1),
        };
        thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| load.work());
            }
            let stop = StopOnDrop(&load.stop);
            meanwhile(&load.hosts);
            drop(stop);
        });
        load.judge()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn work(&self) {
        let mut random = Random::new(self.next_seed.fetch_add(1, Ordering::Relaxed));
        let mut clients: HashMap<String, Client> = HashMap::new();
        while !self.stop.load(Ordering::Relaxed) {
            let base = self.hosts.pick(&mut random);
            let client = clients.entry(base).or_insert_with_key(|base| Client::new(base));
            let slot = &self.slots[random.below(self.slots.len() as u64) as usize];
            let session = locked(slot).clone();
            if session.begun.fetch_add(1, Ordering::Relaxed) >= LIFE as u64
                || session.unsure.load(Ordering::Relaxed) >= UNSURE as u64
            {
                self.replace(slot, client);
            } else {
                self.act(&session, client, &mut random);
            }
        }
    }

    /// Puts a new session into the slot; the others wait for it, as they would have nothing else to do.
    fn replace(&self, slot: &Mutex<Arc<Session>>, client: &Client) {
        let mut session = locked(slot);
        let is_over = session.begun.load(Ordering::Relaxed) >= LIFE as u64
            || session.unsure.load(Ordering::Relaxed) >= UNSURE as u64;
        if !is_over {
            return;
        }
        match client.try_send("POST", "/sessman/new", r#"{"data":{}}"#) {
            Ok(answer) if answer.status == 201 => {
                let old = std::mem::replace(&mut *session, Session::begin(&answer.member("session_id")));
                locked(&self.finished).push(old);
            }
            other => {
                self.judge_away("POST /sessman/new", other.as_ref());
                drop(session);
                thread::sleep(Duration::from_millis(50));
            }
        }
    }

    fn act(&self, session: &Session, client: &Client, random: &mut Random) {
        let (id, text) = session.pick_id(random);
        let (mut action, tag) = session.pick_action(random);
        let begun = self.now();
        let sent = send(client, &text, &action, &tag);
        let ended = self.now();
        let kind = match &sent {
            Ok(answer) => answer.status.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        *locked(&self.statuses).entry(kind).or_default() += 1;
        let answered = match &sent {
            Ok(answer) => match (answer.status, &action) {
                (200, Action::End) => Some(Answered::Ended),
                (200, _) => Some(session.shown(answer, &mut action)),
                (404, _) => Some(Answered::Missing),
                (412, Action::Replace(_, Some(_))) => Some(Answered::Changed),
                // Others were quicker, 64 times: nothing was written.
                (409, Action::Merge(..) | Action::Amend { .. }) => return,
                _ => {
                    self.judge_away(&format!("{action:?}"), sent.as_ref());
                    None
                }
            },
            Err(ureq::Error::Io(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                // It was never sent.
                thread::sleep(Duration::from_millis(20));
                return;
            }
            Err(_) => None,
        };
        if answered.is_none() {
            if action == Action::Get || action == Action::Touch {
                return;
            }
            session.unsure.fetch_add(1, Ordering::Relaxed);
        }
        let ended = answered.is_some().then_some(ended);
        locked(&session.operations).push(Operation { action, id, begun, ended, answered });
    }

    /// An answer that tells nothing must be a 503 that says when to come again.
    fn judge_away(&self, what: &str, sent: Result<&Answer, &ureq::Error>) {
        if let Ok(answer) = sent
            && (answer.status != 503 || answer.header("retry-after").is_none())
        {
            locked(&self.strange).push(format!("{what}: {answer:?}"));
        }
    }

    fn judge(self) -> Recorded {
        let mut sessions = locked(&self.finished).clone();
        sessions.extend(self.slots.iter().map(|slot| locked(slot).clone()));
        let mut recorded = Recorded {
            sessions: 0,
            operations: 0,
            unsure: 0,
            answers: locked(&self.statuses).clone(),
            violations: locked(&self.strange).clone(),
        };
        for session in sessions {
            let operations = locked(&session.operations).clone();
            recorded.sessions += usize::from(!operations.is_empty());
            recorded.operations += operations.len();
            recorded.unsure += operations.iter().filter(|operation| operation.answered.is_none()).count();
            let history = History { start: session.start.clone(), operations };
            recorded.violations.extend(check(&history).err());
        }
        recorded
    }
}

impl Session {
    /// In the place of one that is to be made.
    fn none() -> Arc<Self> {
        let session = Self::begin("");
        session.begun.store(LIFE as u64, Ordering::Relaxed);
        session
    }

    fn begin(id: &str) -> Arc<Self> {
        Arc::new(Self {
            start: State::new(),
            ids: Mutex::new(vec![id.to_owned()]),
            tag: Mutex::default(),
            operations: Mutex::default(),
            begun: AtomicU64::new(0),
            unsure: AtomicU64::new(0),
            numbers: AtomicU64::new(1),
        })
    }

    /// Most often the newest id; now and then an old one, which must open nothing.
    fn pick_id(&self, random: &mut Random) -> (usize, String) {
        let ids = locked(&self.ids);
        let newest = ids.len() - 1;
        let id = if random.below(10) == 0 { random.below(ids.len() as u64) as usize } else { newest };
        (id, ids[id].clone())
    }

    /// What is asked for, and the entity tag that goes with it.
    fn pick_action(&self, random: &mut Random) -> (Action, String) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (version, tag) = locked(&self.tag).clone();
        let action = match random.below(100) {
            0..40 => Action::Get,
            40..45 => Action::Touch,
            60..74 if version > 0 => {
                Action::Replace(json!({ "n": number }), Some(Tag { incarnation: 0, version }))
            }
            45..74 => Action::Replace(json!({ "n": number }), None),
            74..80 => Action::Amend {
                label: format!("l{}", number % 3),
                value: (!number.is_multiple_of(4)).then(|| format!("v{number}")),
                persistent: (number % 5 < 2).then_some(number.is_multiple_of(5)),
            },
            80..95 => Action::Merge(format!("m{}", number % 4), json!(number)),
            // Which id it is shows when it is answered; otherwise nobody knows it.
            95..99 => Action::Rotate(usize::MAX),
            // Late, so that there is something to end.
            _ if number > LIFE as u64 / 2 => Action::End,
            _ => Action::Get,
        };
        (action, tag)
    }

    fn shown(&self, answer: &Answer, action: &mut Action) -> Answered {
        let mut shown = answer.json();
        let version = shown["version"].as_u64().unwrap_or(0);
        if let Some(tag) = answer.header("etag") {
            let mut known = locked(&self.tag);
            if known.0 < version {
                *known = (version, tag.to_owned());
            }
        }
        if let Action::Rotate(id) = action {
            let mut ids = locked(&self.ids);
            *id = ids.len();
            ids.push(answer.member("session_id"));
        }
        Answered::Session { incarnation: 0, version, data: shown["data"].take(), own: own(&mut shown) }
    }
}

pub(super) fn send(client: &Client, id: &str, action: &Action, tag: &str) -> Result<Answer, ureq::Error> {
    let (plain, client) = (client, client.with("X-Session-Id", id));
    let data = |data: &Value| json!({ "data": data }).to_string();
    match action {
        Action::Get => client.try_send("GET", "/sessman/get", ""),
        Action::Touch => client.try_send("POST", "/sessman/touch", ""),
        Action::Replace(value, None) => client.try_send("POST", "/sessman/update", &data(value)),
        Action::Replace(value, Some(_)) => {
            client.with("If-Match", tag).try_send("POST", "/sessman/update", &data(value))
        }
        Action::Merge(name, value) => {
            client.try_send("PATCH", "/sessman/update", &json!({ name: value }).to_string())
        }
        Action::Amend { label, value, persistent } => {
            let mut body = json!({ "labels": { label: value } });
            if let Some(persistent) = persistent {
                body["persistent"] = json!(persistent);
                body["ttl_seconds"] = json!(if *persistent { 90_000 } else { 80_000 });
            }
            client.try_send("POST", "/sessman/touch", &body.to_string())
        }
        Action::Rotate(_) => client.try_send("POST", "/sessman/rotate", ""),
        Action::End => client.try_send("POST", "/sessman/end", ""),
        Action::Begin(Incarnation { number, user }, data) => {
            let user = user.map(user_id);
            let metadata = json!({ "incarnation": number });
            let body = json!({ "external_id": id, "user_id": user, "data": data, "metadata": metadata });
            plain.try_send("POST", "/sessman/new", &body.to_string())
        }
        Action::EndUser(user) => {
            let admin = plain.with("X-Admin-Key", ADMIN_KEY);
            admin.try_send("POST", "/sessman/end-user", &json!({ "user_id": user_id(*user) }).to_string())
        }
        Action::GiveWay(_) => unreachable!("nobody asks for it"),
    }
}

fn user_id(user: User) -> String {
    format!("user-{user}")
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers: Vec<String> =
            self.answers.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
        write!(
            f,
            "{} sessions, {} operations, {} of them unsure; answers: {}; violations: {}",
            self.sessions,
            self.operations,
            self.unsure,
            answers.join(", "),
            self.violations.len()
        )
    }
}

/// SplitMix64: numbers for tests, the same for the same seed.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}
