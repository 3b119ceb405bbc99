//! All servers of the store: which of them has a key.
//!
//! A single server has all keys. In a cluster, each member has a part of them and knows who has the rest. The first member
//! that replies gives the slot map, and a member without a key redirects to the one that has it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::failure::{Refusal, Trouble};
use super::link::{Knowledge, Link};
use super::server_url::Address;
use super::settings::Settings;
use super::slots::Slots;
use crate::metrics::head;

/// Deadline of a call. Shorter than the engine's two seconds, so that a call fails with its specific error.
pub(super) const CALL_LIMIT: Duration = Duration::from_millis(1_800);

/// The least interval between two reads of the slot map.
const PAUSE: Duration = Duration::from_millis(200);

/// Servers of one `server_url`.
pub(super) struct Servers {
    settings: Arc<Settings>,
    knowledge: Arc<Knowledge>,
    links: Mutex<HashMap<Address, Arc<Link>>>,
    /// `None` until a server has replied.
    layout: RwLock<Option<Arc<Layout>>>,
    /// Held by the first call that needs the layout, while it asks.
    finding: tokio::sync::Mutex<()>,
    is_looking: AtomicBool,
    closed: AtomicBool,
}

/// Which server has which keys.
pub(super) enum Layout {
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

/// The deadline of a call that begins now.
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

    /// Information about them that is gathered on the side.
    pub(super) fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }

    /// Whether writes wait for replicas.
    pub(super) fn waits_for_replicas(&self) -> bool {
        self.settings.wait_replicas > 0
    }

    /// Whether they are a cluster.
    pub(super) async fn are_cluster(self: &Arc<Self>, deadline: Instant) -> Result<bool, Trouble> {
        Ok(matches!(&*self.layout(deadline).await?, Layout::Cluster(_)))
    }

    /// The link to each master, in a stable order.
    pub(super) async fn masters(self: &Arc<Self>, deadline: Instant) -> Result<Vec<Arc<Link>>, Trouble> {
        Ok(self.layout(deadline).await?.masters().iter().map(|address| self.link(address)).collect())
    }

    /// Whether two keys are on one server, as far as is known.
    pub(super) fn are_together(&self, one: &[u8], other: &[u8]) -> bool {
        match self.known_layout().as_deref() {
            Some(Layout::Cluster(slots)) => slots.master_of(one) == slots.master_of(other),
            Some(Layout::Single(_)) | None => true,
        }
    }

    /// Whether the server that has a key is unhealthy.
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

    /// Closes all connections, and rejects later calls.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for (_, link) in self.links.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            link.close();
        }
    }

    /// The server that has a key.
    pub(super) fn master_of(self: &Arc<Self>, layout: &Layout, key: &[u8]) -> Result<Arc<Link>, Trouble> {
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

    /// The server that a redirection names.
    pub(super) fn place(&self, refusal: &Refusal, asked: &Address) -> Option<Arc<Link>> {
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

    /// The layout; found now if no server has replied yet.
    pub(super) async fn layout(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Layout>, Trouble> {
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

    /// Asks the servers one after the other for the layout, until one replies.
    async fn find(&self, servers: &[Address], deadline: Instant) -> Result<Arc<Layout>, Trouble> {
        let mut last = Trouble::NoMaster;
        for (index, address) in servers.iter().enumerate() {
            // Split the remaining time, so that a server that hangs leaves time for the others.
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

    /// Closes the connections to servers that have left the cluster.
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
            // If a member of a cluster were taken for a single server, scans would miss the keys of the others.
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

    /// Reads the layout again, in a background task and rate limited; `first`, which is better informed, is asked first.
    pub(super) fn look_again(self: &Arc<Self>, first: Option<Address>) {
        let is_single = matches!(self.known_layout().as_deref(), Some(Layout::Single(_)) | None);
        if (is_single && first.is_none()) || self.is_looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let mut servers: Vec<Address> = first.into_iter().collect();
            servers.extend(this.known_layout().map(|layout| layout.masters()).unwrap_or_default());
            servers.extend(this.settings.servers.iter().cloned());
            // Unhealthy servers come last.
            servers.sort_by_key(|address| this.link(address).is_suffering());
            if let Err(error) = this.find(&servers, deadline()).await {
                tracing::debug!(%error, "no member of the Redis cluster says who has which keys");
            }
            sleep(PAUSE).await;
            this.is_looking.store(false, Ordering::Release);
        });
    }
}

/// What is known of them, in the Prometheus text format.
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
