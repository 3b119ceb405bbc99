//! Moves a session to another external id.
//!
//! The handle of an external id is a hash of it, so the session gets another record: the new one is written, and then the old
//! one deleted, if nobody wrote to it since it was read. After a crash in between, both ids open the session, with the data of
//! that moment; no session is lost, and the user's next login counts both. The new place is claimed before the old session
//! ends, so that no login takes it: a login at that very moment counts one session too many.

use std::sync::Arc;

use tokio::time::Instant;

use super::change::Step;
use super::{NoAnswer, Sessions};
use crate::error::Error;
use crate::events::Kind;
use crate::id::{Handle, SessionId};
use crate::mark::Mark;
use crate::metrics::Operation;
use crate::record::Record;
use crate::store::{Claimed, Created, StoreError, Target};

/// The most attempts to move a session that others write to meanwhile.
const MOVE_ATTEMPTS: usize = 8;

impl Sessions {
    /// Moves the session of `record` to `id`, with what `step` sets.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NotFound`], and those of a rotation. The old id is valid then, unless the store did not
    /// acknowledge the deletion of its record.
    pub(super) async fn move_to(
        self: &Arc<Self>,
        id: &SessionId,
        mut record: Arc<Record>,
        step: &Step,
        until: Instant,
    ) -> Result<Arc<Record>, Error> {
        let _turn = self.turns.take(record.handle).await;
        // Before a place is claimed: a session of this user that has the id keeps its own.
        if self.has_begun(id.handle()).await? {
            return Err(Error::Exists);
        }
        for _ in 0..MOVE_ATTEMPTS {
            if let Some(moved) = self.try_to_move(id, &record, step, until).await? {
                self.tell(Kind::Ended, record.handle, record.user_id.as_deref());
                return Ok(moved);
            }
            // Others wrote to it: what they wrote goes along.
            record = self.read_again(&record).await?;
        }
        Err(Error::Contended)
    }

    /// `None` if the session was written to meanwhile: then nothing has changed.
    async fn try_to_move(
        self: &Arc<Self>,
        id: &SessionId,
        record: &Record,
        step: &Step,
        until: Instant,
    ) -> Result<Option<Arc<Record>>, Error> {
        // It may have run out of time while this waited.
        if !self.rules.is_live(&record.life(), self.clock.now()) {
            return Err(Error::NotFound);
        }
        let change = self.step_of(record, step).await?;
        let now = change.now;
        let moved = Arc::new(Record {
            handle: id.handle(),
            mark: Mark::new(now),
            secret_hash: id.secret_hash(),
            mac: None,
            ..change.applied_to(record)
        });
        let becomes_users = record.user_id.is_none();
        self.take_place(&moved, becomes_users).await?;
        // After that, the caller got an error and still holds the old id.
        if Instant::now() >= until {
            self.give_place_back(&moved).await;
            return Err(StoreError::Unavailable(Box::new(NoAnswer)).into());
        }
        let created = self.ask(Operation::Create, self.store.create(Arc::clone(&moved), now)).await;
        match created {
            Ok(Created::Yes) => {}
            Ok(Created::Exists) => {
                // The place is that of the session which has the id.
                if self.has_begun(moved.handle).await? {
                    return Err(Error::Exists);
                }
                return Ok(None);
            }
            Err(error) => {
                self.take_back_behind(moved, Vec::new());
                return Err(error.into());
            }
        }
        let old = Target {
            secret_hash: Some(record.secret_hash),
            last_activity: Some(record.last_activity),
            version: Some(record.version),
            ..Target::incarnation(record.handle, record.mark)
        };
        // Others may have taken the place for that of an ended session before there was a record.
        let placed = self.take_place(&moved, becomes_users).await;
        let deleted = match &placed {
            Ok(_) if Instant::now() < until => self.delete(&[old]).await.map_err(Error::from),
            _ => Ok(Vec::new()),
        };
        match (placed, deleted) {
            (Ok(places), Ok(deleted)) if !deleted.is_empty() => {
                // Others have seen it expired by now: it must not come back.
                if self.clock.now() >= self.rules.ends_at(&record.life()) {
                    self.undo(moved).await?;
                    return Err(Error::NotFound);
                }
                if let Some(user_id) = &record.user_id {
                    self.release(user_id, &[record.handle]).await;
                }
                if let Some(user_id) = moved.user_id.clone().filter(|_| becomes_users)
                    && self.evict(&user_id, &places, moved.handle).await.is_err()
                {
                    // The old id is revoked: the caller gets the new one.
                    self.take_last_place_behind(Arc::clone(&moved), user_id);
                }
                Ok(Some(moved))
            }
            // The outcome of the deletion is unknown: the new record stays if the old one is gone.
            (Ok(_), Err(error)) => {
                self.take_back_behind(moved, vec![old]);
                Err(error)
            }
            (placed, _) => {
                self.undo(moved).await?;
                if Instant::now() >= until {
                    return Err(StoreError::Unavailable(Box::new(NoAnswer)).into());
                }
                placed.map(|_| None)
            }
        }
    }

    /// Deletes the new record; if that fails, it is retried in the background.
    async fn undo(self: &Arc<Self>, moved: Arc<Record>) -> Result<(), Error> {
        match self.delete(&[Target::incarnation(moved.handle, moved.mark)]).await {
            Ok(_) => {
                self.give_place_back(&moved).await;
                Ok(())
            }
            Err(error) => {
                self.take_back_behind(moved, Vec::new());
                Err(error.into())
            }
        }
    }

    async fn give_place_back(&self, record: &Record) {
        if let Some(user_id) = &record.user_id {
            self.release(user_id, &[record.handle]).await;
        }
    }

    /// Claims a place for the record, if it has a user and there is a limit; returns the user's places. Only a login needs
    /// room for one more.
    async fn take_place(&self, record: &Record, becomes_users: bool) -> Result<Vec<Handle>, Error> {
        let Some(user_id) = record.user_id.as_deref() else { return Ok(Vec::new()) };
        if becomes_users || self.rules.max_sessions_per_user.is_none() {
            return self.reserve(user_id, record.handle, true).await;
        }
        for _ in 0..MOVE_ATTEMPTS {
            if let Claimed::Done(places) = self.claim(user_id, record.handle, None, true).await? {
                return Ok(places);
            }
        }
        Err(Error::Contended)
    }
}
