//! Retries writes of which a server says that nothing matched.
//!
//! On some MongoDB-compatible servers, a write that conflicts with another one on the same document replies that nothing
//! matched, although the document exists and stays (`delete` and `findAndModify` of one document do so; a `delete` of many
//! does not). So such a reply is trusted only after a read: if a matching document exists, the write is retried. Only writes
//! that matched nothing pay for that read.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::failure::Trouble;
use crate::store::Result;

/// Exponential back-off: each wait is twice the one before, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Retries until a deadline.
pub(super) struct Again {
    deadline: Instant,
    wait: Duration,
}

impl Again {
    pub(super) fn until(deadline: Instant) -> Self {
        Self { deadline, wait: FIRST_WAIT }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// No time is left: the document is neither known to be deleted nor known to have changed.
    pub(super) async fn wait(&mut self) -> Result<()> {
        if Instant::now() + self.wait >= self.deadline {
            return Err(Trouble::Denied.into());
        }
        sleep(self.wait).await;
        self.wait = (2 * self.wait).min(LONGEST_WAIT);
        Ok(())
    }
}
