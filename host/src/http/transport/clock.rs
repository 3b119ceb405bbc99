//! The client's deadlines on an HTTP/2 connection, where many requests run concurrently.
//!
//! It enforces what `deadline` enforces for HTTP/1.1, but in another way, because requests and answers of many streams
//! interleave. It measures the time until the first request; the time from the first byte of a header block to its
//! end, which no other frame may interrupt; the time without any request; and the time in which the client reads
//! nothing of its answers. The last one is detected by hyper's flow control: hyper polls an answer's body only when
//! the client's window is open. A window of one byte is enough for that, so that the last piece of an answer is
//! covered only by the time without any request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::deadline::Deadlines;

/// The state of a connection.
#[derive(Clone)]
pub(super) struct Clock {
    deadlines: Deadlines,
    state: Arc<Mutex<State>>,
}

struct State {
    /// Start of the time without any request.
    idle_since: Instant,
    is_new: bool,
    /// Start of the header block that is being received.
    headers_since: Option<Instant>,
    /// The requests in flight; with the time since which their answers wait for the client, if they do.
    requests: HashMap<u64, Option<Instant>>,
    /// When the client last read something of a waiting answer.
    taken: Instant,
    next: u64,
}

impl Clock {
    /// The clock of a new connection.
    pub(super) fn new(deadlines: Deadlines) -> Self {
        let now = Instant::now();
        let state = State {
            idle_since: now,
            taken: now,
            is_new: true,
            headers_since: None,
            requests: HashMap::new(),
            next: 0,
        };
        Self { deadlines, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when one of the client's deadlines has expired.
    pub(super) async fn expired(&self) {
        let Deadlines { header, keepalive, write } = self.deadlines;
        // A deadline that starts during this sleep is at least as far away.
        let nap = header.min(keepalive).min(write);
        loop {
            let now = Instant::now();
            let deadline = self.deadline();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return;
            }
            let next = now + nap;
            tokio::time::sleep_until(deadline.map_or(next, |deadline| deadline.min(next))).await;
        }
    }

    /// Completes when no request has been in flight for this long from now.
    pub(super) async fn quiet(&self, time: Duration) {
        let now = Instant::now();
        let mut end = now + time;
        while end > Instant::now() {
            tokio::time::sleep_until(end).await;
            let state = self.state();
            let since = if state.requests.is_empty() { state.idle_since } else { Instant::now() };
            end = since.max(now) + time;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let Deadlines { header, keepalive, write } = self.deadlines;
        let state = self.state();
        let idle = state
            .requests
            .is_empty()
            .then(|| state.idle_since + if state.is_new { header } else { keepalive });
        let headers = state.headers_since.map(|since| since + header);
        [idle, headers, state.answer_deadline(write)].into_iter().flatten().min()
    }

    /// A request's headers are complete.
    pub(super) fn request(&self) -> RequestGuard {
        let mut state = self.state();
        state.is_new = false;
        let number = state.next;
        state.next += 1;
        state.requests.insert(number, None);
        RequestGuard { clock: self.clone(), number }
    }

    /// Reports whether a header block is being received.
    pub(super) fn reads_headers(&self, reads: bool) {
        let mut state = self.state();
        if !reads {
            state.headers_since = None;
        } else if state.headers_since.is_none() {
            state.headers_since = Some(Instant::now());
        }
    }
}

impl State {
    /// Waiting answers take turns, so one of them may wait as long as the others make progress. The limit is the write
    /// timeout multiplied by their number; without a limit, a client could keep them forever by reading just one.
    fn answer_deadline(&self, write: Duration) -> Option<Instant> {
        let waiting = self.requests.values().flatten();
        let turns = u32::try_from(waiting.clone().count()).unwrap_or(u32::MAX);
        let oldest = *waiting.min()?;
        Some((oldest.max(self.taken) + write).min(oldest + write.saturating_mul(turns)))
    }
}

/// Lives as long as a request is being answered.
pub(super) struct RequestGuard {
    clock: Clock,
    number: u64,
}

impl RequestGuard {
    /// Reports whether the answer waits for the client now.
    pub(super) fn waits(&self, waits: bool) {
        let now = Instant::now();
        let mut state = self.clock.state();
        let before = state.requests.insert(self.number, waits.then_some(now));
        if !waits && before.flatten().is_some() {
            state.taken = now;
        }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut state = self.clock.state();
        state.requests.remove(&self.number);
        state.idle_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINES: Deadlines = Deadlines {
        header: Duration::from_secs(10),
        keepalive: Duration::from_secs(60),
        write: Duration::from_secs(30),
    };

    async fn seconds(clock: &Clock) -> u64 {
        let start = Instant::now();
        clock.expired().await;
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_ends() {
        let clock = Clock::new(DEADLINES);
        assert_eq!(seconds(&clock).await, 10);
        let clock = Clock::new(DEADLINES);
        drop(clock.request());
        assert_eq!(seconds(&clock).await, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn headers_that_do_not_end_end_the_connection_beside_a_request_under_way() {
        let clock = Clock::new(DEADLINES);
        let _guard = clock.request();
        assert!(tokio::time::timeout(Duration::from_secs(600), clock.expired()).await.is_err());
        clock.reads_headers(true);
        tokio::time::sleep(Duration::from_secs(3)).await;
        clock.reads_headers(true);
        assert_eq!(seconds(&clock).await, 7);
        clock.reads_headers(false);
        assert_eq!(clock.deadline(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_ends_the_connection() {
        let clock = Clock::new(DEADLINES);
        let (one, other) = (clock.request(), clock.request());
        one.waits(true);
        tokio::time::sleep(Duration::from_secs(20)).await;
        other.waits(true);
        one.waits(false);
        assert_eq!(seconds(&clock).await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_on_a_slow_line_take_turns() {
        let clock = Clock::new(DEADLINES);
        let guards: Vec<RequestGuard> = (0..100).map(|_| clock.request()).collect();
        guards.iter().for_each(|guard| guard.waits(true));
        // Each has its turn after 50 seconds.
        for guard in guards.iter().cycle().take(300) {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(clock.deadline() > Some(Instant::now()));
            guard.waits(false);
            guard.waits(true);
        }
        assert_eq!(seconds(&clock).await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_not_kept_for_ever_by_taking_another() {
        let clock = Clock::new(DEADLINES);
        let (kept, other) = (clock.request(), clock.request());
        kept.waits(true);
        other.waits(true);
        for _ in 0..59 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            other.waits(false);
            other.waits(true);
        }
        assert_eq!(seconds(&clock).await, 1);
    }
}
