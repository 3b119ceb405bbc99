//! A lazy connection: made when it is first needed, and remade when it breaks, by one call at a time and with a pause after a
//! failure.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::failure::Trouble;
use super::greeting::Question;
use super::wire::Wire;

/// Back-off after a failed connection attempt, or after the connection was dropped because of a reply. Meanwhile calls fail
/// immediately with the same error.
const PAUSE: Duration = Duration::from_millis(200);

/// How long calls wait for another call's attempt to connect, if the server was unreachable lately.
const SHORT: Duration = Duration::from_millis(100);

/// Interval of role checks: a server that became a replica may be taken for a master for this long.
const ROLE_AGE: Duration = Duration::from_secs(1);

/// Interval of clock checks.
const CLOCK_AGE: Duration = Duration::from_secs(60);

/// A connection, or none.
#[derive(Default)]
pub(super) struct Line {
    state: Mutex<State>,
    /// Held during an attempt to connect.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    open: Option<Arc<Connection>>,
    /// The end of the back-off, and its cause.
    pause: Option<(Instant, Trouble)>,
}

/// A connection after a successful handshake.
pub(super) struct Connection {
    pub(super) wire: Wire,
    made: Instant,
    question: Option<Question>,
    /// When the next role and clock checks are due, in milliseconds after the connection was made.
    role_due: AtomicU64,
    clock_due: AtomicU64,
}

impl Connection {
    pub(super) fn new(wire: Wire, question: Option<Question>) -> Self {
        Self {
            wire,
            made: Instant::now(),
            question,
            role_due: AtomicU64::new(millis(ROLE_AGE)),
            clock_due: AtomicU64::new(millis(CLOCK_AGE)),
        }
    }

    /// The checks to send together with the next command. Each due check goes to one call only.
    pub(super) fn due(&self) -> Due {
        let now = millis(self.made.elapsed());
        let take = |due: &AtomicU64, age: Duration| {
            let (at, next) = (due.load(Ordering::Relaxed), now + millis(age));
            now >= at && due.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        Due {
            role: self.question.filter(|_| take(&self.role_due, ROLE_AGE)),
            clock: take(&self.clock_due, CLOCK_AGE),
        }
    }
}

/// Checks to send to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// Its role.
    pub(super) role: Option<Question>,
    /// Its clock.
    pub(super) clock: bool,
}

impl Due {
    pub(super) fn is_any(self) -> bool {
        self.role.is_some() || self.clock
    }
}

impl Line {
    /// Connects with `connect`, unless another call has done so meanwhile. If the server `is_suffering`, calls that find an
    /// attempt in progress do not wait long for it.
    pub(super) async fn connect(
        &self,
        is_suffering: bool,
        late: impl FnOnce() -> Trouble,
        connect: impl Future<Output = Result<Arc<Connection>, Trouble>>,
        deadline: Instant,
    ) -> Result<Arc<Connection>, Trouble> {
        let patience = if is_suffering { deadline.min(Instant::now() + SHORT) } else { deadline };
        let _one = timeout_at(patience, self.connecting.lock()).await.map_err(|_| late())?;
        if let Some(connection) = self.usable()? {
            return Ok(connection);
        }
        match connect.await {
            Ok(connection) => {
                *self.lock() = State { open: Some(Arc::clone(&connection)), pause: None };
                Ok(connection)
            }
            Err(trouble) => {
                self.lock().pause = Some((Instant::now() + PAUSE, trouble.clone()));
                Err(trouble)
            }
        }
    }

    /// The connection, unless it is closed. The error is the cause of the back-off.
    pub(super) fn usable(&self) -> Result<Option<Arc<Connection>>, Trouble> {
        let state = self.lock();
        match (&state.open, &state.pause) {
            (Some(connection), _) if connection.wire.is_open() => Ok(Some(Arc::clone(connection))),
            (_, Some((until, trouble))) if Instant::now() < *until => Err(trouble.clone()),
            _ => Ok(None),
        }
    }

    /// Whether calls are waiting on the connection without any reply for this long.
    pub(super) fn stands_still(&self, long: Duration) -> bool {
        self.lock().open.as_ref().is_some_and(|connection| connection.wire.stands_still(long))
    }

    /// Drops a connection that broke.
    pub(super) fn forget(&self, connection: &Arc<Connection>) {
        self.lock().open.take_if(|open| Arc::ptr_eq(open, connection));
    }

    /// Drops a connection because of a reply, with a back-off: a new connection would get the same reply.
    pub(super) fn leave(&self, connection: &Arc<Connection>, why: Trouble) {
        let mut state = self.lock();
        if state.open.take_if(|open| Arc::ptr_eq(open, connection)).is_some() {
            state.pause = Some((connection.made + PAUSE, why));
        }
    }

    /// Closes the connection once the commands in progress have their replies.
    pub(super) fn close(&self) {
        self.lock().open = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
