//! The engine: what can be done with sessions.

mod maintenance;
mod turns;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::data::Data;
use crate::error::Error;
use crate::id::SessionId;
use crate::record::{Change, Record};
use crate::rules::{Rules, UpdateMode};
use crate::store::{Created, Expected, Store, StoreError, Updated};
use crate::time::Clock;
use turns::Turns;

/// A store that has not answered by then is away.
pub const STORE_DEADLINE: Duration = Duration::from_secs(2);
/// How often a merge starts again because of a change from another process.
const MERGE_ATTEMPTS: usize = 64;
/// Characters that a user id may have.
const MAX_USER_ID: usize = 256;

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
}

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
    /// Whatever version it has.
    None,
    /// Only these.
    Versions(Vec<u64>),
}

/// Sessions in a store, under rules.
///
/// Every method needs a tokio runtime with time around it. One that takes a `user_id` finds the session only if
/// it is that user's.
pub struct Sessions {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    rules: Rules,
    turns: Turns,
}

impl Sessions {
    /// Sessions in `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, rules: Rules) -> Self {
        Self { store, clock, rules, turns: Turns::default() }
    }

    /// The rules they follow.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Begins a session.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TooLarge`], [`Error::Store`].
    pub async fn create(&self, new: NewSession) -> Result<(SessionId, Arc<Record>), Error> {
        if let Some(user_id) = &new.user_id {
            check_user_id(user_id)?;
        }
        self.check_size("data", &new.data)?;
        self.check_size("metadata", &new.metadata)?;
        let ttl = new.ttl.unwrap_or(self.rules.session_ttl);
        if new.ttl.is_some() && (ttl < Duration::from_secs(1) || ttl > self.rules.max_ttl) {
            let max = self.rules.max_ttl.as_secs();
            return Err(Error::Invalid(format!(
                "ttl_seconds: expected a whole number from 1 to {max} (max_ttl)"
            )));
        }
        loop {
            let id = SessionId::generate();
            let now = self.clock.now();
            let times = self.rules.reset(now, ttl);
            let record = Arc::new(Record {
                handle: id.handle(),
                secret_hash: id.secret_hash(),
                user_id: new.user_id.clone(),
                data: new.data.clone(),
                metadata: new.metadata.clone(),
                created_at: now,
                updated_at: now,
                reset_at: times.reset_at,
                last_activity: times.last_activity,
                ttl,
                expires_at: times.expires_at,
                version: 1,
            });
            // Two equal handles of 96 random bits are all but impossible; the store decides all the same.
            if in_time(self.store.create(Arc::clone(&record), now)).await? == Created::Yes {
                return Ok((id, record));
            }
        }
    }

    /// Reads a session.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn get(&self, id: &SessionId, user_id: Option<&str>) -> Result<Arc<Record>, Error> {
        let record = in_time(self.store.load(id.handle(), self.clock.now())).await?.ok_or(Error::NotFound)?;
        let is_users = user_id.is_none_or(|user_id| record.user_id.as_deref() == Some(user_id));
        if record.secret_hash == id.secret_hash() && is_users { Ok(record) } else { Err(Error::NotFound) }
    }

    /// Changes a session's data, and its time to live begins again.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Changed`], [`Error::Contended`], [`Error::Data`], [`Error::TooLarge`],
    /// [`Error::Store`].
    pub async fn update(
        &self,
        id: &SessionId,
        user_id: Option<&str>,
        update: &Update,
        precondition: &Precondition,
    ) -> Result<Arc<Record>, Error> {
        // One at a time within this process: merges need not fail on each other only to start again.
        let _turn = self.turns.take(id.handle()).await;
        for _ in 0..MERGE_ATTEMPTS {
            let record = self.get(id, user_id).await?;
            if let Precondition::Versions(versions) = precondition
                && !versions.contains(&record.version)
            {
                return Err(Error::Changed { version: record.version });
            }
            let data = match update {
                Update::Replace(data) => data.clone(),
                Update::Merge(patch) => record.data.merged_with(patch),
            };
            self.check_size("data", &data)?;
            // What depends on what was read is written only if that is still so.
            let depends = matches!(update, Update::Merge(_)) || *precondition != Precondition::None;
            let expected =
                Expected { secret_hash: id.secret_hash(), version: depends.then_some(record.version) };
            let now = self.clock.now();
            let change = Change { data: Some(data), ..Change::touch(now, self.rules.reset(now, record.ttl)) };
            match in_time(self.store.update(id.handle(), expected, &change)).await? {
                Updated::Done(record) => return Ok(record),
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
    pub async fn touch(&self, id: &SessionId, user_id: Option<&str>) -> Result<Arc<Record>, Error> {
        let record = self.get(id, user_id).await?;
        let now = self.clock.now();
        let change = Change::touch(now, self.rules.reset(now, record.ttl));
        let expected = Expected { secret_hash: id.secret_hash(), version: None };
        match in_time(self.store.update(id.handle(), expected, &change)).await? {
            Updated::Done(record) => Ok(record),
            Updated::Missing | Updated::Conflict(_) => Err(Error::NotFound),
        }
    }

    /// Ends a session; nothing brings it back.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn end(&self, id: &SessionId, user_id: Option<&str>) -> Result<(), Error> {
        // The read keeps a session that is past its time from being ended as if it lived.
        self.get(id, user_id).await?;
        let deleted = in_time(self.store.delete(id.handle(), Some(id.secret_hash()))).await?;
        if deleted { Ok(()) } else { Err(Error::NotFound) }
    }

    /// Whether the store can be reached and written to.
    ///
    /// # Errors
    /// Why not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        in_time(self.store.ping()).await
    }

    /// Lets go of the store, after everything that was asked before is done.
    pub async fn close(&self) {
        self.store.close().await;
    }

    fn check_size(&self, what: &'static str, data: &Data) -> Result<(), Error> {
        let (length, limit) = (data.as_str().len(), self.rules.max_data_bytes);
        if length > limit { Err(Error::TooLarge { what, length, limit }) } else { Ok(()) }
    }
}

fn check_user_id(user_id: &str) -> Result<(), Error> {
    let length = user_id.chars().count();
    if length == 0 || length > MAX_USER_ID || user_id.chars().any(char::is_control) {
        return Err(Error::Invalid(
            "user_id: expected 1 to 256 characters, none of them a control character".into(),
        ));
    }
    Ok(())
}

/// A store call, or [`StoreError::Unavailable`] when it takes too long.
async fn in_time<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match tokio::time::timeout(STORE_DEADLINE, call).await {
        Ok(result) => result,
        Err(elapsed) => Err(StoreError::Unavailable(Box::new(elapsed))),
    }
}
