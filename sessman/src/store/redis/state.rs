//! What an open store has.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::failure::Trouble;
use super::keys::Keys;
use super::leftovers::Leftovers;
use super::servers::{Servers, deadline};
use super::settings::RedisConfig;
use super::tidying::{Tidying, USERS_STEPS};
use crate::store::{Result, StoreError};
use crate::time::Timestamp;

/// Calls under way at once, which `close` waits for: as many as there can be. What is bounded is how many wait for one server.
pub(super) const MAX_CALLS: u32 = 1 << 28;

/// Bytes of the name by which a process has the lease of the clean-up.
const NAME_BYTES: usize = 16;

/// Sessions in Redis. See [the module](super) for what is promised.
pub struct RedisStore {
    pub(super) servers: Arc<Servers>,
    pub(super) keys: Keys,
    pub(super) leftovers: Leftovers,
    pub(super) calls: Semaphore,
    /// The engine's time when it last said it, in milliseconds.
    latest: AtomicI64,
    /// Where the last slice of a purge ended.
    pub(super) purged_to: Mutex<Option<String>>,
    pub(super) tidying: Tidying,
    /// This process's, among those that do the clean-up.
    pub(super) name: [u8; NAME_BYTES],
}

/// A call that is under way, and when it must have ended.
pub(super) struct Turn<'a> {
    pub(super) deadline: Instant,
    pub(super) _permit: SemaphorePermit<'a>,
}

impl RedisStore {
    /// Opens the store and returns at once, whether a server is there or not: calls fail with
    /// [`StoreError::Unavailable`] until one is.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] for a configuration that [`RedisConfig::check`] refuses.
    pub fn open(config: &RedisConfig) -> Result<Self> {
        let settings = config.settings().map_err(|problem| StoreError::Unusable(problem.to_string()))?;
        let keys = Keys::new(&settings.prefix);
        let mut name = [0; NAME_BYTES];
        getrandom::fill(&mut name)
            .map_err(|error| StoreError::Unusable(format!("the system gives no randomness: {error}")))?;
        Ok(Self {
            servers: Servers::new(settings),
            keys,
            leftovers: Leftovers::default(),
            calls: Semaphore::new(MAX_CALLS as usize),
            latest: AtomicI64::new(i64::MIN),
            purged_to: Mutex::default(),
            tidying: Tidying::new(name[0], USERS_STEPS),
            name,
        })
    }

    pub(super) async fn turn(&self) -> Result<Turn<'_>> {
        let permit = self.calls.try_acquire().map_err(|_| Trouble::Closed)?;
        Ok(Turn { deadline: deadline(), _permit: permit })
    }

    /// To be told the engine's time with each call.
    pub(super) fn saw(&self, now: Timestamp) {
        self.latest.fetch_max(now.as_millis(), Ordering::Relaxed);
    }

    /// The engine's time when it last said it.
    pub(super) fn latest(&self) -> Timestamp {
        Timestamp::from_millis(self.latest.load(Ordering::Relaxed))
    }
}
