//! A host on a store, whose way to the store is cut or which is killed at a step of an operation.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clock::WallClock;
use crate::cut::{Cut, Moment, Protocol};
use crate::http::{Answer, Client};
use crate::pserve::{Pserve, Site, eventually};
use crate::races::ADMIN_KEY;
use crate::redis::Redis;
use crate::standin::StandIn;
use crate::store::Store;
use crate::strace::Tracer;

/// How often a host is killed at a moment of no choice.
pub(super) const TRIES: usize = 20;
/// What a host does behind an answer is done after so long.
const BEHIND: Duration = Duration::from_millis(100);

/// Where the sessions are.
pub enum Server {
    /// In a file of each host's own.
    Sqlite,
    /// In a Redis of the test's own.
    Redis(Redis),
    /// In a MongoDB stand-in of the test's own.
    MongoDb(StandIn),
}

/// What happens at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// All connections to the store end, and there are no new ones until the operation has been answered.
    Cut,
    /// The host is killed when it sends a command to the store, or when the store has done it, and starts again.
    Kill,
    /// The host is killed when it writes to its file, and when it syncs it, and starts again.
    KillAtWrite,
    /// The host is killed at some moment, and starts again.
    KillAtRandom,
}

/// Where in an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    Command(Moment),
    Call(&'static str),
    Random,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(Moment::Before) => f.write_str("before"),
            Self::Command(Moment::After) => f.write_str("after"),
            Self::Call(call) => f.write_str(call),
            Self::Random => f.write_str("random"),
        }
    }
}

impl Server {
    /// Starts one; `None`, and reported, where it cannot be had.
    ///
    /// # Panics
    /// For stores that are not interrupted here.
    pub fn start(test: &str, store: Store) -> Option<Self> {
        match store {
            Store::Sqlite => Some(Self::Sqlite),
            Store::Redis => Redis::start(test, &[]).map(Self::Redis),
            Store::MongoDb => StandIn::start(test, 0).map(Self::MongoDb),
            Store::Memory | Store::RedisCluster => panic!("{store:?} is not interrupted here"),
        }
    }

    /// What may happen on the way to it.
    pub fn interruptions(&self) -> &'static [Interruption] {
        match self {
            Self::Sqlite => &[Interruption::KillAtWrite, Interruption::KillAtRandom],
            Self::Redis(_) | Self::MongoDb(_) => &[Interruption::Cut, Interruption::Kill],
        }
    }

    fn way(&self) -> Option<Cut> {
        match self {
            Self::Sqlite => None,
            Self::Redis(redis) => Some(Cut::to(Protocol::Redis, redis.port())),
            Self::MongoDb(mongo) => Some(Cut::to(Protocol::MongoDb, mongo.port())),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Redis(_) => "Redis",
            Self::MongoDb(_) => "MongoDB stand-in",
        })
    }
}

impl Interruption {
    pub(super) fn points(self) -> &'static [Point] {
        match self {
            Self::Cut | Self::Kill => &[Point::Command(Moment::Before), Point::Command(Moment::After)],
            Self::KillAtWrite => &[Point::Call("fdatasync"), Point::Call("pwrite64")],
            Self::KillAtRandom => &[Point::Random],
        }
    }

    pub(super) fn is_at_random(self) -> bool {
        self == Self::KillAtRandom
    }
}

/// The host.
pub(super) struct Stand {
    pserve: Option<Pserve>,
    way: Option<Cut>,
    kills: bool,
    clock: WallClock,
    site: Site,
}

impl Stand {
    /// Starts a host with these rules and nothing in its store; `None`, and reported, where a program is missing.
    pub(super) fn start(
        test: &str,
        server: &Server,
        rules: Value,
        interruption: Interruption,
    ) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let site = Site::new();
        let clock = WallClock::new(test, &site.path("clock"), 0)?;
        let way = server.way();
        let mut config = rules;
        config["admin_key"] = json!(ADMIN_KEY);
        if let Some(way) = &way {
            let scheme = if matches!(server, Server::Redis(_)) { "redis" } else { "mongodb" };
            config["server_url"] = json!(format!("{scheme}://127.0.0.1:{}", way.port()));
            config["collection"] = json!(format!("kills-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        }
        site.sessman(&config.to_string());
        let mut stand = Self { pserve: None, way, kills: interruption != Interruption::Cut, clock, site };
        stand.start_again();
        Some(stand)
    }

    fn start_again(&mut self) {
        // One that was killed is gone before the next one starts.
        self.pserve = None;
        let started = self.site.try_start_with(&self.clock.environment());
        self.pserve = Some(started.unwrap_or_else(|log| panic!("pserve did not start:\n{log}")));
        self.is_back();
    }

    /// Starts it again so many seconds later.
    pub(super) fn start_later(&mut self, seconds: i64) {
        self.clock.set(seconds);
        self.start_again();
    }

    fn pserve(&self) -> &Pserve {
        self.pserve.as_ref().expect("it runs")
    }

    pub(super) fn client(&self) -> Client {
        self.pserve().client()
    }

    fn is_back(&self) {
        let client = self.client();
        eventually("service again", || {
            client.post("/sessman/new", json!({ "ttl_seconds": 1 })).status == 201
        });
    }

    /// Asks, and interrupts that at this step: what was answered. `None` where there is no such step.
    pub(super) fn interrupt(
        &mut self,
        point: Point,
        step: usize,
        ask: impl Fn(&Client) -> Option<Answer> + Sync,
    ) -> Option<Option<Answer>> {
        match point {
            Point::Command(moment) => self.cut(step, moment, ask),
            Point::Call(call) => self.kill_at_call(step, call, ask),
            Point::Random => Some(self.kill_at_random(step, ask)),
        }
    }

    fn cut(
        &mut self,
        step: usize,
        moment: Moment,
        ask: impl Fn(&Client) -> Option<Answer> + Sync,
    ) -> Option<Option<Answer>> {
        let client = self.client();
        let way = self.way.as_ref().expect("there is a way to a server");
        // What a host does after its start is no step of the operation.
        way.settle();
        way.arm(step, moment);
        let (is_cut, answer) = thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&client));
            let is_cut = way.wait(|| asked.is_finished());
            if is_cut && self.kills {
                self.pserve.take().expect("it runs").kill_9();
            }
            (is_cut, asked.join().expect("no client panicked"))
        });
        way.mend();
        match self.kills && is_cut {
            true => self.start_again(),
            false => self.is_back(),
        }
        is_cut.then_some(answer)
    }

    fn kill_at_random(
        &mut self,
        step: usize,
        ask: impl Fn(&Client) -> Option<Answer> + Sync,
    ) -> Option<Answer> {
        let client = self.client();
        let answer = thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&client));
            // Over all the time that an operation takes.
            thread::sleep(Duration::from_micros(300 * step as u64));
            self.pserve.take().expect("it runs").kill_9();
            asked.join().expect("no client panicked")
        });
        self.start_again();
        answer
    }

    fn kill_at_call(
        &mut self,
        step: usize,
        call: &str,
        ask: impl Fn(&Client) -> Option<Answer> + Sync,
    ) -> Option<Option<Answer>> {
        let client = self.client();
        let pid = self.pserve().pid();
        let tracer = Tracer::attach(pid, &format!("{call}:signal=SIGKILL:when={step}"), call);
        let answer = ask(&client);
        let asked = Instant::now();
        let pserve = self.pserve.as_mut().expect("it runs");
        while pserve.is_running() && asked.elapsed() < BEHIND {
            thread::sleep(Duration::from_millis(5));
        }
        let is_killed = !pserve.is_running();
        drop(tracer);
        if is_killed {
            self.start_again();
        }
        is_killed.then_some(answer)
    }
}
