//! The engine: what can be done with sessions.
//!
//! - here: what is asked with, and reading
//! - `creation`, `change`: beginning a session, and what becomes of it
//! - `limits`: how many sessions a user may have; `rates`: how fast they may begin
//! - `listing`: a user's sessions, and everybody's; `stats`: how many there are; `maintenance`: what is done from time to
//!   time
//! - `turns`: one at a time per session; `completion`: what is not stopped half way; `checks`: what may be written

mod change;
mod checks;
mod completion;
mod creation;
mod limits;
mod listing;
mod maintenance;
mod rates;
mod stats;
#[cfg(test)]
#[cfg(feature = "memory")]
mod tests;
mod turns;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use change::{Precondition, Update};
pub use checks::{MAX_USER_ID, check_user_id, client_ip};
pub use creation::NewSession;
pub use listing::Ending;
pub use stats::{ByAge, Stats};

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};

use crate::data::Data;
use crate::error::Error;
use crate::events::{Events, Kind};
use crate::id::{Handle, SessionId};
use crate::metrics::{Metrics, Operation};
use crate::outage::Outages;
use crate::record::{Change, Record};
use crate::rules::Rules;
use crate::store::sealed::check_unsealed;
use crate::store::{Loaded, Store, StoreError, Target, Unless, Updated};
use crate::time::{Clock, Timestamp};
use rates::Rates;
use stats::CountedLately;
use turns::Turns;

/// A store that has not answered by then is away.
pub const STORE_DEADLINE: Duration = Duration::from_secs(2);
/// By more than this the clocks of two nodes do not differ: what is decided by the age of something is decided so much later.
const CLOCKS_DIFFER: Duration = Duration::from_secs(120);
/// What has to be done, and failed, is tried again after each of these, in seconds.
const RETRIES: [u64; 7] = [1, 2, 4, 8, 16, 32, 64];
/// A call that the store did not end in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", STORE_DEADLINE.as_secs())]
struct NoAnswer;

/// What opens a session.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// The id that a client holds.
    pub id: &'a SessionId,
    /// The session is found only if it is this user's; `None` for whose it is.
    pub user_id: Option<&'a str>,
    /// Where the client is, if that is known.
    pub address: Option<IpAddr>,
}

/// Sessions in a store, under rules.
///
/// Every method needs a tokio runtime with time around it.
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use std::sync::Arc;
///
/// use sessman::data::Data;
/// use sessman::rules::Rules;
/// use sessman::sessions::{Credentials, NewSession, Precondition, Sessions, Update};
/// use sessman::store::memory::{MemoryConfig, MemoryStore};
/// use sessman::time::SystemClock;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let clock = Arc::new(SystemClock::start());
/// let store = Arc::new(MemoryStore::new(MemoryConfig::default(), clock.clone()));
/// let sessions = Arc::new(Sessions::new(store, clock, Rules::default()));
///
/// // The client keeps the id, and nobody else has it.
/// let new = NewSession {
///     user_id: Some("ada".into()),
///     data: Data::parse(r#"{"cart":[]}"#)?,
///     metadata: Data::empty(),
///     ttl: None,
///     id: None,
///     address: None,
/// };
/// let (id, record) = sessions.create(new).await?;
/// assert_eq!(record.version, 1);
///
/// let credentials = Credentials { id: &id, user_id: None, address: None };
/// let patch = Update::Merge(Data::parse(r#"{"cart":[7]}"#)?);
/// sessions.update(credentials, &patch, &Precondition::None).await?;
/// assert_eq!(sessions.get(credentials).await?.data.as_str(), r#"{"cart":[7]}"#);
///
/// // Whichever of the user's devices it is on.
/// assert_eq!(sessions.end_user("ada".into()).await?.len(), 1);
/// assert!(sessions.get(credentials).await.is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// # }
/// ```
pub struct Sessions {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    rules: Rules,
    turns: Turns,
    rates: Option<Rates>,
    metrics: Metrics,
    outages: Outages,
    events: Events,
    counted: CountedLately,
    /// Behind which user's places the next regular clean-up goes on.
    tidied_to: tokio::sync::Mutex<Option<String>>,
}

impl Sessions {
    /// Sessions in `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, rules: Rules) -> Self {
        let rates = rules.new_rate.map(Rates::new);
        Self {
            store,
            clock,
            rules,
            turns: Turns::default(),
            rates,
            metrics: Metrics::default(),
            outages: Outages::default(),
            events: Events::default(),
            counted: CountedLately::default(),
            tidied_to: tokio::sync::Mutex::default(),
        }
    }

    /// The rules they follow.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What was counted since this was made.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What the store counts of its own, in the text format of Prometheus.
    pub fn store_metrics(&self) -> String {
        self.store.metrics()
    }

    /// What happens to them from now on.
    pub fn events(&self) -> &Events {
        &self.events
    }

    fn tell(&self, kind: Kind, handle: Handle, user_id: Option<&str>) {
        self.events.tell(kind, handle, user_id, self.clock.now());
    }

    /// Reads a session; that is activity where the rules say so.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn get(&self, credentials: Credentials<'_>) -> Result<Arc<Record>, Error> {
        let asked = Instant::now();
        let record = self.find(credentials).await?;
        let now = self.clock.now();
        let Some(times) = self.rules.activity(&record, now) else { return Ok(record) };
        // Whoever wrote in between has written down activity, too: theirs stays.
        let touch = Change::touch(now, times);
        let written = self.write(&record, Unless::Written, &touch);
        match timeout_at(asked + STORE_DEADLINE, written).await {
            Ok(Ok(Updated::Done { record, .. })) => Ok(record),
            Ok(Ok(Updated::Conflict(_))) => Ok(record),
            Ok(Ok(Updated::Missing)) => Err(Error::NotFound),
            // It was read, and that is what was asked for.
            Err(_) => Ok(record),
            Ok(Err(error)) => {
                tracing::debug!(%error, "activity could not be written down");
                Ok(record)
            }
        }
    }

    /// Whether [`get_now`](Self::get_now) may find something.
    pub fn has_records_at_hand(&self) -> bool {
        self.store.has_records_at_hand()
    }

    /// As [`get`](Self::get), where the record is at hand and there is nothing to write down; it needs no runtime. `None`
    /// leaves it to `get`.
    ///
    /// # Errors
    /// Those of `get`.
    pub fn get_now(&self, credentials: Credentials<'_>) -> Option<Result<Arc<Record>, Error>> {
        let now = self.clock.now();
        let loaded = self.load_now(credentials.id.handle(), now)?;
        match loaded.map_err(Error::from).and_then(|record| self.opened(record, credentials)) {
            Ok(record) if self.rules.activity(&record, now).is_some() => None,
            found => Some(found),
        }
    }

    /// Whether the credentials open a live session. Looking is no activity, whatever the rules say.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn opens(&self, credentials: Credentials<'_>) -> Result<bool, Error> {
        match self.find(credentials).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The live session that the credentials open.
    async fn find(&self, credentials: Credentials<'_>) -> Result<Arc<Record>, Error> {
        let record = self.load(credentials.id.handle()).await?;
        self.opened(record, credentials)
    }

    /// The record, if the credentials open it. What is wrong with them is not told apart.
    fn opened(
        &self,
        record: Option<Arc<Record>>,
        credentials: Credentials<'_>,
    ) -> Result<Arc<Record>, Error> {
        let Credentials { id, user_id, address } = credentials;
        let record = record.ok_or(Error::NotFound)?;
        let is_users = user_id.is_none_or(|user_id| record.user_id.as_deref() == Some(user_id));
        let is_from_there = !self.rules.bind_ip || is_bound_to(&record, address);
        if record.secret_hash == id.secret_hash() && is_users && is_from_there {
            Ok(record)
        } else {
            Err(Error::NotFound)
        }
    }

    /// The live record of `handle`.
    async fn load(&self, handle: Handle) -> Result<Option<Arc<Record>>, StoreError> {
        let now = self.clock.now();
        if let Some(record) = self.load_now(handle, now) {
            return record;
        }
        let loaded = self.ask(Operation::Load, self.store.load(handle, now)).await?;
        self.live(handle, loaded, now)
    }

    /// As [`load`](Self::load), where the record is at hand.
    fn load_now(&self, handle: Handle, now: Timestamp) -> Option<Result<Option<Arc<Record>>, StoreError>> {
        let loaded = self.store.load_now(handle, now)?;
        // Counted as no time: most take less than a microsecond, and reading the clock is a good part of that.
        self.metrics.asked(Operation::Load, Duration::ZERO, loaded.as_ref().err());
        Some(loaded.and_then(|loaded| self.live(handle, loaded, now)))
    }

    /// What was found, if it lives by the rules that are in force.
    fn live(
        &self,
        handle: Handle,
        loaded: Loaded,
        now: Timestamp,
    ) -> Result<Option<Arc<Record>>, StoreError> {
        match loaded {
            Loaded::Live(record) if record.life().is_pending() => Ok(None),
            Loaded::Live(record) if self.rules.is_live(&record.life(), now) => {
                check_unsealed(&record)?;
                Ok(Some(record))
            }
            Loaded::Live(record) | Loaded::Expired(record) => {
                // Told, and left where it is: other nodes have clocks of their own, by which it may live.
                self.tell(Kind::Expired, handle, record.user_id.as_deref());
                Ok(None)
            }
            Loaded::Missing => Ok(None),
        }
    }

    /// Makes a change to a record as it was read.
    ///
    /// A server may be slow, and compares with the moment at which the change was asked for: one that may have been made
    /// after the session had ended, as others were told meanwhile, is undone. A store of this process compares when it
    /// writes; there a change that was made in time stays, however late its answer is.
    async fn write(&self, read: &Record, unless: Unless, change: &Change) -> Result<Updated, StoreError> {
        let updated = self.ask(Operation::Update, self.store.update(read, unless, change)).await?;
        match &updated {
            Updated::Done { record, lived_until }
                if self.store.is_shared() && self.clock.now() >= *lived_until =>
            {
                let written = Target {
                    last_activity: Some(record.last_activity),
                    ..Target::incarnation(record.handle, record.mark)
                };
                self.delete(&[written]).await?;
                self.tell(Kind::Expired, record.handle, record.user_id.as_deref());
                Ok(Updated::Missing)
            }
            _ => Ok(updated),
        }
    }

    /// Deletes records; see [`Store::delete`].
    async fn delete(&self, targets: &[Target]) -> Result<Vec<Handle>, StoreError> {
        if targets.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(Operation::Delete, self.store.delete(targets)).await
    }

    /// Whether the store can be reached and written to.
    ///
    /// # Errors
    /// Why not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.ask(Operation::Ping, self.store.ping()).await
    }

    /// Lets go of the store, after everything that was asked before is done.
    pub async fn close(&self) {
        self.store.close().await;
    }

    /// A store call, or [`StoreError::Unavailable`] when it takes too long.
    fn ask<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        self.ask_until(Instant::now() + STORE_DEADLINE, operation, call)
    }

    /// The same with less time.
    fn ask_until<T>(
        &self,
        until: Instant,
        operation: Operation,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        let started = Instant::now();
        timeout_at(until, call).map(move |ended| {
            let result = ended.unwrap_or_else(|_| Err(StoreError::Unavailable(Box::new(NoAnswer))));
            let took = started.elapsed();
            self.metrics.asked(operation, took, result.as_ref().err());
            match &result {
                Ok(_) => self.outages.worked(operation, || started + took),
                Err(error) => self.outages.failed(operation, error, started + took),
            }
            result
        })
    }

    /// What takes several calls is answered within the time of one, waiting for others included. It stops where it is,
    /// as it does when its client goes away; so it is for what may stop between any two of them.
    fn in_time<T>(
        &self,
        steps: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = Result<T, Error>> {
        tokio::time::timeout(STORE_DEADLINE, steps).map(|ended| {
            ended.unwrap_or_else(|_| {
                self.metrics.cut_off();
                let error = StoreError::Unavailable(Box::new(NoAnswer));
                self.outages.failed(Operation::Update, &error, Instant::now());
                Err(error.into())
            })
        })
    }

    fn check_size(&self, what: &'static str, data: &Data) -> Result<(), Error> {
        let (length, limit) = (data.as_str().len(), self.rules.max_data_bytes);
        if length > limit { Err(Error::TooLarge { what, length, limit }) } else { Ok(()) }
    }
}

/// Whether the session began from `address`; one that began from nowhere known is found from nowhere known.
fn is_bound_to(record: &Record, address: Option<IpAddr>) -> bool {
    client_ip(&record.metadata) == Ok(address.map(|address| address.to_canonical()))
}
