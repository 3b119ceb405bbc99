//! How a session begins.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Sessions, check_user_id, client_ip, to_the_end};
use crate::data::Data;
use crate::error::Error;
use crate::events::Kind;
use crate::id::{Handle, SessionId};
use crate::metrics::Operation;
use crate::record::{Change, Record};
use crate::store::{Created, Expected, StoreError, Updated};

/// How long a session lives that has no place among its user's yet: longer than taking one takes, and short, because
/// one whose process ends meanwhile stands in the way of others so long.
const PENDING: Duration = Duration::from_secs(10);

/// What a session begins with.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Whose it is; `None` for an anonymous visitor.
    pub user_id: Option<String>,
    /// The application's data.
    pub data: Data,
    /// What is known of the client: a JSON object.
    pub metadata: Data,
    /// Its own time to live instead of `session_ttl`: at least a second, at most `max_ttl`.
    pub ttl: Option<Duration>,
    /// An id that the caller chose; `None` for one of ours.
    pub id: Option<SessionId>,
    /// Whose share of `new_rate` it takes; `None` where nobody knows.
    pub address: Option<IpAddr>,
}

/// It took longer than a session may be without a place.
#[derive(Debug, thiserror::Error)]
#[error("the store took too long to begin a session")]
struct TooSlow;

impl Sessions {
    /// Begins a session.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TooLarge`], [`Error::TooMany`], [`Error::Exists`], [`Error::LimitReached`],
    /// [`Error::Contended`], [`Error::Store`].
    pub async fn create(self: &Arc<Self>, new: NewSession) -> Result<(SessionId, Arc<Record>), Error> {
        let ttl = self.admit(&new)?;
        let created = match &new.user_id {
            Some(user_id) if self.rules.max_sessions_per_user.is_some() => {
                let (this, user_id) = (Arc::clone(self), user_id.clone());
                // Boxed, so that sessions of those who may have any number are small on their way.
                let steps = Box::pin(async move { this.create_in_place(&new, ttl, &user_id).await });
                to_the_end(steps).await
            }
            _ => self.insert(&new, ttl, None).await,
        };
        created.inspect(|(_, record)| {
            self.metrics.created.increment();
            self.tell(Kind::Created, record.handle, record.user_id.as_deref());
        })
    }

    /// Whether a session may begin so, and how long it lives then. It takes its share of `new_rate`.
    fn admit(&self, new: &NewSession) -> Result<Duration, Error> {
        if let Some(user_id) = &new.user_id {
            check_user_id(user_id)?;
        }
        self.check_size("data", &new.data)?;
        self.check_size("metadata", &new.metadata)?;
        if self.rules.bind_ip && client_ip(&new.metadata).is_err() {
            return Err(Error::Invalid("metadata.client_ip: expected an IP address (bind_ip)".into()));
        }
        let ttl = self.time_to_live(new.ttl)?;
        if let Some(rates) = &self.rates {
            rates
                .take(new.address, new.user_id.as_deref(), self.clock.now())
                .map_err(|retry_after| Error::TooMany { retry_after })?;
        }
        Ok(ttl)
    }

    fn time_to_live(&self, own: Option<Duration>) -> Result<Duration, Error> {
        let max = self.rules.max_ttl;
        match own {
            None => Ok(self.rules.session_ttl),
            Some(ttl) if ttl >= Duration::from_secs(1) && ttl <= max => Ok(ttl),
            Some(_) => Err(Error::Invalid(format!(
                "ttl_seconds: expected a whole number from 1 to {} (max_ttl)",
                max.as_secs()
            ))),
        }
    }

    /// Writes the record of a new session, which lives at most for `at_most`.
    pub(super) async fn insert(
        &self,
        new: &NewSession,
        ttl: Duration,
        at_most: Option<Duration>,
    ) -> Result<(SessionId, Arc<Record>), Error> {
        loop {
            let id = new.id.clone().unwrap_or_else(SessionId::generate);
            let now = self.clock.now();
            let times = self.rules.reset(now, ttl, now);
            let record = Arc::new(Record {
                handle: id.handle(),
                secret_hash: id.secret_hash(),
                user_id: new.user_id.clone(),
                auth_time: new.user_id.as_ref().map(|_| now),
                data: new.data.clone(),
                metadata: new.metadata.clone(),
                created_at: now,
                updated_at: now,
                reset_at: times.reset_at,
                last_activity: times.last_activity,
                ttl,
                expires_at: at_most.map_or(times.expires_at, |most| times.expires_at.min(now.after(most))),
                version: 1,
            });
            match self.ask(Operation::Create, self.store.create(Arc::clone(&record), now)).await? {
                Created::Yes => return Ok((id, record)),
                Created::Exists if new.id.is_some() => return Err(Error::Exists),
                // Two equal handles of 96 random bits are all but impossible; the store decides all the same.
                Created::Exists => {}
            }
        }
    }

    /// Begins a session of a user who may have so many.
    ///
    /// It is there before it takes its place, so that nobody takes its handle for that of a session that has ended; and
    /// those that give way end before it gets its whole time, so that there are never too many.
    async fn create_in_place(
        self: &Arc<Self>,
        new: &NewSession,
        ttl: Duration,
        user_id: &str,
    ) -> Result<(SessionId, Arc<Record>), Error> {
        let (id, pending) = self.insert(new, ttl, Some(PENDING)).await?;
        let placed = self.take_place(user_id, id.handle()).await;
        if let Err(error) = placed {
            // If that fails, too, it ends by itself.
            let _ = self.delete(id.handle()).await;
            return Err(error);
        }
        let now = self.clock.now();
        let times = self.rules.reset(pending.created_at, ttl, pending.created_at);
        let begin = Change::touch(now, times);
        match self.write(id.handle(), Expected::holder(id.secret_hash()), &begin).await {
            Ok(Updated::Done(record)) => Ok((id, record)),
            Err(error) => {
                let (this, handle) = (Arc::clone(self), id.handle());
                tokio::spawn(async move { this.take_back(handle).await });
                Err(error.into())
            }
            Ok(Updated::Missing | Updated::Conflict(_)) => {
                self.release(user_id, &[id.handle()]).await;
                if !pending.is_live(now) {
                    return Err(StoreError::Unavailable(Box::new(TooSlow)).into());
                }
                // A later session of the user has ended it, as it might have a moment after the answer.
                Ok((id, Arc::new(begin.applied_to(&pending))))
            }
        }
    }

    /// Deletes a session whose beginning may have been written although it failed: nobody knows its id, and it would
    /// keep its place for all its time. A store that was away is back soon, or all its users wait anyway.
    async fn take_back(&self, handle: Handle) {
        for pause in [1, 2, 4, 8, 16, 32, 64].map(Duration::from_secs) {
            if self.delete(handle).await.is_ok() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
        tracing::warn!(%handle, "a session that could not be begun may live on, and nobody has its id");
    }
}
