//! Operations of several writes run to completion although the caller is cancelled.

use std::future::Future;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::error::Error;
use crate::store::StoreError;

/// Runs an operation of several writes to completion, in a task of its own, although the caller may be dropped.
pub(super) async fn to_the_end<T: Send + 'static>(
    steps: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(steps).await {
        Ok(result) => result,
        // The runtime is shutting down, or the task panicked, which the panic hook has reported.
        Err(cut_off) => Err(StoreError::Unavailable(Box::new(cut_off)).into()),
    }
}

/// Like [`to_the_end`], but returns at `until` at the latest. A result after that, or one whose caller is gone, goes to
/// `late`.
pub(super) async fn to_the_end_until<T: Send + 'static, Late: Future<Output = ()> + Send>(
    until: Instant,
    steps: impl Future<Output = Result<T, Error>> + Send + 'static,
    late: impl FnOnce(T) -> Late + Send + 'static,
) -> Result<T, Error> {
    let (caller, answer) = oneshot::channel();
    tokio::spawn(async move {
        if let Err(Ok(unheard)) = caller.send(steps.await) {
            late(unheard).await;
        }
    });
    match timeout_at(until, answer).await {
        Ok(Ok(result)) => result,
        Ok(Err(cut_off)) => Err(StoreError::Unavailable(Box::new(cut_off)).into()),
        Err(elapsed) => Err(StoreError::Unavailable(Box::new(elapsed)).into()),
    }
}
