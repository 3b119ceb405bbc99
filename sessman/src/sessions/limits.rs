//! How many sessions a user may have.
//!
//! The order of arrival decides, in one place of the store, and never a clock: each session takes its place among its
//! user's in one atomic step, and sees all that came before. So the last to arrive ends the surplus before it, and
//! nobody ends the last.

use std::pin::pin;

use futures_util::stream::{self, StreamExt as _};

use super::Sessions;
use crate::error::Error;
use crate::events::Kind;
use crate::id::Handle;
use crate::metrics::Operation;
use crate::rules::OnLimit;
use crate::store::{Claim, Claimed, Listing, StoreError};

/// How often a session tries to take its place: each time others have left theirs, or taken it.
const ATTEMPTS: usize = 16;
/// Sessions that are asked for at once.
const TOGETHER: usize = 64;
/// Sessions that are looked through at a time.
const PAGE: usize = 250;

impl Sessions {
    /// Gives the session, whose record is there, a place among its user's, and ends those that have to give way.
    ///
    /// # Errors
    /// [`Error::LimitReached`] where there is no place, [`Error::Contended`], [`Error::Store`].
    pub(super) async fn take_place(&self, user_id: &str, handle: Handle) -> Result<(), Error> {
        let Some(limit) = self.rules.max_sessions_per_user else { return Ok(()) };
        let room = (self.rules.on_limit == OnLimit::Reject).then_some(limit);
        for _ in 0..ATTEMPTS {
            match self.claim(user_id, handle, room).await? {
                Claimed::Done(handles) if room.is_some() || handles.len() <= limit => return Ok(()),
                Claimed::Done(handles) => return self.make_way(user_id, &handles, limit).await,
                Claimed::Full(handles) => {
                    let (_, dead) = self.told_apart(&handles).await?;
                    if dead.is_empty() {
                        // It may have been written down by another one, too far behind.
                        self.release(user_id, &[handle]).await;
                        return Err(Error::LimitReached { limit });
                    }
                    self.release(user_id, &dead).await;
                }
                // Somebody forgot the user in between.
                Claimed::Unknown => {}
            }
        }
        Err(Error::Contended)
    }

    /// Claims a place, and says which sessions the user has if nothing is written down of them.
    async fn claim(&self, user_id: &str, handle: Handle, room: Option<usize>) -> Result<Claimed, StoreError> {
        let claim = Claim { user_id, handle, room, earlier: None };
        let claimed = self.ask(Operation::Claim, self.store.claim(claim)).await?;
        if claimed != Claimed::Unknown {
            return Ok(claimed);
        }
        let earlier = self.sessions_of(user_id, handle).await?;
        let claim = Claim { earlier: Some(&earlier), ..claim };
        self.ask(Operation::Claim, self.store.claim(claim)).await
    }

    /// The user's live sessions but for `except`, the oldest first.
    async fn sessions_of(&self, user_id: &str, except: Handle) -> Result<Vec<Handle>, StoreError> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let listing = Listing { user_id: Some(user_id), after, limit: PAGE };
            let page = self.ask(Operation::List, self.store.list(listing, self.clock.now())).await?;
            let others = page.records.iter().filter(|record| record.handle != except);
            found.extend(others.map(|record| (record.created_at, record.handle)));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        found.sort_unstable();
        Ok(found.into_iter().map(|(_, handle)| handle).collect())
    }

    /// Ends the oldest of the user's live sessions that are too many, and takes their places away.
    async fn make_way(&self, user_id: &str, handles: &[Handle], limit: usize) -> Result<(), Error> {
        // Its own may be among those that are gone: ended by a later one, or too slow. Then it does not count, and what
        // is too many without it has to go all the same, or the next one would be as slow.
        let (live, mut gone) = self.told_apart(handles).await?;
        let surplus = live.len().saturating_sub(limit);
        for handle in &live[..surplus] {
            if self.delete(*handle).await? {
                self.metrics.evicted.increment();
                self.tell(Kind::Evicted, *handle, Some(user_id));
            }
        }
        // After they ended: as long as one lives it has its place, so that others see it.
        gone.extend(&live[..surplus]);
        if !gone.is_empty() {
            self.release(user_id, &gone).await;
        }
        Ok(())
    }

    /// Those that live, and those that have ended, each in their order.
    async fn told_apart(&self, handles: &[Handle]) -> Result<(Vec<Handle>, Vec<Handle>), StoreError> {
        let (mut live, mut dead) = (Vec::new(), Vec::new());
        let asked =
            stream::iter(handles.to_vec()).map(|handle| async move { (handle, self.lives(handle).await) });
        let mut told = pin!(asked.buffered(TOGETHER));
        while let Some((handle, lives)) = told.next().await {
            if lives? { live.push(handle) } else { dead.push(handle) }
        }
        Ok((live, dead))
    }

    /// Whether the session lives; one that cannot be read does.
    async fn lives(&self, handle: Handle) -> Result<bool, StoreError> {
        match self.load(handle).await {
            Ok(record) => Ok(record.is_some()),
            Err(StoreError::Unusable(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Takes places away. If that fails they are taken away by a later session, or by clean-up.
    pub(super) async fn release(&self, user_id: &str, handles: &[Handle]) {
        if self.rules.max_sessions_per_user.is_none() {
            return;
        }
        if let Err(error) = self.ask(Operation::Claim, self.store.release(user_id, handles)).await {
            tracing::debug!(%error, "the places of sessions that ended could not be taken away");
        }
    }

    /// Deletes a record whatever its secret is.
    pub(super) async fn delete(&self, handle: Handle) -> Result<bool, StoreError> {
        self.ask(Operation::Delete, self.store.delete(handle, None)).await
    }
}
