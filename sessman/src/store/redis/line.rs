//! A connection that is made when it is first needed, and again when it broke: one at a time, and not at once again where
//! making it failed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::failure::Trouble;
use super::greeting::Question;
use super::wire::Wire;

/// After a connection could not be made, or was given up for what the server said, none is made for so long: calls fail
/// with the reason meanwhile.
const PAUSE: Duration = Duration::from_millis(200);

/// How long calls wait for the one among them that connects to a server which did not answer lately.
const SHORT: Duration = Duration::from_millis(100);

/// Between two questions what a server is: so long a server that became a replica may be taken for a master.
const ROLE_AGE: Duration = Duration::from_secs(1);

/// Between two looks at a server's clock.
const CLOCK_AGE: Duration = Duration::from_secs(60);

/// A connection, or none.
#[derive(Default)]
pub(super) struct Line {
    state: Mutex<State>,
    /// Held by the one that connects.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    open: Option<Arc<Connection>>,
    /// Until when none is made, and why.
    pause: Option<(Instant, Trouble)>,
}

/// A connection that the server let us in by.
pub(super) struct Connection {
    pub(super) wire: Wire,
    made: Instant,
    question: Option<Question>,
    /// When it is asked again what it is, and what its clock says, in milliseconds after it was made.
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

    /// What to ask the server together with the next command. Each time that comes is for one call.
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

/// What is to be asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// What it is.
    pub(super) role: Option<Question>,
    /// What its clock says.
    pub(super) clock: bool,
}

impl Due {
    pub(super) fn is_any(self) -> bool {
        self.role.is_some() || self.clock
    }
}

impl Line {
    /// Makes the connection with `connect`, unless another call has made it meanwhile. Where the server `is_suffering`, who does
    /// not connect does not wait long.
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

    /// The connection, unless it is known to have ended. The error is why none is made just now.
    pub(super) fn usable(&self) -> Result<Option<Arc<Connection>>, Trouble> {
        let state = self.lock();
        match (&state.open, &state.pause) {
            (Some(connection), _) if connection.wire.is_open() => Ok(Some(Arc::clone(connection))),
            (_, Some((until, trouble))) if Instant::now() < *until => Err(trouble.clone()),
            _ => Ok(None),
        }
    }

    /// Gives up a connection that broke.
    pub(super) fn forget(&self, connection: &Arc<Connection>) {
        self.lock().open.take_if(|open| Arc::ptr_eq(open, connection));
    }

    /// Gives up a connection for what the server said: it would say it again on a new one.
    pub(super) fn leave(&self, connection: &Arc<Connection>, why: Trouble) {
        let mut state = self.lock();
        if state.open.take_if(|open| Arc::ptr_eq(open, connection)).is_some() {
            state.pause = Some((connection.made + PAUSE, why));
        }
    }

    /// Lets go of the connection; commands that are under way get their answers first.
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
