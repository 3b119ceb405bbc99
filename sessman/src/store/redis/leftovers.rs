//! Work that goes on behind the answers.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::servers::CALL_LIMIT;

/// Takings away of names under way at once.
const MAX_UNDER_WAY: u32 = 256;

/// What is taken away behind the answers.
pub(super) struct Leftovers(Arc<Semaphore>);

impl Default for Leftovers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_UNDER_WAY as usize)))
    }
}

impl Leftovers {
    /// Does it in a task of its own, unless too much is under way. What is sent at once is sent first, so that it is before what
    /// comes later on the same connection: the very same session may be written again, as when it is restored.
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

    /// Waits for what is under way.
    pub(super) async fn finish(&self) {
        let _ = timeout(CALL_LIMIT, self.0.acquire_many(MAX_UNDER_WAY)).await;
    }
}
