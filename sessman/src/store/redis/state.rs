//! The fields of an open store.

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

/// Permits for calls in progress, which `close` waits for: as many as possible. The limit on calls is in `link`.
pub(super) const MAX_CALLS: u32 = 1 << 28;

/// Length of the random name under which a process holds the lease of the clean-up.
const NAME_BYTES: usize = 16;

/// Sessions in Redis. For its guarantees see [the module](super).
pub struct RedisStore {
    pub(super) servers: Arc<Servers>,
    pub(super) keys: Keys,
    pub(super) leftovers: Leftovers,
    pub(super) calls: Semaphore,
    /// The last known time of the engine, in milliseconds.
    latest: AtomicI64,
    /// The cursor after the last batch of a purge.
    pub(super) purged_to: Mutex<Option<String>>,
    pub(super) tidying: Tidying,
    /// The name of this process in the lease of the clean-up.
    pub(super) name: [u8; NAME_BYTES],
}

/// A call in progress, and its deadline.
pub(super) struct Turn<'a> {
    pub(super) deadline: Instant,
    pub(super) _permit: SemaphorePermit<'a>,
}

impl RedisStore {
    /// Opens the store and returns immediately, whether a server is reachable or not: until one is, calls fail with
    /// [`StoreError::Unavailable`].
    ///
    /// # Errors
    /// [`StoreError::Unusable`] for a configuration that [`RedisConfig::check`] rejects.
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

    /// Must be called with the engine's time in each call that has it.
    pub(super) fn saw(&self, now: Timestamp) {
        self.latest.fetch_max(now.as_millis(), Ordering::Relaxed);
    }

    /// The last known time of the engine.
    pub(super) fn latest(&self) -> Timestamp {
        Timestamp::from_millis(self.latest.load(Ordering::Relaxed))
    }
}
