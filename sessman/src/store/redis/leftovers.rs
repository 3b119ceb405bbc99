//! Background work that no reply waits for.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::servers::CALL_LIMIT;

/// The most removals in progress at a time.
const MAX_UNDER_WAY: u32 = 256;

/// Removals in the background.
pub(super) struct Leftovers(Arc<Semaphore>);

impl Default for Leftovers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_UNDER_WAY as usize)))
    }
}

impl Leftovers {
    /// Runs a removal in a task of its own, unless too many are in progress. Its first poll happens here: so what it sends at
    /// once precedes later commands on the same connection, in case the very same session is written again, as in a restore.
    pub(super) async fn take_away(&self, taking: impl Future<Output = ()> + Send + 'static) {
        let Ok(permit) = Arc::clone(&self.0).try_acquire_owned() else {
            tracing::debug!(
                "the names of sessions that ended stay for a while: too many are being taken away"
            );
            return;
        };
        let mut taking = Box::pin(taking);
        if poll_fn(|context| Poll::Ready(taking.as_mut().poll(context))).await.is_ready() {
            return;
        }
        tokio::spawn(async move {
            taking.await;
            drop(permit);
        });
    }

    /// Waits for those in progress.
    pub(super) async fn finish(&self) {
        let _ = timeout(CALL_LIMIT, self.0.acquire_many(MAX_UNDER_WAY)).await;
    }
}
