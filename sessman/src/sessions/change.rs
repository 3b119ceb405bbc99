//! Changes to an existing session: update, touch, rotate, log in, end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::amendment::Amendment;
use super::completion::{to_the_end, to_the_end_until};
use super::{Credentials, Key, NoAnswer, RETRIES, STORE_DEADLINE, Sessions, check_user_id};
use crate::data::Data;
use crate::error::Error;
use crate::events::Kind;
use crate::id::{Handle, SecretHash, SessionId};
use crate::mark::Mark;
use crate::record::{Change, Record};
use crate::rules::UpdateMode;
use crate::store::{StoreError, Target, Unless, Updated};

/// The most retries of a merge that conflicts with writes from other processes.
const MERGE_ATTEMPTS: usize = 64;

/// How long ending a session with an external id waits for its place to be released after the record is deleted.
const RELEASE_LIMIT: Duration = Duration::from_millis(200);

/// How long before its deadline a login whose id was rotated is answered, whatever work is left.
const ANSWERING: Duration = Duration::from_millis(100);

/// New data, and what to do with it.
#[derive(Debug, Clone)]
pub enum Update {
    /// Replaces the old data.
    Replace(Data),
    /// Merged into the old data (JSON Merge Patch, RFC 7396).
    Merge(Data),
}

impl Update {
    /// An update with `data`, in this `mode`.
    pub fn new(mode: UpdateMode, data: Data) -> Self {
        match mode {
            UpdateMode::Replace => Self::Replace(data),
            UpdateMode::Merge => Self::Merge(data),
        }
    }
}

/// The versions of a session that a change applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// No precondition was given.
    None,
    /// Any version.
    Any,
    /// One of these versions, each of one incarnation.
    Versions(Vec<(u64, Mark)>),
}

/// What a rotation does beside replacing the id.
#[derive(Debug, Clone, Default)]
pub struct Rotation {
    /// The user who logs in.
    pub login: Option<String>,
    /// An external id to move to; `None` for a generated one.
    pub to: Option<SessionId>,
    /// What else it sets.
    pub amendment: Amendment,
}

impl Rotation {
    /// A login of this user.
    pub fn login(user_id: String) -> Self {
        Self { login: Some(user_id), ..Self::default() }
    }
}

/// What the one write of a rotation sets.
pub(super) struct Step {
    secret_hash: SecretHash,
    login: Option<String>,
    amendment: Amendment,
}

impl Sessions {
    /// Changes a session's data and restarts its time to live.
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
        self.in_time(self.amend_in_turn(credentials, Some(update), None, precondition)).await
    }

    /// Like [`update`](Self::update), and sets what `amendment` names in the same write; the data may stay as it is.
    ///
    /// # Errors
    /// As for `update`, and [`Error::Invalid`].
    pub async fn amend(
        &self,
        credentials: Credentials<'_>,
        update: Option<&Update>,
        amendment: &Amendment,
        precondition: &Precondition,
    ) -> Result<Arc<Record>, Error> {
        if self.rules.require_match && update.is_some() && *precondition == Precondition::None {
            return Err(Error::VersionRequired);
        }
        // Boxed, so that the future of an update alone stays small.
        Box::pin(self.in_time(self.amend_in_turn(credentials, update, Some(amendment), precondition))).await
    }

    async fn amend_in_turn(
        &self,
        credentials: Credentials<'_>,
        update: Option<&Update>,
        amendment: Option<&Amendment>,
        precondition: &Precondition,
    ) -> Result<Arc<Record>, Error> {
        // Serialised within this process: concurrent merges would only conflict and retry.
        let _turn = self.turns.take(credentials.key.handle()).await;
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
                None => None,
                Some(Update::Replace(data)) => Some(data.clone()),
                Some(Update::Merge(patch)) => {
                    self.check_size("the patch", patch)?;
                    Some(record.data.merged_apart(patch).await?)
                }
            };
            if let Some(data) = &data {
                self.check_size("data", data)?;
            }
            let change = match amendment {
                // Boxed, so that the future of an update alone stays small.
                Some(amendment) => Box::pin(self.amended(&record, amendment)).await?,
                None => self.reset(&record),
            };
            let change = Change { data, ..change };
            // A change that depends on what was read is written only if the record is unchanged.
            let depends = matches!(update, Some(Update::Merge(_)))
                || versions.is_some()
                || amendment.is_some_and(|amendment| !amendment.is_empty());
            let unless = if depends { Unless::Changed } else { Unless::Gone };
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

    /// Restarts a session's time to live.
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

    /// Replaces a session's id (against session fixation) and restarts its time to live. The old id is revoked immediately.
    /// With a login, an anonymous session becomes that user's, or its user authenticates again. A session with an external id
    /// gets a generated one; the external id stays taken as long as the session lives. With [`Rotation::to`] the session moves to
    /// that external id, and gets another handle.
    ///
    /// Once the old id is revoked, the caller gets the new one: if the store fails in the later steps of a login, they are
    /// finished in the background. After an error the old id is still valid, unless the store did not acknowledge the one
    /// write that replaces it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`], [`Error::TooLarge`], [`Error::OtherUser`], [`Error::Contended`], with
    /// [`Rotation::to`] [`Error::Exists`], and for a login what
    /// [`create`](Self::create) has for a user.
    pub async fn rotate(
        self: &Arc<Self>,
        credentials: Credentials<'_>,
        rotation: Rotation,
    ) -> Result<(SessionId, Arc<Record>), Error> {
        let until = Instant::now() + STORE_DEADLINE;
        let Rotation { login, to, amendment } = rotation;
        let record = self.find(credentials).await?;
        let rotated = to.unwrap_or_else(|| SessionId::generated_for(record.handle));
        if rotated.secret_hash() == record.secret_hash {
            return Err(Error::Exists);
        }
        // Before anything is written.
        self.amended(&record, &amendment).await?;
        if let Some(user_id) = &login {
            check_user_id(user_id)?;
            if record.user_id.as_ref().is_some_and(|own| own != user_id) {
                return Err(Error::OtherUser);
            }
        }
        let (this, secret_hash, id) = (Arc::clone(self), rotated.secret_hash(), rotated.clone());
        let steps = async move {
            let step = Step { secret_hash, login, amendment };
            if id.handle() != record.handle {
                return this.move_to(&id, record, &step, until).await;
            }
            match step.login.clone().filter(|_| record.user_id.is_none()) {
                Some(user_id) => this.log_in(record, &step, &user_id, until).await,
                None => this.take_step(record, &step).await,
            }
        };
        // Boxed, so that the future of a plain rotation stays small.
        let record = to_the_end_until(until, Box::pin(steps), |_| async {}).await?;
        self.tell(Kind::Rotated, record.handle, record.user_id.as_deref());
        Ok((rotated, record))
    }

    /// Assigns an anonymous session to a user.
    ///
    /// The place is claimed before the write, so that a crash in between leaves no session without a place. Until the record
    /// belongs to the user, other processes do not count that place and may release it. So it is claimed again after the
    /// write, as the last place: every later claim sees it.
    async fn log_in(
        self: &Arc<Self>,
        record: Arc<Record>,
        step: &Step,
        user_id: &str,
        until: Instant,
    ) -> Result<Arc<Record>, Error> {
        let handle = record.handle;
        self.reserve(user_id, handle, false).await?;
        if Instant::now() >= until {
            // The caller got an error and still holds the old id.
            self.release(user_id, &[handle]).await;
            return Err(StoreError::Unavailable(Box::new(NoAnswer)).into());
        }
        let changed = match self.take_step(record, step).await {
            Ok(changed) => changed,
            Err(error) => {
                // If the outcome is unknown, the record may already be the user's, and then keeps its place.
                if !matches!(error, Error::Store(_)) {
                    self.release(user_id, &[handle]).await;
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

    /// The one write of a rotation: made anew as long as others write in between.
    async fn take_step(&self, mut record: Arc<Record>, step: &Step) -> Result<Arc<Record>, Error> {
        for _ in 0..MERGE_ATTEMPTS {
            let change = self.step_of(&record, step).await?;
            let unless = if step.amendment.is_empty() { Unless::Gone } else { Unless::Changed };
            match self.write(&record, unless, &change).await? {
                Updated::Done { record, .. } => return Ok(record),
                Updated::Missing => return Err(Error::NotFound),
                Updated::Conflict(_) => {
                    record = self.read_again(&record).await?;
                }
            }
        }
        Err(Error::Contended)
    }

    /// The record as it is now, of a rotation that others came before.
    ///
    /// # Errors
    /// [`Error::NotFound`] also if it is another session, has another id or another user by now.
    pub(super) async fn read_again(&self, read: &Record) -> Result<Arc<Record>, Error> {
        let found = self.load(read.handle).await?.ok_or(Error::NotFound)?;
        let is_same = (found.mark, found.secret_hash) == (read.mark, read.secret_hash);
        if is_same && found.user_id == read.user_id { Ok(found) } else { Err(Error::NotFound) }
    }

    /// The change of that step.
    pub(super) async fn step_of(&self, record: &Record, step: &Step) -> Result<Change, Error> {
        let mut change = self.amended(record, &step.amendment).await?;
        change.secret_hash = Some(step.secret_hash);
        change.user_id.clone_from(&step.login);
        if step.login.is_some() && record.user_id.is_none() {
            // The session counts as never used since it became this user's.
            let terms = change.terms.unwrap_or_else(|| record.terms());
            change.times = self.rules.reset(&record.life().with(&terms), change.now);
        }
        Ok(change)
    }

    pub(super) fn take_last_place_behind(self: &Arc<Self>, record: Arc<Record>, user_id: String) {
        let this = Arc::clone(self);
        // If this never runs, the session keeps the place from the first claim, and the user's next login counts it.
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

    /// Claims the place of a session that has become the user's, and evicts the user's oldest ones.
    ///
    /// # Errors
    /// [`Error::LimitReached`]: others took all places meanwhile, and this session was ended. After any other error, retry.
    async fn take_last_place(&self, record: &Record, user_id: &str) -> Result<(), Error> {
        match self.reserve(user_id, record.handle, true).await {
            Ok(places) => {
                self.evict(user_id, &places, record.handle).await.map_err(|failed| failed.error.into())
            }
            Err(limit @ Error::LimitReached { .. }) => {
                // The old id is already revoked.
                self.delete(&[Target::incarnation(record.handle, record.mark)]).await?;
                self.release(user_id, &[record.handle]).await;
                self.tell(Kind::Ended, record.handle, Some(user_id));
                Err(limit)
            }
            Err(error) => Err(error),
        }
    }

    /// Ends (revokes) a session for good.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn end(self: &Arc<Self>, credentials: Credentials<'_>) -> Result<(), Error> {
        self.in_time(async {
            // Read first, so that an expired session is not reported as ended.
            let record = self.find(credentials).await?;
            // Of a handle it is not known: it may be that of an external id.
            let is_external = !matches!(credentials.key, Key::Id(id) if !id.is_external());
            let this = Arc::clone(self);
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
                    // With an external id that is reused, a late release would remove the place of the next session. So wait for
                    // it.
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

    /// Releases a place in the background: the session is deleted, whatever happens to its place.
    fn release_behind(self: &Arc<Self>, user_id: String, handle: Handle) -> tokio::task::JoinHandle<()> {
        let this = Arc::clone(self);
        tokio::spawn(async move { this.release(&user_id, &[handle]).await })
    }

    /// The change that restarts a session's time to live.
    pub(super) fn reset(&self, record: &Record) -> Change {
        let now = self.clock.now();
        Change::touch(now, self.rules.renewed(&record.life(), now))
    }

    /// Applies a change whatever version the session has.
    pub(super) async fn change(&self, read: &Record, change: &Change) -> Result<Arc<Record>, Error> {
        match self.write(read, Unless::Gone, change).await? {
            Updated::Done { record, .. } => Ok(record),
            Updated::Missing | Updated::Conflict(_) => Err(Error::NotFound),
        }
    }
}
