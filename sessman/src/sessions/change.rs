//! What becomes of a session: changed, touched, given a new id, ended.

use std::sync::Arc;

use super::{Credentials, Sessions, check_user_id, to_the_end};
use crate::data::Data;
use crate::error::Error;
use crate::events::Kind;
use crate::id::SessionId;
use crate::metrics::Operation;
use crate::record::{Change, Record};
use crate::rules::UpdateMode;
use crate::store::{Expected, Updated};

/// How often a merge starts again because of a change from another process.
const MERGE_ATTEMPTS: usize = 64;

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
    /// Only these.
    Versions(Vec<u64>),
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
            if versions.is_some_and(|versions| !versions.contains(&record.version)) {
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
            let expected =
                Expected { version: depends.then_some(record.version), ..Expected::holder(id.secret_hash()) };
            let change = Change { data: Some(data), ..self.reset(&record) };
            match self.write(id.handle(), expected, &change).await? {
                Updated::Done(record) => {
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
            self.change(credentials.id, &change).await
        })
        .await
    }

    /// Gives a session another id; the old one is dead at once, and its time to live begins again. With `login` an
    /// anonymous session becomes that user's, or its user logs in once more.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::External`], [`Error::OtherUser`], and for a login what
    /// [`create`](Self::create) has for a user.
    pub async fn rotate(
        self: &Arc<Self>,
        credentials: Credentials<'_>,
        login: Option<String>,
    ) -> Result<(SessionId, Arc<Record>), Error> {
        let record = self.find(credentials).await?;
        let rotated = credentials.id.rotated().ok_or(Error::External)?;
        if let Some(user_id) = &login {
            check_user_id(user_id)?;
            if record.user_id.as_ref().is_some_and(|own| own != user_id) {
                return Err(Error::OtherUser);
            }
        }
        let (this, id, secret_hash) = (Arc::clone(self), credentials.id.clone(), rotated.secret_hash());
        let record = to_the_end(async move {
            let newcomer = login.clone().filter(|_| record.user_id.is_none());
            if let Some(user_id) = &newcomer {
                // As in `create`: it is there, takes its place, and only then is the user's.
                this.take_place(user_id, id.handle()).await?;
            }
            // Taking a place takes its time, after which the session may have ended.
            let change = Change { secret_hash: Some(secret_hash), user_id: login, ..this.reset(&record) };
            let changed = this.change(&id, &change).await;
            // If it is unknown what became of it, it may be the user's, and then keeps its place.
            if let (Some(user_id), Err(Error::NotFound)) = (&newcomer, &changed) {
                this.release(user_id, &[id.handle()]).await;
            }
            changed
        });
        let record = record.await?;
        self.tell(Kind::Rotated, record.handle, record.user_id.as_deref());
        Ok((rotated, record))
    }

    /// Ends a session; nothing brings it back.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn end(self: &Arc<Self>, credentials: Credentials<'_>) -> Result<(), Error> {
        self.in_time(async {
            // The read keeps a session that is past its time from being ended as if it lived.
            let record = self.find(credentials).await?;
            let (this, secret_hash) = (Arc::clone(self), credentials.id.secret_hash());
            to_the_end(async move {
                let handle = record.handle;
                if !this.ask(Operation::Delete, this.store.delete(handle, Some(secret_hash))).await? {
                    return Err(Error::NotFound);
                }
                this.metrics.ended.increment();
                this.tell(Kind::Ended, handle, record.user_id.as_deref());
                if let Some(user_id) = &record.user_id {
                    this.release(user_id, &[handle]).await;
                }
                Ok(())
            })
            .await
        })
        .await
    }

    /// The change with which the time to live of a session begins again.
    fn reset(&self, record: &Record) -> Change {
        let now = self.clock.now();
        Change::touch(now, self.rules.reset(record.created_at, record.ttl, now))
    }

    /// Makes a change whatever version the session has.
    async fn change(&self, id: &SessionId, change: &Change) -> Result<Arc<Record>, Error> {
        match self.write(id.handle(), Expected::holder(id.secret_hash()), change).await? {
            Updated::Done(record) => Ok(record),
            Updated::Missing | Updated::Conflict(_) => Err(Error::NotFound),
        }
    }
}
