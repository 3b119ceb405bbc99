//! Creation of sessions.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::amendment::{check_idle, time_to_live};
use super::completion::to_the_end_until;
use super::limits::NotEvicted;
use super::{NoAnswer, RETRIES, STORE_DEADLINE, Sessions, check_user_id, client_ip};
use crate::data::Data;
use crate::error::Error;
use crate::events::Kind;
use crate::id::{Handle, SessionId};
use crate::labels::Labels;
use crate::mark::Mark;
use crate::metrics::Operation;
use crate::record::{Change, Life, Record, Times, TtlSource};
use crate::rules::OnLimit;
use crate::store::{Created, Outlined, StoreError, Target, Unless, Updated};

/// Time to live of a record that waits for its place among its user's. Longer than claiming one takes; short, because after
/// a crash such a record blocks its external id and its place until it expires.
const PENDING: Duration = Duration::from_secs(10);

/// How long a creation waits for a concurrent one with the same external id, and how often it polls.
const ABOUT_TO_BEGIN: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(10);

/// A command that a store received has been executed, or never will be, after this time.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// The input of a new session.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The owner; `None` for an anonymous visitor.
    pub user_id: Option<String>,
    /// The application's data.
    pub data: Data,
    /// Information about the client: a JSON object.
    pub metadata: Data,
    /// Its own time to live instead of `session_ttl`: at least one second, at most `max_ttl`.
    pub ttl: Option<Duration>,
    /// Its own idle timeout instead of `idle_timeout`, zero for none; at most `max_idle`.
    pub idle: Option<Duration>,
    /// Whether its cookie outlives the browser ("remember me").
    pub persistent: bool,
    /// By which it is found beside its user.
    pub labels: Labels,
    /// An external id, chosen by the caller; `None` to generate one.
    pub id: Option<SessionId>,
    /// The address whose `new_rate` quota is charged; `None` if it is unknown.
    pub address: Option<IpAddr>,
}

/// The most ids drawn to find one whose handle suits the store.
const DRAWS: usize = 64;

/// How long a creation waits for the store before it tries another shard: a little longer than it takes to mark a server as
/// unreachable.
const PATIENCE: Duration = Duration::from_millis(400);

/// The most attempts to create a session whose pending record gets lost.
const ATTEMPTS: usize = 3;

/// The pending record had expired before it was activated: it took too long, or the clock of another node or of the store
/// is ahead.
#[derive(Debug, thiserror::Error)]
#[error(
    "a session that was written is not in the store any more; compare the clocks of its nodes and servers"
)]
struct Lost;

/// The result of one attempt: the session has its place, or none and why.
enum Begun {
    /// It is live, or a later session has already evicted it.
    Yes(SessionId, Arc<Record>),
    /// The pending record was lost.
    Lost,
}

impl Sessions {
    /// Creates a session.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TooLarge`], [`Error::TooMany`], [`Error::Exists`], [`Error::LimitReached`],
    /// [`Error::Contended`], [`Error::Store`].
    pub async fn create(self: &Arc<Self>, new: NewSession) -> Result<(SessionId, Arc<Record>), Error> {
        let ttl = self.admit(&new)?;
        let created = match &new.user_id {
            Some(user_id) if self.rules.max_sessions_per_user.is_some() => {
                let until = Instant::now() + STORE_DEADLINE;
                let (this, user_id) = (Arc::clone(self), user_id.clone());
                // Boxed, so that the future stays small for users without a limit.
                let steps = Box::pin(async move { this.create_in_place(&new, ttl, &user_id).await });
                let this = Arc::clone(self);
                to_the_end_until(until, steps, |(id, record)| async move {
                    // Its id was given to no client, unless the caller chose it: the record would only block a place.
                    if this.rules.on_limit == OnLimit::Reject && !id.is_external() {
                        this.take_back(&record, &[]).await;
                    }
                })
                .await
            }
            _ => self.insert(&new, ttl, false).await,
        };
        created.inspect(|(_, record)| {
            self.metrics.created.increment();
            self.tell(Kind::Created, record.handle, record.user_id.as_deref());
        })
    }

    /// Validates the input, charges the `new_rate` quota, and returns the time to live.
    fn admit(&self, new: &NewSession) -> Result<(Duration, TtlSource), Error> {
        if let Some(user_id) = &new.user_id {
            check_user_id(user_id)?;
        }
        self.check_size("data", &new.data)?;
        self.check_size("metadata", &new.metadata)?;
        if self.rules.bind_ip && client_ip(&new.metadata).is_err() {
            return Err(Error::Invalid("metadata.client_ip: expected an IP address (bind_ip)".into()));
        }
        let ttl = time_to_live(&self.rules, new.ttl)?;
        check_idle(&self.rules, new.idle)?;
        if let Some(rates) = &self.rates {
            rates
                .take(new.address, new.user_id.as_deref(), self.clock.now())
                .map_err(|retry_after| Error::TooMany { retry_after })?;
        }
        Ok(ttl)
    }

    /// Writes the record of a new session. A pending one expires soon, unless it gets its place and is activated.
    pub(super) async fn insert(
        self: &Arc<Self>,
        new: &NewSession,
        (ttl, ttl_source): (Duration, TtlSource),
        is_pending: bool,
    ) -> Result<(SessionId, Arc<Record>), Error> {
        let until = Instant::now() + STORE_DEADLINE;
        loop {
            let id = new.id.clone().unwrap_or_else(|| self.new_id());
            let now = self.clock.now();
            let mut record = Record {
                handle: id.handle(),
                mark: Mark::new(now),
                secret_hash: id.secret_hash(),
                user_id: new.user_id.clone(),
                auth_time: new.user_id.as_ref().map(|_| now),
                data: new.data.clone(),
                metadata: new.metadata.clone(),
                created_at: now,
                updated_at: now,
                reset_at: now,
                last_activity: now,
                ttl,
                ttl_source,
                idle: new.idle,
                persistent: new.persistent,
                labels: new.labels.clone(),
                expires_at: now,
                version: 1,
                mac: None,
            };
            record.expires_at = self.rules.reset(&record.life(), now).expires_at;
            if is_pending {
                record.expires_at = record.expires_at.min(now.after(PENDING));
                record.last_activity = Life::pending_since(now);
            }
            let record = Arc::new(record);
            let create = self.store.create(Arc::clone(&record), now);
            let mut create = pin!(self.ask_until(until, Operation::Create, create));
            let created = match timeout(PATIENCE, &mut create).await {
                Ok(created) => created,
                Err(_) if new.id.is_none() && self.has_better_than(&id) => {
                    let error = StoreError::Unavailable(Box::new(NoAnswer));
                    self.metrics.asked(Operation::Create, PATIENCE, Some(&error));
                    self.outages.failed(Operation::Create, &error, Instant::now());
                    self.take_back_behind(record, Vec::new());
                    continue;
                }
                Err(_) => create.await,
            };
            match created? {
                Created::Yes => return Ok((id, record)),
                Created::Exists if new.id.is_some() => {
                    if self.has_begun(id.handle()).await? {
                        return Err(Error::Exists);
                    }
                }
                // Collisions of random 96-bit handles are all but impossible; the store checks all the same.
                Created::Exists => {}
            }
        }
    }

    /// Whether a session with that handle exists. Waits for one that is pending. One that stays pending is taken for a leftover
    /// of a crash, and deleted.
    pub(super) async fn has_begun(&self, handle: Handle) -> Result<bool, StoreError> {
        let (mut pending, asked) = (None, Instant::now());
        loop {
            let outlined = self.ask(Operation::Load, self.store.outlines(&[handle])).await?.pop();
            let (mark, life) = match outlined {
                Some(Outlined::Found(outline)) if !outline.life.is_pending() => return Ok(true),
                Some(Outlined::Found(outline)) => (outline.mark, outline.life),
                Some(Outlined::Unreadable) => return Ok(true),
                Some(Outlined::Missing) | None => return Ok(false),
            };
            if pending.is_some_and(|pending| pending != mark) {
                return Ok(false);
            }
            pending = Some(mark);
            if asked.elapsed() >= ABOUT_TO_BEGIN {
                // Only if it was not activated meanwhile.
                let last_activity = Some(life.last_activity);
                self.delete(&[Target { last_activity, ..Target::incarnation(handle, mark) }]).await?;
                return Ok(false);
            }
            sleep(LOOK).await;
        }
    }

    /// An id whose handle suits the store, if one is found within [`DRAWS`].
    fn new_id(&self) -> SessionId {
        let mut id = SessionId::generate();
        for _ in 0..DRAWS {
            if self.store.suits(id.handle()) {
                break;
            }
            id = SessionId::generate();
        }
        id
    }

    /// Whether this id does not suit the store and another random one would.
    fn has_better_than(&self, id: &SessionId) -> bool {
        let suits = |id: &SessionId| self.store.suits(id.handle());
        !suits(id) && (0..DRAWS).any(|_| suits(&SessionId::generate()))
    }

    async fn create_in_place(
        self: &Arc<Self>,
        new: &NewSession,
        ttl: (Duration, TtlSource),
        user_id: &str,
    ) -> Result<(SessionId, Arc<Record>), Error> {
        for _ in 0..ATTEMPTS {
            if let Begun::Yes(id, record) = self.begin_in_place(new, ttl, user_id).await? {
                return Ok((id, record));
            }
        }
        Err(StoreError::Unavailable(Box::new(Lost)).into())
    }

    /// Creates a session of a user with a limit.
    ///
    /// The pending record is written before the place is claimed: otherwise others would take the place for that of an ended
    /// session. It is activated before the oldest sessions are evicted, so that none is evicted for a creation that fails. To
    /// release its place, others delete the record first, so that the activation finds nothing.
    async fn begin_in_place(
        self: &Arc<Self>,
        new: &NewSession,
        ttl: (Duration, TtlSource),
        user_id: &str,
    ) -> Result<Begun, Error> {
        let (id, pending) = self.insert(new, ttl, true).await?;
        let handle = id.handle();
        let this = Target::incarnation(handle, pending.mark);
        // With an external id, the place may be left from the previous session with that id.
        let places = match self.reserve(user_id, handle, id.is_external()).await {
            Ok(places) => places,
            Err(error) => {
                // If this fails too, the record expires. The session may have had a place already, beyond the limit.
                if self.delete(&[this]).await.is_ok() && id.is_external() {
                    self.release(user_id, &[handle]).await;
                }
                return Err(error);
            }
        };
        let created_at = pending.created_at;
        let times = self.rules.reset(&pending.life(), created_at);
        let begin = Change::touch(self.clock.now(), Times { last_activity: created_at, ..times });
        let begun = match self.write(&pending, Unless::Gone, &begin).await {
            Ok(Updated::Done { record, .. }) => record,
            Ok(Updated::Missing | Updated::Conflict(_)) => {
                if self.was_evicted(user_id, &places).await? {
                    // Evicted by a later session: report success, as the eviction might have come just after the reply.
                    return Ok(Begun::Yes(id, Arc::new(begin.applied_to(&pending))));
                }
                // The expired record may still be stored.
                self.delete(&[this]).await?;
                self.release(user_id, &[handle]).await;
                return Ok(Begun::Lost);
            }
            Err(error) => {
                self.take_back_behind(pending, Vec::new());
                return Err(error.into());
            }
        };
        // Others may have taken its place for that of the previous session with this id. So the place is claimed once more, as a
        // login does.
        let again = if id.is_external() { self.reserve(user_id, handle, true).await } else { Ok(places) };
        let places = match again {
            Ok(places) => places,
            Err(error) => {
                let is_full = matches!(error, Error::LimitReached { .. });
                if is_full && self.delete(&[this]).await.is_ok() {
                    self.release(user_id, &[handle]).await;
                } else {
                    self.take_back_behind(begun, Vec::new());
                }
                return Err(error);
            }
        };
        match self.evict(user_id, &places, handle).await {
            Ok(()) => Ok(Begun::Yes(id, begun)),
            Err(NotEvicted { asked, error }) => {
                self.take_back_behind(begun, asked);
                Err(error.into())
            }
        }
    }

    pub(super) fn take_back_behind(self: &Arc<Self>, record: Arc<Record>, asked: Vec<Target>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            // A command that was not acknowledged may still be in flight.
            sleep(ON_ITS_WAY).await;
            this.take_back(&record, &asked).await;
        });
    }

    /// Deletes a session whose activation failed but may have been written. No client knows its id, and it would block a place
    /// for its whole lifetime. It is retried: a store that is unreachable is either back soon, or out for all users.
    ///
    /// If one of the sessions in `asked`, which were to be evicted for it, has ended, the new one stays: no eviction
    /// without a new session.
    async fn take_back(&self, record: &Record, asked: &[Target]) {
        let target = Target::incarnation(record.handle, record.mark);
        for pause in RETRIES.map(Duration::from_secs) {
            match self.has_any_ended(asked).await {
                Ok(true) => return,
                Ok(false) if self.delete(&[target]).await.is_ok() => {
                    if let Some(user_id) = &record.user_id {
                        self.release(user_id, &[record.handle]).await;
                    }
                    return;
                }
                _ => sleep(pause).await,
            }
        }
        tracing::warn!(handle = %record.handle, "a session that could not be begun may live on, and nobody has its id");
    }
}
