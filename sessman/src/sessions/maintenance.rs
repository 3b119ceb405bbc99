//! What has to be done from time to time.

use std::time::Duration;

use super::Sessions;
use crate::store::StoreError;

/// Records removed in one go.
const SLICE: usize = 250;
/// Pause between two slices, so that those who wait to write get their turn.
const PAUSE: Duration = Duration::from_millis(20);

impl Sessions {
    /// Removes every record that is past its time, slice by slice, and says how many there were.
    ///
    /// # Errors
    /// The store's; what was removed before stays removed.
    pub async fn purge_expired(&self) -> Result<usize, StoreError> {
        let mut purged = 0;
        loop {
            // Without the deadline of a request: nobody waits for it, and it pauses for those who do wait.
            let slice = self.store.purge_expired(self.clock.now(), SLICE).await?;
            purged += slice;
            if slice < SLICE {
                return Ok(purged);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Purges every `interval`, for ever. One that fails is reported, and the next one tries again.
    pub async fn purge_regularly(&self, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            match self.purge_expired().await {
                Ok(0) => {}
                Ok(purged) => tracing::info!(purged, "expired sessions removed"),
                Err(error) => {
                    tracing::warn!(%error, "expired sessions could not be removed; the next try is due")
                }
            }
        }
    }
}
