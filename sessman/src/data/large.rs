//! Work on large documents, which would block a thread that others wait for.

use std::sync::OnceLock;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;

use super::Data;
use crate::error::Error;
use crate::store::StoreError;

/// Bytes from which a document counts as large: parsing it takes longer than two thread switches.
pub const LARGE: usize = 32 << 10;

/// Runs `work` on a thread of its own; as many run at a time as there are processors. It is completed although the caller may
/// be cancelled.
///
/// Needs a tokio runtime.
///
/// # Errors
/// [`Error::Store`] if the runtime is shutting down.
pub async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    static PLACES: OnceLock<Semaphore> = OnceLock::new();
    let places = PLACES.get_or_init(|| Semaphore::new(available_parallelism().map_or(1, Into::into)));
    let cut_off =
        |cause: Box<dyn std::error::Error + Send + Sync>| Error::from(StoreError::Unavailable(cause));
    let place = places.acquire().await.map_err(|closed| cut_off(closed.into()))?;
    let done = tokio::task::spawn_blocking(move || {
        let _place = place;
        work()
    });
    // A panic was reported by the panic hook.
    done.await.map_err(|ended| cut_off(ended.into()))
}

impl Data {
    /// Like [`merged_with`](Self::merged_with), on a thread of its own if there is much to merge.
    ///
    /// # Errors
    /// Those of [`apart`].
    pub(crate) async fn merged_apart(&self, patch: &Self) -> Result<Self, Error> {
        if self.as_str().len() + patch.as_str().len() < LARGE {
            return Ok(self.merged_with(patch));
        }
        let (data, patch) = (self.clone(), patch.clone());
        Box::pin(apart(move || data.merged_with(&patch))).await
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn what_is_done_apart_does_not_hold_up_who_waits_on_this_thread() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let here = thread::current().id();
        let (there, ()) = tokio::join!(
            apart(move || {
                // It ends only if the other one is polled meanwhile, on the only thread of this runtime.
                held.recv().map(|()| thread::current().id())
            }),
            async { release.send(()).unwrap() },
        );
        assert_ne!(there.unwrap(), Ok(here));
    }

    #[tokio::test]
    async fn small_and_large_documents_are_merged_alike() {
        let patch = Data::parse(r#"{"a":null,"b":{"c":1}}"#).unwrap();
        for length in [1, LARGE] {
            let text = "x".repeat(length);
            let data = Data::parse(&format!(r#"{{"a":1,"text":"{text}"}}"#)).unwrap();
            let merged = data.merged_apart(&patch).await.unwrap();
            assert_eq!(merged, data.merged_with(&patch));
            assert_eq!(merged.as_str(), format!(r#"{{"text":"{text}","b":{{"c":1}}}}"#));
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let ended = apart(|| panic!("as planned")).await;
        assert!(matches!(ended, Err::<(), _>(Error::Store(StoreError::Unavailable(_)))));
    }
}
