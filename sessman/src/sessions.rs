//! The engine: the operations on sessions.
//!
//! - here: reads, and calls to the store with a deadline; `credentials`: what opens a session
//! - `creation`: create a session; `change`: update, touch, rotate, log in, end; `moving`: rotate to an external id;
//!   `amendment`: terms, metadata, labels
//! - `limits`: the most sessions of a user; `rates`: rate limit of new sessions
//! - `listing`: list and revoke sessions, of a user or of all; `filter`: those that match conditions; `stats`: counts;
//!   `maintenance`: periodic clean-up
//! - `turns`: a lock for each session; `completion`: writes that finish although the caller is cancelled; `checks`:
//!   validation of input

mod amendment;
mod change;
mod checks;
mod completion;
mod creation;
mod credentials;
mod filter;
mod limits;
mod listing;
mod maintenance;
mod moving;
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

pub use amendment::{Amendment, MAX_IDLE};
pub use change::{Precondition, Rotation, Update};
pub use checks::{MAX_USER_ID, check_user_id, client_ip};
pub use creation::NewSession;
pub use credentials::{Credentials, Key};
pub use filter::{Filter, Preview};
pub use listing::Ending;
pub use stats::{ByAge, Stats};

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};

use crate::data::Data;
use crate::error::Error;
use crate::events::{Events, Kind};
use crate::id::Handle;
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

/// Deadline of a store call. A store that has not answered by then counts as unreachable.
pub const STORE_DEADLINE: Duration = Duration::from_secs(2);
/// The clock skew between two nodes that is tolerated. A decision that depends on the age of a record is taken this much later.
const CLOCKS_DIFFER: Duration = Duration::from_secs(120);
/// Delays in seconds before each retry of work that must be done and failed.
const RETRIES: [u64; 7] = [1, 2, 4, 8, 16, 32, 64];
/// A store call that missed its deadline.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", STORE_DEADLINE.as_secs())]
struct NoAnswer;

/// Sessions in a store, under rules.
///
/// Every method needs a tokio runtime with its timer enabled.
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use std::sync::Arc;
///
/// use sessman::data::Data;
/// use sessman::labels::Labels;
/// use sessman::rules::Rules;
/// use sessman::sessions::{Credentials, Key, NewSession, Precondition, Sessions, Update};
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
///     idle: None,
///     persistent: false,
///     labels: Labels::none(),
///     id: None,
///     address: None,
/// };
/// let (id, record) = sessions.create(new).await?;
/// assert_eq!(record.version, 1);
///
/// let credentials = Credentials { key: Key::Id(&id), user_id: None, address: None };
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
    /// The last user whose places were tidied: the next periodic clean-up continues after it.
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

    /// The rules that these sessions follow.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Counters since this was created.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The store's own metrics, in the Prometheus text format.
    pub fn store_metrics(&self) -> String {
        self.store.metrics()
    }

    /// The stream of session events from now on.
    pub fn events(&self) -> &Events {
        &self.events
    }

    fn tell(&self, kind: Kind, handle: Handle, user_id: Option<&str>) {
        self.events.tell(kind, handle, user_id, self.clock.now());
    }

    /// Reads a session. Where the rules say so, reading counts as activity and may extend the session.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn get(&self, credentials: Credentials<'_>) -> Result<Arc<Record>, Error> {
        let asked = Instant::now();
        let record = self.find(credentials).await?;
        let now = self.clock.now();
        let Some(times) = self.rules.activity(&record, now) else { return Ok(record) };
        // A concurrent write has recorded activity too, so a conflict is not retried.
        let touch = Change::touch(now, times);
        let written = self.write(&record, Unless::Written, &touch);
        match timeout_at(asked + STORE_DEADLINE, written).await {
            Ok(Ok(Updated::Done { record, .. })) => Ok(record),
            Ok(Ok(Updated::Conflict(_))) => Ok(record),
            Ok(Ok(Updated::Missing)) => Err(Error::NotFound),
            // The read succeeded; recording activity is best effort.
            Err(_) => Ok(record),
            Ok(Err(error)) => {
                tracing::debug!(%error, "activity could not be written down");
                Ok(record)
            }
        }
    }

    /// Whether [`get_now`](Self::get_now) can ever return a record: whether the store has a cache.
    pub fn has_records_at_hand(&self) -> bool {
        self.store.has_records_at_hand()
    }

    /// Like [`get`](Self::get), but synchronous and without a runtime: only for a record that is cached and needs no write for
    /// activity. `None` means: call `get`.
    ///
    /// # Errors
    /// As for `get`.
    pub fn get_now(&self, credentials: Credentials<'_>) -> Option<Result<Arc<Record>, Error>> {
        let now = self.clock.now();
        let loaded = self.load_now(credentials.key.handle(), now)?;
        match loaded.map_err(Error::from).and_then(|record| self.opened(record, credentials)) {
            Ok(record) if self.rules.activity(&record, now).is_some() => None,
            found => Some(found),
        }
    }

    /// Whether the credentials are those of a live session. This never counts as activity.
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
        let record = self.load(credentials.key.handle()).await?;
        self.opened(record, credentials)
    }

    /// The record, if the credentials match. Every mismatch is the same [`Error::NotFound`], so a caller cannot probe which
    /// part is wrong.
    fn opened(
        &self,
        record: Option<Arc<Record>>,
        credentials: Credentials<'_>,
    ) -> Result<Arc<Record>, Error> {
        let Credentials { key, user_id, address } = credentials;
        let record = record.ok_or(Error::NotFound)?;
        let is_users = user_id.is_none_or(|user_id| record.user_id.as_deref() == Some(user_id));
        let is_from_there = !self.rules.bind_ip || is_bound_to(&record, address);
        let has_secret = match key {
            Key::Id(id) => record.secret_hash == id.secret_hash(),
            Key::Handle(_) => true,
        };
        if has_secret && is_users && is_from_there { Ok(record) } else { Err(Error::NotFound) }
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

    /// Like [`load`](Self::load), from the cache only.
    fn load_now(&self, handle: Handle, now: Timestamp) -> Option<Result<Option<Arc<Record>>, StoreError>> {
        let loaded = self.store.load_now(handle, now)?;
        // Measured as zero: most take less than a microsecond, and reading the clock is a good part of that.
        self.metrics.asked(Operation::Load, Duration::ZERO, loaded.as_ref().err());
        Some(loaded.and_then(|loaded| self.live(handle, loaded, now)))
    }

    /// The loaded record, if it is live by the rules in force.
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
                // Emit the event, but do not delete: by the clock of another node the session may still be live.
                self.tell(Kind::Expired, handle, record.user_id.as_deref());
                Ok(None)
            }
            Loaded::Missing => Ok(None),
        }
    }

    /// Applies a change to the record that was read.
    ///
    /// A shared server checks expiry against the time at which the change was requested. If it is slow, the change may land
    /// after the session expired, and others may have seen it as expired: such a write is rolled back by deleting the record.
    /// A store in this process checks expiry when it writes. There, a change made in time stays, however late the reply is.
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
            Updated::Done { record, lived_until }
                if change.terms.is_none() && record.terms() != read.terms() =>
            {
                // Boxed, so that the future of a write stays small.
                let record = Box::pin(self.under_its_terms(record, change)).await?;
                Ok(Updated::Done { record, lived_until: *lived_until })
            }
            _ => Ok(updated),
        }
    }

    /// Others changed the session's terms between the read and the `change`, whose times follow the terms of before: this
    /// writes the times that follow the terms that it has now.
    async fn under_its_terms(
        &self,
        record: &Arc<Record>,
        change: &Change,
    ) -> Result<Arc<Record>, StoreError> {
        let times = self.rules.restated(&record.life());
        let correction = Change::touch(change.now, times);
        // Whoever has written since then did so under these terms, or corrects it in the same way.
        match self.ask(Operation::Update, self.store.update(record, Unless::Written, &correction)).await? {
            Updated::Done { record, .. } => Ok(record),
            Updated::Conflict(_) | Updated::Missing => Ok(Arc::clone(record)),
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
    /// Why it cannot.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.ask(Operation::Ping, self.store.ping()).await
    }

    /// Closes the store after all calls made before have finished.
    pub async fn close(&self) {
        self.store.close().await;
    }

    /// A store call with a deadline; [`StoreError::Unavailable`] if it is missed.
    fn ask<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        self.ask_until(Instant::now() + STORE_DEADLINE, operation, call)
    }

    /// The same, with an earlier deadline.
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

    /// Gives an operation of several store calls the deadline of one, waiting for locks included. At the deadline, or when its
    /// client disconnects, it is cancelled between two calls. Only for operations that are safe to stop between any two.
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

/// Whether the session was created from `address`. A session created without a known address matches only clients
/// without one.
fn is_bound_to(record: &Record, address: Option<IpAddr>) -> bool {
    client_ip(&record.metadata) == Ok(address.map(|address| address.to_canonical()))
}
