//! What is done from time to time.

use std::sync::Arc;
use std::time::Duration;

use super::completion::to_the_end;
use super::{CLOCKS_DIFFER, Sessions};
use crate::error::Error;
use crate::events::Kind;
use crate::store::{Purged, StoreError};
use crate::time::Timestamp;

/// Records removed in one go.
const SLICE: usize = 250;
/// Users whose places are looked through in one go.
const USERS: usize = 100;
/// Such goes in one regular clean-up: where there are more users, the next one goes on behind them.
const GOES: usize = 100;
/// Pause between two slices, so that those who wait to write get their turn.
const PAUSE: Duration = Duration::from_millis(20);

impl Sessions {
    /// Removes every record that is past its time, slice by slice, and says how many there were. Where other nodes work on the
    /// same records, those that are so by the clock of each of them.
    ///
    /// # Errors
    /// The store's; what was removed before stays removed.
    pub async fn purge_expired(&self) -> Result<usize, StoreError> {
        let mut purged = 0;
        loop {
            // Without the deadline of a request: nobody waits for it, and it pauses for those who do wait.
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

    /// What ended before this is over by the clock of every node.
    pub(super) fn over_everywhere(&self) -> Timestamp {
        let now = self.clock.now();
        if self.store.is_shared() { now.before(CLOCKS_DIFFER) } else { now }
    }

    /// All of the clean-up at once; how many records it removed.
    ///
    /// # Errors
    /// The store's; what was removed before stays removed.
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

    /// Takes away the places of sessions that ended by their time, of some users behind `after`; whether there are more.
    /// Without a limit it forgets all of them: what is written down of a user would be short of the sessions that begin
    /// now.
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

    /// Cleans up at once and every `interval`, for ever: places, and records unless the store removes them by itself.
    /// What fails is reported, and the next time tries again. Of several processes at a store one does it.
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
