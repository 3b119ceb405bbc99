//! A user's sessions, and everybody's: listed, counted, ended by their handles.

use std::sync::Arc;
use std::time::Duration;

use super::{Credentials, Sessions, check_user_id, to_the_end};
use crate::error::Error;
use crate::events::Kind;
use crate::id::Handle;
use crate::metrics::Operation;
use crate::record::Record;
use crate::store::{Listing, Page, StoreError};

/// Sessions that are ended at a time.
const PAGE: usize = 250;

/// Which of a user's sessions are to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// This one.
    One(Handle),
    /// All but the one that asks.
    Others,
}

/// How many live sessions are so old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByAge {
    /// Younger than this, and not younger than the one before; `None` for the rest.
    pub below: Option<Duration>,
    /// So many.
    pub sessions: u64,
}

/// Counts of sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Sessions that live.
    pub active: u64,
    /// Records past their time that are still stored.
    pub expired: u64,
    /// The live ones, by the time since they began.
    pub by_age: Vec<ByAge>,
}

/// Bounds of the classes of age.
const AGES: [Duration; 4] = [
    Duration::from_secs(3_600),
    Duration::from_secs(86_400),
    Duration::from_secs(7 * 86_400),
    Duration::from_secs(30 * 86_400),
];

impl Sessions {
    /// A page of live sessions: of all, or of one user's.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, listing: Listing<'_>) -> Result<Page, StoreError> {
        self.ask(Operation::List, self.store.list(listing, self.clock.now())).await
    }

    /// The session that asks, and a page of its user's sessions; an anonymous one has only itself.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn mine(
        &self,
        credentials: Credentials<'_>,
        after: Option<Handle>,
        limit: usize,
    ) -> Result<(Arc<Record>, Page), Error> {
        let own = self.get(credentials).await?;
        let page = match own.user_id.as_deref() {
            Some(user_id) => self.list(Listing { user_id: Some(user_id), after, limit }).await?,
            None => Page { records: vec![Arc::clone(&own)], next: None },
        };
        Ok((own, page))
    }

    /// Ends sessions of the user whose session asks; the handles of those that it ended. One that does not live and one
    /// of another user are the same: nothing ends.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the one that asks does not live; [`Error::Store`].
    pub async fn end_mine(
        self: &Arc<Self>,
        credentials: Credentials<'_>,
        ending: Ending,
    ) -> Result<Vec<Handle>, Error> {
        let own = self.find(credentials).await?;
        match (ending, own.user_id.clone()) {
            (Ending::Others, None) => Ok(Vec::new()),
            (Ending::Others, Some(user_id)) => self.end_all_of(user_id, Some(own.handle)).await,
            (Ending::One(handle), user_id) => {
                let Some(other) = self.load(handle).await? else { return Ok(Vec::new()) };
                let is_own = other.handle == own.handle || (user_id.is_some() && other.user_id == user_id);
                Ok(if is_own && self.end_one(&other).await? { vec![handle] } else { Vec::new() })
            }
        }
    }

    /// Ends every session of a user; the handles of those that it ended.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Store`]; what ended before stays ended.
    pub async fn end_user(self: &Arc<Self>, user_id: String) -> Result<Vec<Handle>, Error> {
        check_user_id(&user_id)?;
        self.end_all_of(user_id, None).await
    }

    /// Ends the sessions with these handles; those that it ended.
    ///
    /// # Errors
    /// [`Error::Store`]; what ended before stays ended.
    pub async fn end_handles(self: &Arc<Self>, handles: Vec<Handle>) -> Result<Vec<Handle>, Error> {
        let this = Arc::clone(self);
        to_the_end(async move {
            let mut ended = Vec::new();
            for handle in handles {
                let is_ended = match this.load(handle).await {
                    Ok(Some(record)) => this.end_one(&record).await?,
                    // One that is past its time does not live, and so does not end.
                    Ok(None) => false,
                    // What cannot be read can end; only its place is left to the clean-up.
                    Err(StoreError::Unusable(_)) => this.end_unread(handle, None).await?,
                    Err(error) => return Err(error.into()),
                };
                ended.extend(is_ended.then_some(handle));
            }
            Ok(ended)
        })
        .await
    }

    async fn end_all_of(
        self: &Arc<Self>,
        user_id: String,
        except: Option<Handle>,
    ) -> Result<Vec<Handle>, Error> {
        let this = Arc::clone(self);
        to_the_end(async move {
            let (mut ended, mut after) = (Vec::new(), None);
            loop {
                let page = this.list(Listing { user_id: Some(&user_id), after, limit: PAGE }).await?;
                for record in page.records.iter().filter(|record| Some(record.handle) != except) {
                    if this.end_one(record).await? {
                        ended.push(record.handle);
                    }
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => return Ok(ended),
                }
            }
        })
        .await
    }

    async fn end_one(&self, record: &Record) -> Result<bool, StoreError> {
        self.end_unread(record.handle, record.user_id.as_deref()).await
    }

    async fn end_unread(&self, handle: Handle, user_id: Option<&str>) -> Result<bool, StoreError> {
        let ended = self.delete(handle).await?;
        if ended {
            self.metrics.ended.increment();
            self.tell(Kind::Ended, handle, user_id);
            if let Some(user_id) = user_id {
                self.release(user_id, &[handle]).await;
            }
        }
        Ok(ended)
    }

    /// Counts sessions. It looks at all of them.
    ///
    /// # Errors
    /// The store's.
    pub async fn stats(&self) -> Result<Stats, StoreError> {
        let now = self.clock.now();
        let counts = self.store.counts(now).await?;
        let since = AGES.map(|age| now.before(age));
        // Those that began a moment ago are among the younger of each bound.
        let younger = self.store.counts_since(now, &since).await?;
        let mut by_age = Vec::new();
        let mut counted = 0;
        for (below, sessions) in AGES.iter().map(|age| Some(*age)).zip(younger).chain([(None, counts.active)])
        {
            by_age.push(ByAge { below, sessions: sessions.saturating_sub(counted) });
            counted = sessions;
        }
        Ok(Stats { active: counts.active, expired: counts.expired, by_age })
    }

    /// Ends every session; how many records there were.
    ///
    /// # Errors
    /// The store's; what was deleted before stays deleted.
    pub async fn clear(self: &Arc<Self>) -> Result<u64, Error> {
        let this = Arc::clone(self);
        to_the_end(async move {
            let cleared = this.store.clear().await?;
            this.metrics.ended.add(cleared);
            this.events.tell_cleared(this.clock.now());
            Ok(cleared)
        })
        .await
    }
}
