//! What takes several writes goes on to its end, though its caller may go away.

use std::future::Future;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::error::Error;
use crate::store::StoreError;

/// Runs what takes several writes to its end, though the caller may go away.
pub(super) async fn to_the_end<T: Send + 'static>(
    steps: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(steps).await {
        Ok(result) => result,
        // The runtime is ending; a panic has shown itself.
        Err(cut_off) => Err(StoreError::Unavailable(Box::new(cut_off)).into()),
    }
}

/// As [`to_the_end`], answered at `until` at the latest; what comes later, or for a caller who went away, is `late`'s.
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
