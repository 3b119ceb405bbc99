//! Periodic clean-up.

use std::sync::Arc;
use std::time::Duration;

use super::completion::to_the_end;
use super::{CLOCKS_DIFFER, Sessions};
use crate::error::Error;
use crate::events::Kind;
use crate::store::{Purged, StoreError};
use crate::time::Timestamp;

/// Records deleted per batch.
const SLICE: usize = 250;
/// Users whose places are checked per batch.
const USERS: usize = 100;
/// Batches of users per periodic clean-up. If there are more users, the next clean-up continues after them.
const GOES: usize = 100;
/// Pause between two batches, so that other writers get their turn.
const PAUSE: Duration = Duration::from_millis(20);

impl Sessions {
    /// Deletes all expired records in batches and returns their number. In a shared store, only records that are expired by
    /// the clock of every node.
    ///
    /// # Errors
    /// The store's. Batches deleted before stay deleted.
    pub async fn purge_expired(&self) -> Result<usize, StoreError> {
        let mut purged = 0;
        loop {
            // Without a request deadline: no client waits for it, and it pauses for those that do.
            let slice = self.store.purge_expired(self.over_everywhere(), SLICE).await?;
            self.metrics.expired.add(slice.len() as u64);
            for Purged { handle, user_id } in &slice {
                self.tell(Kind::Expired, *handle, user_id.as_deref());
            }
            purged += slice.len();
            if slice.len() < SLICE {
                return Ok(purged);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What expired before this time is expired by the clock of every node.
    pub(super) fn over_everywhere(&self) -> Timestamp {
        let now = self.clock.now();
        if self.store.is_shared() { now.before(CLOCKS_DIFFER) } else { now }
    }

    /// Runs a whole clean-up; returns the number of records that it deleted.
    ///
    /// # Errors
    /// The store's. Batches deleted before stay deleted.
    pub async fn clean_up(self: &Arc<Self>) -> Result<usize, Error> {
        let this = Arc::clone(self);
        to_the_end(async move {
            let purged = this.purge_expired().await?;
            let mut after = None;
            while this.tidy_places(&mut after).await? {}
            Ok(purged)
        })
        .await
    }

    /// Releases the places of expired sessions for one batch of users after `after`; returns whether there are more users.
    /// Without a limit it drops all places: new sessions do not claim any then, so the lists would be incomplete.
    ///
    /// # Errors
    /// The store's.
    pub async fn tidy_places(&self, after: &mut Option<String>) -> Result<bool, StoreError> {
        self.store.tidy(self.clock.now()).await?;
        if self.rules.max_sessions_per_user.is_none() {
            return self.store.forget_places().await.map(|()| false);
        }
        for _ in 0..GOES {
            let page = self.store.all_places(after.as_deref(), USERS).await?;
            self.tidy(&page.users, self.over_everywhere()).await?;
            *after = page.next;
            if after.is_none() {
                return Ok(false);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(true)
    }

    /// Cleans up immediately and then every `interval`, forever: places, and records unless the store expires them itself.
    /// Failures are logged and retried at the next interval. Of several processes at one store, the leader does it.
    pub async fn clean_up_regularly(&self, interval: Duration, removes_records: bool) {
        loop {
            match self.store.leads_cleanup(2 * interval).await {
                Ok(true) => self.clean_up_once(removes_records).await,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "no clean-up; the next try is due"),
            }
            tokio::time::sleep(interval).await;
        }
    }

    async fn clean_up_once(&self, removes_records: bool) {
        if let Err(error) = self.tidy_places(&mut *self.tidied_to.lock().await).await {
            tracing::warn!(%error, "the places of ended sessions could not be taken away; the next try is due");
        }
        if removes_records {
            match self.purge_expired().await {
                Ok(0) => {}
                Ok(purged) => tracing::info!(purged, "expired sessions removed"),
                Err(error) => {
                    tracing::warn!(%error, "expired sessions could not be removed; the next try is due");
                }
            }
        }
    }
}
