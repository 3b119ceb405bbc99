//! Tries again what a server says found nothing.
//!
//! On some servers that speak MongoDB's protocol a write that meets another one of the same document answers that nothing
//! matched, although the document is there and stays (`delete` and `findAndModify` of one document do so; a `delete` of many
//! does not). So an answer that nothing matched is taken for true only after a look at what is there; where there is
//! something that matches, the write is made again. Only a write that found nothing costs that look.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::failure::Trouble;
use crate::store::Result;

/// Each wait is twice the one before, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Tries until a deadline.
pub(super) struct Again {
    deadline: Instant,
    wait: Duration,
}

impl Again {
    pub(super) fn until(deadline: Instant) -> Self {
        Self { deadline, wait: FIRST_WAIT }
    }

    /// Waits for the next try.
    ///
    /// # Errors
    /// There is no time for one: what is there is not known to be gone, and not known to have changed.
    pub(super) async fn wait(&mut self) -> Result<()> {
        if Instant::now() + self.wait >= self.deadline {
            return Err(Trouble::Denied.into());
        }
        sleep(self.wait).await;
        self.wait = (2 * self.wait).min(LONGEST_WAIT);
        Ok(())
    }
}
