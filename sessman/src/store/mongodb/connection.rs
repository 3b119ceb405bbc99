//! The driver's client, and the limits of every call to it.

use std::future::{Future, IntoFuture};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mongodb::bson::RawDocumentBuf;
use mongodb::event::EventHandler;
use mongodb::{Client, Collection};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::again::Again;
use super::failure::{self, Trouble};
use super::indexes::WANTED;
use super::metrics::{Command, Metrics};
use super::settings::MongoConfig;
use crate::store::{Result, StoreError};

/// Deadline of a call.
pub(super) const CALL_LIMIT: Duration = Duration::from_millis(1_800);

/// No retry starts later than this before the deadline, so that the caller gets the specific error.
const LAST_TRY: Duration = Duration::from_millis(200);

/// The most calls in progress in the driver. A server that hangs blocks each call until the driver's monitor declares it
/// unreachable (12 s). This bounds the blocked calls, and is far above what the connection pool can serve.
const MAX_CALLS: u32 = 1_024;

/// A collection, untyped: not all of its documents may have been written by us.
#[derive(Clone)]
pub(super) struct Documents {
    collection: Collection<RawDocumentBuf>,
    metrics: Arc<Metrics>,
    hints: Arc<Hints>,
    deadline: Instant,
}

/// Whether commands may name (hint) an index of ours: a hint at a missing index is an error.
#[derive(Default)]
pub(super) struct Hints {
    /// For each of [`WANTED`].
    refused: [AtomicBool; WANTED.len()],
}

impl Hints {
    /// Whether to name the index at this position in [`WANTED`]. Assumed until the server rejects it.
    pub(super) fn are_taken(&self, place: usize) -> bool {
        !self.refused[place].load(Ordering::Relaxed)
    }

    /// The server rejected it, or has the index now.
    pub(super) fn set_taken(&self, place: usize, are_taken: bool) {
        self.refused[place].store(!are_taken, Ordering::Relaxed);
    }
}

impl Documents {
    /// Awaits a command on this collection, with metrics.
    pub(super) async fn ask<T>(
        &self,
        command: Command,
        asking: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> mongodb::error::Result<T> {
        self.metrics.time(command, asking).await
    }

    /// Another collection with the same metrics.
    pub(super) fn beside(&self, collection: Collection<RawDocumentBuf>) -> Self {
        Self { collection, ..self.clone() }
    }

    /// See [`Hints`].
    pub(super) fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Retries until the deadline of the current call.
    pub(super) fn again(&self) -> Again {
        Again::until(self.deadline)
    }
}

impl Deref for Documents {
    type Target = Collection<RawDocumentBuf>;

    fn deref(&self) -> &Self::Target {
        &self.collection
    }
}

/// A lazy client, which reconnects by itself.
pub(super) struct Connection {
    config: MongoConfig,
    client: OnceCell<Client>,
    metrics: Arc<Metrics>,
    hints: Arc<Hints>,
    calls: Arc<Semaphore>,
}

impl Connection {
    pub(super) fn new(config: MongoConfig) -> Self {
        Self {
            config,
            client: OnceCell::new(),
            metrics: Arc::default(),
            hints: Arc::default(),
            calls: Arc::new(Semaphore::new(MAX_CALLS as usize)),
        }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// See [`Hints`].
    pub(super) fn hints(&self) -> &Hints {
        &self.hints
    }

    /// The names of the database and the collection.
    pub(super) fn names(&self) -> (&str, &str) {
        (&self.config.database, &self.config.collection)
    }

    /// The collection. Creating the client connects to no server, except to DNS for `mongodb+srv://`. If that fails, the next
    /// call retries.
    pub(super) async fn documents(&self) -> Result<Documents> {
        let client = self.client.get_or_try_init(|| async {
            // Only DNS is awaited here, so cancelling leaves nothing half done.
            let options = timeout(CALL_LIMIT, self.config.client_options()).await;
            let mut options = options.map_err(|_| Trouble::TimedOut(CALL_LIMIT))??;
            let metrics = Arc::clone(&self.metrics);
            options.cmap_event_handler = Some(EventHandler::callback(move |event| metrics.pooled(&event)));
            Client::with_options(options).map_err(failure::store_error)
        });
        let collection = client.await?.database(&self.config.database).collection(&self.config.collection);
        Ok(Documents {
            collection,
            metrics: Arc::clone(&self.metrics),
            hints: Arc::clone(&self.hints),
            deadline: Instant::now() + CALL_LIMIT,
        })
    }

    /// Runs `call` and waits for its end, at most [`CALL_LIMIT`].
    ///
    /// It runs in a task of its own. The driver's futures must not be dropped before they are complete, as that closes their
    /// connection. And an operation of several steps is completed although its caller is cancelled.
    pub(super) async fn call<T, Call, Calling>(self: &Arc<Self>, call: Call) -> Result<T>
    where
        T: Send + 'static,
        Call: FnOnce(Documents) -> Calling + Send + 'static,
        Calling: Future<Output = Result<T>> + Send,
    {
        let deadline = Instant::now() + CALL_LIMIT;
        let timed_out = || {
            self.metrics.timed_out();
            StoreError::from(Trouble::TimedOut(CALL_LIMIT))
        };
        let permit = timeout_at(deadline, Arc::clone(&self.calls).acquire_owned()).await;
        let permit = permit.map_err(|_| timed_out())?.map_err(|_| Trouble::Closed)?;
        let this = Arc::clone(self);
        let task = tokio::spawn(async move {
            let _permit = permit;
            let documents = Documents { deadline: deadline - LAST_TRY, ..this.documents().await? };
            call(documents).await
        });
        let answer = timeout_at(deadline, task).await.map_err(|_| timed_out())?;
        // The task ended without a result: the runtime stopped, or it panicked, which the panic hook has reported.
        answer.map_err(|_| Trouble::Other("the call was cut off"))?
    }

    /// Waits for the calls in progress, rejects later ones, and ends the client's tasks and connections.
    pub(super) async fn close(&self) {
        // A call that hangs for longer than this will not complete.
        let _ = timeout(CALL_LIMIT, self.calls.acquire_many(MAX_CALLS)).await;
        self.calls.close();
        if let Some(client) = self.client.get().cloned() {
            let task = tokio::spawn(async move { client.shutdown().immediate(true).await });
            // The driver ends its sessions on the server, which may be unreachable.
            let _ = timeout(CALL_LIMIT, task).await;
        }
    }
}
