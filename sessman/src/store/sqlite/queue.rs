//! A bounded queue between callers, which never block, and threads, which do.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Jobs, first in, first out.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    limit: usize,
}

struct State<T> {
    jobs: VecDeque<T>,
    /// Threads that wait for a job and were not woken yet. Only if there are any is a wake-up needed, which is a system call.
    waiting: usize,
    closed: bool,
}

/// Why a job was rejected.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Refused {
    /// More jobs are queued than can be done in time.
    #[error("{0} calls wait for the SQLite file already")]
    Full(usize),
    /// Queued jobs have reached their memory quota.
    #[error("calls with {0} bytes wait for the SQLite file already")]
    Large(usize),
    /// The store is closed, or the thread has ended.
    #[error("the SQLite store is closed")]
    Closed,
}

impl<T> Queue<T> {
    /// A queue of at most `limit` jobs.
    pub(super) fn new(limit: usize) -> Self {
        let state = State { jobs: VecDeque::new(), waiting: 0, closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), limit }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job, and wakes a thread.
    pub(super) fn push(&self, job: T) -> Result<(), Refused> {
        let mut state = self.state();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.jobs.len() >= self.limit {
            return Err(Refused::Full(state.jobs.len()));
        }
        state.jobs.push_back(job);
        // Decremented here: until the woken thread runs, other callers would wake it again.
        let somebody_waits = state.waiting > 0;
        state.waiting -= usize::from(somebody_waits);
        drop(state);
        if somebody_waits {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Drops queued jobs that are no longer wanted.
    pub(super) fn retain(&self, is_wanted: impl FnMut(&T) -> bool) {
        self.state().jobs.retain(is_wanted);
    }

    /// The number of queued jobs.
    pub(super) fn len(&self) -> usize {
        self.state().jobs.len()
    }

    /// Waits for jobs. `false` when the queue is closed and empty.
    pub(super) fn wait(&self) -> bool {
        let mut state = self.state();
        while state.jobs.is_empty() && !state.closed {
            state.waiting += 1;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.jobs.is_empty()
    }

    /// Moves up to `limit` jobs into `jobs`; none, if another thread was faster.
    pub(super) fn take(&self, limit: usize, jobs: &mut Vec<T>) {
        let mut state = self.state();
        let count = limit.min(state.jobs.len());
        jobs.extend(state.jobs.drain(..count));
    }

    /// Accepts no more jobs; queued ones are still handed out.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_all();
    }
}

/// The thread that should have replied has ended.
#[derive(Debug, thiserror::Error)]
#[error("the SQLite store has stopped")]
pub(super) struct Stopped;

/// Closes a queue and drops its jobs when its thread ends, however it ends. So after a panic the callers fail immediately
/// and do not wait for their deadline.
pub(super) struct Abandon<'a, T>(pub(super) &'a Queue<T>);

impl<T> Drop for Abandon<'_, T> {
    fn drop(&mut self) {
        self.0.close();
        let jobs = std::mem::take(&mut self.0.state().jobs);
        drop(jobs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_come_in_order_and_by_the_limit() {
        let queue = Queue::new(3);
        for job in 1..=3 {
            queue.push(job).unwrap();
        }
        assert_eq!(queue.push(4), Err(Refused::Full(3)));
        let mut jobs = Vec::new();
        assert!(queue.wait());
        queue.take(2, &mut jobs);
        queue.push(4).unwrap();
        queue.take(9, &mut jobs);
        assert_eq!(jobs, [1, 2, 3, 4]);
    }

    #[test]
    fn a_closed_queue_is_emptied_first() {
        let queue = Queue::new(3);
        queue.push(1).unwrap();
        queue.close();
        assert_eq!(queue.push(2), Err(Refused::Closed));
        let mut jobs = Vec::new();
        assert!(queue.wait());
        queue.take(9, &mut jobs);
        assert!(!queue.wait());
        assert_eq!(jobs, [1]);
    }

    #[test]
    fn a_waiting_thread_hears_of_a_job_and_of_the_end() {
        let queue = Queue::new(3);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let mut jobs = Vec::new();
                while queue.wait() {
                    queue.take(1, &mut jobs);
                }
                jobs
            });
            queue.push(1).unwrap();
            queue.push(2).unwrap();
            queue.close();
            assert_eq!(taker.join().unwrap(), [1, 2]);
        });
    }

    #[test]
    fn an_abandoned_queue_drops_its_jobs() {
        let queue = Queue::new(3);
        let (job, watch) = std::sync::mpsc::channel::<()>();
        queue.push(job).unwrap();
        drop(Abandon(&queue));
        assert!(watch.recv().is_err());
    }
}
