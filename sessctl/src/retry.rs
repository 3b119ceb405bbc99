//! Retries store calls while the store is unreachable.

use std::future::Future;
use std::time::Duration;

use sessman::store::StoreError;

/// Back-off in milliseconds: about a minute in all, enough for a server to restart.
const PAUSES: [u64; 8] = [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000];

/// Retries while the store is unreachable. `ask` must be idempotent; it gets the number of the attempt.
pub(crate) async fn while_unavailable<T, Asking>(
    mut ask: impl FnMut(usize) -> Asking,
) -> Result<T, StoreError>
where
    Asking: Future<Output = Result<T, StoreError>>,
{
    for (attempt, pause) in PAUSES.into_iter().enumerate() {
        match ask(attempt).await {
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(pause)).await,
            other => return other,
        }
    }
    ask(PAUSES.len()).await
}
