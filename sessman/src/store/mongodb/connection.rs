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
use super::metrics::{Command, Metrics};
use super::settings::MongoConfig;
use crate::store::{Result, StoreError};

/// A call that has no answer by then has failed.
pub(super) const CALL_LIMIT: Duration = Duration::from_millis(1_800);

/// So long before a call ends nothing is tried again any more, so that its caller learns why.
const LAST_TRY: Duration = Duration::from_millis(200);

/// Calls that the driver works on at once. A server that hangs holds each of them until the driver's monitor gives
/// it up (12 s); this keeps what waits for it bounded, and is far above what the connections can serve.
const MAX_CALLS: u32 = 1_024;

/// A collection, as documents of any content: what is in it was not always written by us.
#[derive(Clone)]
pub(super) struct Documents {
    collection: Collection<RawDocumentBuf>,
    metrics: Arc<Metrics>,
    hints: Arc<Hints>,
    deadline: Instant,
}

/// Whether the index that lists of users are read by can be named to the server: one that it does not have is an error.
#[derive(Default)]
pub(super) struct Hints {
    refused: AtomicBool,
}

impl Hints {
    /// Whether to name it. Nobody knows better until the server has refused it.
    pub(super) fn are_taken(&self) -> bool {
        !self.refused.load(Ordering::Relaxed)
    }

    /// The server refused it, or has it now.
    pub(super) fn set_taken(&self, are_taken: bool) {
        self.refused.store(!are_taken, Ordering::Relaxed);
    }
}

impl Documents {
    /// Waits for the answer to a command about this collection.
    pub(super) async fn ask<T>(
        &self,
        command: Command,
        asking: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> mongodb::error::Result<T> {
        self.metrics.time(command, asking).await
    }

    /// Another collection, with which this one's metrics are shared.
    pub(super) fn beside(&self, collection: Collection<RawDocumentBuf>) -> Self {
        Self { collection, ..self.clone() }
    }

    /// See [`Hints`].
    pub(super) fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Tries that may go on until the call that this was given to ends.
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

/// A client that is made when it is first needed and works whenever the server does.
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

    /// The database's and the collection's name.
    pub(super) fn names(&self) -> (&str, &str) {
        (&self.config.database, &self.config.collection)
    }

    /// The collection. Making the client reaches no server, but for `mongodb+srv://` the DNS; if that fails, the next
    /// call tries again.
    pub(super) async fn documents(&self) -> Result<Documents> {
        let client = self.client.get_or_try_init(|| async {
            // Only the DNS is waited for here, so that giving up leaves nothing half done.
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

    /// Makes `call` and waits for its end, at most [`CALL_LIMIT`].
    ///
    /// It runs in a task of its own: the driver's futures must not be dropped before they are done (their connection
    /// would be lost with them), and what takes several steps is brought to its end although its caller has gone.
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
        // A task ends without an answer when the runtime stops, or by a panic, which the runtime has shown.
        answer.map_err(|_| Trouble::Other("the call was cut off"))?
    }

    /// Waits for the calls under way, refuses later ones and ends the client's tasks and connections.
    pub(super) async fn close(&self) {
        // Nothing that still hangs after this long will be done.
        let _ = timeout(CALL_LIMIT, self.calls.acquire_many(MAX_CALLS)).await;
        self.calls.close();
        if let Some(client) = self.client.get().cloned() {
            let task = tokio::spawn(async move { client.shutdown().immediate(true).await });
            // It says goodbye to the server, which may not be there.
            let _ = timeout(CALL_LIMIT, task).await;
        }
    }
}
