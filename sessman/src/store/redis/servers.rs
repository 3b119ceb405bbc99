//! The servers together: which of them has a key, and what to do when it has it no more.
//!
//! One server has all keys. Members of a cluster have a part each, and each of them knows who has the rest: the first
//! that answers is asked, and whoever does not have a key (any more) says who has.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, Value};
use tokio::time::{Instant, sleep};

use super::settings::Settings;
use super::failure::{Refusal, Trouble};
use super::link::{Knowledge, Link};
use super::reply::Answer;
use super::scripts::Step;
use super::server_url::Address;
use super::slots::Slots;
use crate::metrics::head;

/// A call that has no answer by then has failed. Below the two seconds that the engine waits, so that a call ends with
/// the reason.
pub(super) const CALL_LIMIT: Duration = Duration::from_millis(1_800);

/// Whoever asks whether servers are there waits less: those who probe a host give it a second.
const PING_LIMIT: Duration = Duration::from_millis(900);

/// A call that was sent on more often goes round in circles.
const REDIRECTIONS: usize = 5;

/// Between two looks at the cluster.
const PAUSE: Duration = Duration::from_millis(200);

/// Servers of one `server_url`.
pub(super) struct Servers {
    settings: Arc<Settings>,
    knowledge: Arc<Knowledge>,
    links: Mutex<HashMap<Address, Arc<Link>>>,
    /// `None` until one of them has answered.
    layout: RwLock<Option<Arc<Layout>>>,
    /// Held by the one that asks first.
    finding: tokio::sync::Mutex<()>,
    is_looking: AtomicBool,
    closed: AtomicBool,
}

/// Who has which keys.
enum Layout {
    Single(Arc<Link>),
    Cluster(Slots),
}

impl Layout {
    fn masters(&self) -> Vec<Address> {
        match self {
            Self::Single(link) => vec![link.address().clone()],
            Self::Cluster(slots) => slots.masters(),
        }
    }
}

/// The moment at which a call that begins now has failed.
pub(super) fn deadline() -> Instant {
    Instant::now() + CALL_LIMIT
}

impl Servers {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings: Arc::new(settings),
            knowledge: Arc::default(),
            links: Mutex::default(),
            layout: RwLock::default(),
            finding: tokio::sync::Mutex::default(),
            is_looking: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    /// What is known of them beside their answers.
    pub(super) fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }

    /// Sends a command about one key to the server that has it.
    pub(super) async fn call(
        self: &Arc<Self>,
        key: &[u8],
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, Trouble> {
        self.route(key, command, deadline).await?.map_err(Trouble::from)
    }

    /// Runs a script of one key where that key is.
    pub(super) async fn run<A: AsRef<[u8]>>(
        self: &Arc<Self>,
        step: &Step,
        key: &[u8],
        arguments: &[A],
        deadline: Instant,
    ) -> Result<Value, Trouble> {
        match self.route(key, &step.by_hash(key, arguments), deadline).await? {
            Ok(value) => Ok(value),
            // It was started anew, or is new in the cluster.
            Err(refusal) if refusal.code == "NOSCRIPT" => {
                self.call(key, &step.in_full(key, arguments), deadline).await
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// As [`run`](Self::run), for what must not be undone by a failover: answered once as many replicas have it as the
    /// settings say. With [`Trouble::NotReplicated`] it is done all the same.
    pub(super) async fn run_durably<A: AsRef<[u8]>>(
        self: &Arc<Self>,
        step: &Step,
        key: &[u8],
        arguments: &[A],
        deadline: Instant,
    ) -> Result<Value, Trouble> {
        if !self.waits_for_replicas() {
            return self.run(step, key, arguments, deadline).await;
        }
        // That a server does not know the script would be heard after the wait for its replicas, and there is no time for two.
        let command = step.in_full(key, arguments);
        self.route_as(key, &command, true, deadline).await?.map_err(Trouble::from)
    }

    /// Whether writes can wait for replicas.
    pub(super) fn waits_for_replicas(&self) -> bool {
        self.settings.wait_replicas > 0
    }

    /// Sends a command a key, each to the server that has it, many at once. The answers are in their order; who can use some
    /// of them without the others asks [`call_each_apart`](Self::call_each_apart).
    pub(super) async fn call_each(
        self: &Arc<Self>,
        commands: &[(Vec<u8>, Cmd)],
        deadline: Instant,
    ) -> Result<Vec<Answer>, Trouble> {
        self.each(commands, deadline).await?.into_iter().collect()
    }

    /// As [`call_each`](Self::call_each), and where a server does not answer, the commands for the others have their answers.
    pub(super) async fn call_each_apart(
        self: &Arc<Self>,
        commands: &[(Vec<u8>, Cmd)],
        deadline: Instant,
    ) -> Result<Vec<Result<Value, Trouble>>, Trouble> {
        let answers = self.each(commands, deadline).await?;
        Ok(answers.into_iter().map(|answer| answer?.map_err(Trouble::from)).collect())
    }

    async fn each(
        self: &Arc<Self>,
        commands: &[(Vec<u8>, Cmd)],
        deadline: Instant,
    ) -> Result<Vec<Result<Answer, Trouble>>, Trouble> {
        let layout = self.layout(deadline).await?;
        let mut answers: Vec<Result<Answer, Trouble>> = vec![Err(Trouble::NoMaster); commands.len()];
        let mut shares: BTreeMap<Address, (Arc<Link>, Vec<usize>)> = BTreeMap::new();
        for (index, (key, _)) in commands.iter().enumerate() {
            if let Ok(link) = self.master_of(&layout, key) {
                let share = shares.entry(link.address().clone()).or_insert_with(|| (link, Vec::new()));
                share.1.push(index);
            }
        }
        let asking = shares.into_values().map(|(link, indexes)| async move {
            let share: Vec<&Cmd> = indexes.iter().map(|index| &commands[*index].1).collect();
            let answers = link.send_all(&share, deadline).await;
            (indexes, answers.inspect_err(|_| self.look_again(None)))
        });
        for (indexes, share) in join_all(asking).await {
            match share {
                Ok(share) => {
                    for (index, answer) in indexes.into_iter().zip(share) {
                        answers[index] = Ok(answer);
                    }
                }
                Err(trouble) => indexes.into_iter().for_each(|index| answers[index] = Err(trouble.clone())),
            }
        }
        // Whoever does not have a key any more has not done what it was asked.
        let asking = answers.into_iter().zip(commands).map(|(answer, (key, command))| async move {
            match answer {
                Ok(Err(refusal)) if refusal.place.is_some() => self.route(key, command, deadline).await,
                other => other,
            }
        });
        Ok(join_all(asking).await)
    }

    /// Sends commands, and the last of them so that it is executed after the others: what is for its server goes there
    /// together with it, as a server keeps the order; in a cluster that is done once the others have answers, and not at all
    /// if one of them was refused. So the last answer is that of the last command if there are as many as commands.
    pub(super) async fn call_in_order(
        self: &Arc<Self>,
        commands: &[(Vec<u8>, Cmd)],
        deadline: Instant,
    ) -> Result<Vec<Answer>, Trouble> {
        let Some((last, others)) = commands.split_last() else { return Ok(Vec::new()) };
        let layout = self.layout(deadline).await?;
        let home = self.master_of(&layout, &last.0)?;
        let is_elsewhere = |(key, _): &&(Vec<u8>, Cmd)| {
            self.master_of(&layout, key).map_or(true, |link| link.address() != home.address())
        };
        let (elsewhere, mut together): (Vec<_>, Vec<_>) = others.iter().partition(is_elsewhere);
        let mut answers = Vec::new();
        if !elsewhere.is_empty() {
            let elsewhere: Vec<(Vec<u8>, Cmd)> = elsewhere.into_iter().cloned().collect();
            answers = self.call_each(&elsewhere, deadline).await?;
            if answers.iter().any(Result::is_err) {
                return Ok(answers);
            }
        }
        together.push(last);
        let sent: Vec<&Cmd> = together.iter().map(|(_, command)| command).collect();
        let sent = home.send_all(&sent, deadline).await;
        let sent = sent.inspect_err(|_| self.look_again(None))?;
        for ((key, command), answer) in together.into_iter().zip(sent) {
            let moved = answer.as_ref().err().and_then(|refusal| self.place(refusal, home.address()));
            answers.push(match (moved, &*layout) {
                // It is of a cluster by now. Followed, one of them might fail, and it could not be said what became of the
                // others.
                (Some(other), Layout::Single(_)) => {
                    self.look_again(Some(other.address().clone()));
                    answer
                }
                (Some(_), Layout::Cluster(_)) => self.route(key, command, deadline).await?,
                (None, _) => answer,
            });
        }
        Ok(answers)
    }

    /// Whether they are a cluster.
    pub(super) async fn are_cluster(self: &Arc<Self>, deadline: Instant) -> Result<bool, Trouble> {
        Ok(matches!(&*self.layout(deadline).await?, Layout::Cluster(_)))
    }

    /// The connection to each server that has keys, in an order that stays the same.
    pub(super) async fn masters(self: &Arc<Self>, deadline: Instant) -> Result<Vec<Arc<Link>>, Trouble> {
        Ok(self.layout(deadline).await?.masters().iter().map(|address| self.link(address)).collect())
    }

    /// Whether each server can be reached and written to, by keys that begin with `prefix` and are never there.
    pub(super) async fn ping(self: &Arc<Self>, prefix: &[u8], deadline: Instant) -> Result<(), Trouble> {
        let deadline = deadline.min(Instant::now() + PING_LIMIT);
        let layout = self.layout(deadline).await?;
        let keys = match &*layout {
            Layout::Single(_) => vec![prefix.to_vec()],
            Layout::Cluster(slots) => slots.a_key_of_each(prefix),
        };
        // A write that finds nothing to write to: a replica, a login that may not write and a full memory refuse it, too.
        let write = |key: Vec<u8>| {
            let mut command = redis::cmd("SET");
            command.arg(&key).arg("").arg("XX");
            (key, command)
        };
        let commands: Vec<(Vec<u8>, Cmd)> = keys.into_iter().map(write).collect();
        let answers = self.call_each_apart(&commands, deadline).await?;
        let of = answers.len();
        let mut troubles: Vec<Trouble> = answers.into_iter().filter_map(Result::err).collect();
        if let Layout::Cluster(slots) = &*layout
            && slots.without_master() > 0
        {
            self.look_again(None);
            troubles.push(Trouble::Uncovered(slots.without_master()));
        }
        match troubles.len() {
            0 => Ok(()),
            failed if failed < of => Err(Trouble::InPart(troubles)),
            _ => Err(troubles.swap_remove(0)),
        }
    }

    /// Whether two keys are at one server, as far as that is known.
    pub(super) fn are_together(&self, one: &[u8], other: &[u8]) -> bool {
        match self.known_layout().as_deref() {
            Some(Layout::Cluster(slots)) => slots.master_of(one) == slots.master_of(other),
            Some(Layout::Single(_)) | None => true,
        }
    }

    /// Whether the server that has a key did not answer in the last seconds.
    pub(super) fn is_suffering(&self, key: &[u8]) -> bool {
        let layout = self.known_layout();
        let address = match layout.as_deref() {
            Some(Layout::Cluster(slots)) => slots.master_of(key),
            Some(Layout::Single(link)) => Some(link.address()),
            None => None,
        };
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        address.and_then(|address| links.get(address)).is_some_and(|link| link.is_suffering())
    }

    /// Lets go of all connections and refuses what comes later.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for (_, link) in self.links.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            link.close();
        }
    }

    fn master_of(self: &Arc<Self>, layout: &Layout, key: &[u8]) -> Result<Arc<Link>, Trouble> {
        match layout {
            Layout::Single(link) => Ok(Arc::clone(link)),
            Layout::Cluster(slots) => match slots.master_of(key) {
                Some(address) => Ok(self.link(address)),
                None => {
                    self.look_again(None);
                    Err(Trouble::NoMaster)
                }
            },
        }
    }

    async fn route(
        self: &Arc<Self>,
        key: &[u8],
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        self.route_as(key, command, false, deadline).await
    }

    async fn route_as(
        self: &Arc<Self>,
        key: &[u8],
        command: &Cmd,
        durably: bool,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        let layout = self.layout(deadline).await?;
        let mut link = self.master_of(&layout, key)?;
        let mut is_visitor = false;
        for _ in 0..=REDIRECTIONS {
            let answer = match (durably, is_visitor) {
                (false, false) => link.send(command, deadline).await,
                (false, true) => visit(&link, command, deadline).await,
                (true, false) => link.send_durably(vec![command.clone()], deadline).await,
                (true, true) => {
                    link.send_durably(vec![redis::cmd("ASKING"), command.clone()], deadline).await
                }
            };
            let answer = answer.inspect_err(|trouble| {
                if !matches!(trouble, Trouble::NotReplicated(..)) {
                    self.look_again(None);
                }
            })?;
            let Err(refusal) = answer else { return Ok(answer) };
            let Some(next) = self.place(&refusal, link.address()) else {
                if ["READONLY", "CLUSTERDOWN", "MASTERDOWN"].contains(&refusal.code.as_str()) {
                    self.look_again(None);
                }
                return Ok(Err(refusal));
            };
            is_visitor = refusal.code == "ASK";
            if !is_visitor {
                self.look_again(Some(next.address().clone()));
            }
            link = next;
        }
        Err(Trouble::NoMaster)
    }

    /// Where a refusal says that the key is.
    fn place(&self, refusal: &Refusal, asked: &Address) -> Option<Arc<Link>> {
        let (host, port) = refusal.place.as_deref()?.rsplit_once(':')?;
        let host = if host.is_empty() { &asked.host } else { host };
        Some(self.link(&Address { host: host.to_owned(), port: port.parse().ok()? }))
    }

    fn link(&self, address: &Address) -> Arc<Link> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(address) {
            return Arc::clone(link);
        }
        let link = Link::new(address.clone(), Arc::clone(&self.settings), Arc::clone(&self.knowledge));
        Arc::clone(links.entry(address.clone()).or_insert(Arc::new(link)))
    }

    async fn layout(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Layout>, Trouble> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Trouble::Closed);
        }
        if let Some(layout) = self.known_layout() {
            return Ok(layout);
        }
        let finding = async {
            let _one = self.finding.lock().await;
            match self.known_layout() {
                Some(layout) => Ok(layout),
                None => self.find(&self.settings.servers, deadline).await,
            }
        };
        let found = tokio::time::timeout_at(deadline, finding).await;
        found.unwrap_or_else(|_| {
            let servers: Vec<String> = self.settings.servers.iter().map(ToString::to_string).collect();
            Err(Trouble::TimedOut(servers.join(", ")))
        })
    }

    fn known_layout(&self) -> Option<Arc<Layout>> {
        self.layout.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks one after the other who has which keys, until one says it.
    async fn find(&self, servers: &[Address], deadline: Instant) -> Result<Arc<Layout>, Trouble> {
        let mut last = Trouble::NoMaster;
        for (index, address) in servers.iter().enumerate() {
            // One that hangs leaves time for the others.
            let others = u32::try_from(servers.len() - index).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / others;
            match self.ask(address, Instant::now() + share).await {
                Ok(layout) => {
                    let layout = Arc::new(layout);
                    *self.layout.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&layout));
                    self.keep_only(&layout);
                    return Ok(layout);
                }
                Err(trouble) => last = trouble,
            }
        }
        Err(last)
    }

    /// Lets go of connections to servers that are of the cluster no more.
    fn keep_only(&self, layout: &Layout) {
        let mut kept = layout.masters();
        self.knowledge.hazards.retain(&kept);
        self.knowledge.clocks.retain(&kept);
        kept.extend(self.settings.servers.iter().cloned());
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|address, link| {
            let is_kept = kept.contains(address);
            if !is_kept {
                link.close();
            }
            is_kept
        });
    }

    async fn ask(&self, address: &Address, deadline: Instant) -> Result<Layout, Trouble> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        match self.link(address).send(&command, deadline).await? {
            Ok(answer) => {
                let slots = Slots::read(&answer, address).ok_or(Trouble::NotRedis(address.to_string()))?;
                if slots.masters().is_empty() { Err(Trouble::NoMaster) } else { Ok(Layout::Cluster(slots)) }
            }
            // Taken for a single server, a member of a cluster would be all that is looked through.
            Err(refusal) if refusal.code == "NOPERM" => Err(Trouble::Permanent(format!(
                "{address} may not say to this user whether it is of a cluster: allow the user CLUSTER SLOTS"
            ))),
            Err(refusal) if refusal.code == "ERR" => match self.settings.servers.len() {
                1 => Ok(Layout::Single(self.link(address))),
                _ => Err(Trouble::Permanent(format!(
                    "the server_url names several servers, but {address} is of no cluster"
                ))),
            },
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Asks again who has which keys, in a task of its own and not too often; the one that knows better is asked first.
    fn look_again(self: &Arc<Self>, first: Option<Address>) {
        let is_single = matches!(self.known_layout().as_deref(), Some(Layout::Single(_)) | None);
        if (is_single && first.is_none()) || self.is_looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let mut servers: Vec<Address> = first.into_iter().collect();
            servers.extend(this.known_layout().map(|layout| layout.masters()).unwrap_or_default());
            servers.extend(this.settings.servers.iter().cloned());
            // Those that may not answer come last.
            servers.sort_by_key(|address| this.link(address).is_suffering());
            if let Err(error) = this.find(&servers, deadline()).await {
                tracing::debug!(%error, "no member of the Redis cluster says who has which keys");
            }
            sleep(PAUSE).await;
            this.is_looking.store(false, Ordering::Release);
        });
    }
}

/// What is known of them, in the text format of Prometheus.
impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.knowledge.hazards, self.knowledge.clocks)?;
        let name = "sessman_redis_server_answers";
        head(f, name, "gauge", "0 if the server has not answered in the last seconds.")?;
        let masters = self.known_layout().map(|layout| layout.masters()).unwrap_or_default();
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        for address in masters {
            let suffers = links.get(&address).is_some_and(|link| link.is_suffering());
            writeln!(f, "{name}{{server=\"{address}\"}} {}", u8::from(!suffers))?;
        }
        Ok(())
    }
}

/// Sends a command to a server that a key is moving to.
async fn visit(link: &Link, command: &Cmd, deadline: Instant) -> Result<Answer, Trouble> {
    let mut answers = link.send_all(&[&redis::cmd("ASKING"), command], deadline).await?;
    answers.pop().ok_or(Trouble::NoMaster)
}

#[cfg(test)]
mod tests {
    use super::super::RedisConfig;
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn connections_to_servers_that_left_the_cluster_are_let_go_of() {
        let config = RedisConfig {
            server_url: Secret::new("configured:1"),
            username: None,
            password: None,
            database: None,
            prefix: "sessman".into(),
            tls_ca_file: None,
            tls_certificate_file: None,
            tls_key_file: None,
            wait_replicas: 0,
        };
        let servers = Servers::new(config.settings().unwrap());
        let address = |host: &str| Address { host: host.into(), port: 1 };
        for host in ["configured", "stays", "left"] {
            servers.link(&address(host));
        }
        servers.knowledge.clocks.learn(&address("left"), Some(5_000));
        servers.keep_only(&Layout::Cluster(Slots::of(vec![(0, 16_383, address("stays"))])));
        let mut kept: Vec<String> = servers.links.lock().unwrap().keys().map(ToString::to_string).collect();
        kept.sort();
        assert_eq!(kept, ["configured:1", "stays:1"]);
        assert!(!servers.to_string().contains("left"));
    }
}
