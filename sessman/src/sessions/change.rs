//! What becomes of a session: changed, touched, given a new id, ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::completion::{to_the_end, to_the_end_until};
use super::{Credentials, NoAnswer, RETRIES, STORE_DEADLINE, Sessions, check_user_id};
use crate::data::Data;
use crate::error::Error;
use crate::events::Kind;
use crate::id::{Handle, SessionId};
use crate::mark::Mark;
use crate::record::{Change, Record};
use crate::rules::UpdateMode;
use crate::store::{StoreError, Target, Unless, Updated};

/// How often a merge starts again because of a change from another process.
const MERGE_ATTEMPTS: usize = 64;

/// How long the end of a session whose id may be used again waits for its place to be free, once the session is gone.
const RELEASE_LIMIT: Duration = Duration::from_millis(200);

/// So long before its deadline a login is answered that has got its new id, whatever is left to do.
const ANSWERING: Duration = Duration::from_millis(100);

/// New data, and what to do with it.
#[derive(Debug, Clone)]
pub enum Update {
    /// It stands alone.
    Replace(Data),
    /// It is merged into the old (JSON Merge Patch, RFC 7396).
    Merge(Data),
}

impl Update {
    /// What `mode` does with `data`.
    pub fn new(mode: UpdateMode, data: Data) -> Self {
        match mode {
            UpdateMode::Replace => Self::Replace(data),
            UpdateMode::Merge => Self::Merge(data),
        }
    }
}

/// Which versions of a session a change is meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing was said.
    None,
    /// Whatever version it has.
    Any,
    /// Only these versions, each of one incarnation.
    Versions(Vec<(u64, Mark)>),
}

impl Sessions {
    /// Changes a session's data, and its time to live begins again.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Changed`], [`Error::VersionRequired`], [`Error::Contended`], [`Error::Data`],
    /// [`Error::TooLarge`], [`Error::Store`].
    pub async fn update(
        &self,
        credentials: Credentials<'_>,
        update: &Update,
        precondition: &Precondition,
    ) -> Result<Arc<Record>, Error> {
        if self.rules.require_match && *precondition == Precondition::None {
            return Err(Error::VersionRequired);
        }
        self.in_time(self.update_in_turn(credentials, update, precondition)).await
    }

    async fn update_in_turn(
        &self,
        credentials: Credentials<'_>,
        update: &Update,
        precondition: &Precondition,
    ) -> Result<Arc<Record>, Error> {
        let id = credentials.id;
        // One at a time within this process: merges need not fail on each other only to start again.
        let _turn = self.turns.take(id.handle()).await;
        for _ in 0..MERGE_ATTEMPTS {
            let record = self.find(credentials).await?;
            let versions = match precondition {
                Precondition::Versions(versions) => Some(versions),
                Precondition::None | Precondition::Any => None,
            };
            if versions.is_some_and(|versions| !versions.contains(&(record.version, record.mark))) {
                return Err(Error::Changed { version: record.version });
            }
            let data = match update {
                Update::Replace(data) => data.clone(),
                Update::Merge(patch) => {
                    self.check_size("the patch", patch)?;
                    record.data.merged_apart(patch).await?
                }
            };
            self.check_size("data", &data)?;
            // What depends on what was read is written only if that is still so.
            let depends = matches!(update, Update::Merge(_)) || versions.is_some();
            let unless = if depends { Unless::Changed } else { Unless::Gone };
            let change = Change { data: Some(data), ..self.reset(&record) };
            match self.write(&record, unless, &change).await? {
                Updated::Done { record, .. } => {
                    self.tell(Kind::Updated, record.handle, record.user_id.as_deref());
                    return Ok(record);
                }
                Updated::Missing => return Err(Error::NotFound),
                Updated::Conflict(_) => {}
            }
        }
        Err(Error::Contended)
    }

    /// Lets a session's time to live begin again.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn touch(&self, credentials: Credentials<'_>) -> Result<Arc<Record>, Error> {
        self.in_time(async {
            let record = self.find(credentials).await?;
            let change = self.reset(&record);
            self.change(&record, &change).await
        })
        .await
    }

    /// Gives a session another id; the old one is dead at once, and its time to live begins again. With `login` an
    /// anonymous session becomes that user's, or its user logs in once more.
    ///
    /// Once the old id is dead the caller hears the new one: what a login has to do after that goes on behind its answer
    /// where a store fails. The old id lives on after an error, unless the store did not answer the one write that replaces it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::External`], [`Error::OtherUser`], and for a login what
    /// [`create`](Self::create) has for a user.
    pub async fn rotate(
        self: &Arc<Self>,
        credentials: Credentials<'_>,
        login: Option<String>,
    ) -> Result<(SessionId, Arc<Record>), Error> {
        let until = Instant::now() + STORE_DEADLINE;
        let record = self.find(credentials).await?;
        let rotated = credentials.id.rotated().ok_or(Error::External)?;
        if let Some(user_id) = &login {
            check_user_id(user_id)?;
            if record.user_id.as_ref().is_some_and(|own| own != user_id) {
                return Err(Error::OtherUser);
            }
        }
        let (this, secret_hash) = (Arc::clone(self), rotated.secret_hash());
        let steps = async move {
            let mut change =
                Change { secret_hash: Some(secret_hash), user_id: login.clone(), ..this.reset(&record) };
            match login.filter(|_| record.user_id.is_none()) {
                Some(user_id) => {
                    // Nobody has used it yet as this user's.
                    change.times = this.rules.reset(&record.life(), change.now);
                    this.log_in(&record, &change, &user_id, until).await
                }
                None => this.change(&record, &change).await,
            }
        };
        // Boxed, so that a session that only gets another id is small on its way.
        let record = to_the_end_until(until, Box::pin(steps), |_| async {}).await?;
        self.tell(Kind::Rotated, record.handle, record.user_id.as_deref());
        Ok((rotated, record))
    }

    /// Makes an anonymous session a user's.
    ///
    /// A place is taken before, so that none lives without one if this process ends in between; others count it once the
    /// record is the user's, and may take it away until then. So it is taken once more after, as the last: whoever comes
    /// later sees it.
    async fn log_in(
        self: &Arc<Self>,
        record: &Record,
        change: &Change,
        user_id: &str,
        until: Instant,
    ) -> Result<Arc<Record>, Error> {
        self.reserve(user_id, record.handle, false).await?;
        if Instant::now() >= until {
            // The caller was told that it failed, and has the old id.
            self.release(user_id, &[record.handle]).await;
            return Err(StoreError::Unavailable(Box::new(NoAnswer)).into());
        }
        let changed = match self.change(record, change).await {
            Ok(changed) => changed,
            Err(error) => {
                // If it is unknown what became of it, it may be the user's, and then keeps its place.
                if matches!(error, Error::NotFound) {
                    self.release(user_id, &[record.handle]).await;
                }
                return Err(error);
            }
        };
        let answering = until.checked_sub(ANSWERING).unwrap_or(until);
        match timeout_at(answering, self.take_last_place(&changed, user_id)).await {
            Ok(Ok(())) => {}
            Ok(Err(limit @ Error::LimitReached { .. })) => return Err(limit),
            _ => self.take_last_place_behind(Arc::clone(&changed), user_id.to_owned()),
        }
        Ok(changed)
    }

    fn take_last_place_behind(self: &Arc<Self>, record: Arc<Record>, user_id: String) {
        let this = Arc::clone(self);
        // If it never comes to that, the session has the place that it took first, and the user's next login counts it.
        tokio::spawn(async move {
            for pause in RETRIES.map(Duration::from_secs) {
                tokio::time::sleep(pause).await;
                match this.take_last_place(&record, &user_id).await {
                    Ok(()) | Err(Error::LimitReached { .. }) => return,
                    Err(error) => tracing::debug!(%error, "the last place of a login is taken later"),
                }
            }
        });
    }

    /// Gives a session that has become the user's its place, and has the oldest make room.
    ///
    /// # Errors
    /// [`Error::LimitReached`]: others took all places meanwhile, and it has ended. Others: it is to be done again.
    async fn take_last_place(&self, record: &Record, user_id: &str) -> Result<(), Error> {
        match self.reserve(user_id, record.handle, true).await {
            Ok(places) => {
                self.evict(user_id, &places, record.handle).await.map_err(|failed| failed.error.into())
            }
            Err(limit @ Error::LimitReached { .. }) => {
                // The old id is gone already.
                self.delete(&[Target::incarnation(record.handle, record.mark)]).await?;
                self.release(user_id, &[record.handle]).await;
                self.tell(Kind::Ended, record.handle, Some(user_id));
                Err(limit)
            }
            Err(error) => Err(error),
        }
    }

    /// Ends a session; nothing brings it back.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn end(self: &Arc<Self>, credentials: Credentials<'_>) -> Result<(), Error> {
        self.in_time(async {
            // The read keeps a session that is past its time from being ended as if it lived.
            let record = self.find(credentials).await?;
            let (this, is_external) = (Arc::clone(self), credentials.id.is_external());
            to_the_end(async move {
                let target = Target {
                    secret_hash: Some(record.secret_hash),
                    ..Target::incarnation(record.handle, record.mark)
                };
                if this.delete(&[target]).await?.is_empty() {
                    return Err(Error::NotFound);
                }
                this.metrics.ended.increment();
                this.tell(Kind::Ended, record.handle, record.user_id.as_deref());
                if let Some(user_id) = record.user_id.clone() {
                    let released = this.release_behind(user_id, record.handle);
                    // An id that may be used again must not lose the place that its next session takes.
                    if is_external {
                        let _ = timeout(RELEASE_LIMIT, released).await;
                    }
                }
                Ok(())
            })
            .await
        })
        .await
    }

    /// Takes a place away behind the answer: the session is gone, whatever becomes of its place.
    fn release_behind(self: &Arc<Self>, user_id: String, handle: Handle) -> tokio::task::JoinHandle<()> {
        let this = Arc::clone(self);
        tokio::spawn(async move { this.release(&user_id, &[handle]).await })
    }

    /// The change with which the time to live of a session starts again.
    pub(super) fn reset(&self, record: &Record) -> Change {
        let now = self.clock.now();
        Change::touch(now, self.rules.renewed(&record.life(), now))
    }

    /// Makes a change whatever version the session has.
    pub(super) async fn change(&self, read: &Record, change: &Change) -> Result<Arc<Record>, Error> {
        match self.write(read, Unless::Gone, change).await? {
            Updated::Done { record, .. } => Ok(record),
            Updated::Missing | Updated::Conflict(_) => Err(Error::NotFound),
        }
    }
}
