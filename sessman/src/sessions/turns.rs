//! A fair lock for each session, within this process.
//!
//! Sessions never block each other: a store may be unable to reach some of them, and calls for those wait for a timeout.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use tokio::sync::oneshot;

use crate::id::Handle;

/// Number of lock stripes, so that threads rarely contend for one.
const STRIPES: usize = 256;

/// For each locked session, the queue of waiters.
type Waiting = HashMap<Handle, VecDeque<oneshot::Sender<Turn>>, RandomState>;
type Queues = Mutex<Waiting>;

/// The locks of all sessions.
pub(super) struct Turns {
    stripes: Arc<[Queues]>,
}

/// The guard of one session's lock. Dropping it passes the lock to the next waiter.
pub(super) struct Turn {
    stripes: Arc<[Queues]>,
    handle: Handle,
}

impl Default for Turns {
    fn default() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Mutex::default()).collect() }
    }
}

impl Turns {
    /// Waits for the session's lock, first come, first served.
    pub(super) async fn take(&self, handle: Handle) -> Turn {
        let next = match lock(&self.stripes, handle).entry(handle) {
            Entry::Vacant(place) => {
                place.insert(VecDeque::new());
                return self.turn(handle);
            }
            Entry::Occupied(mut waiting) => {
                let (sender, next) = oneshot::channel();
                waiting.get_mut().push_back(sender);
                next
            }
        };
        // The holder always passes the lock on; the sender is dropped in no other way.
        next.await.unwrap_or_else(|_| self.turn(handle))
    }

    fn turn(&self, handle: Handle) -> Turn {
        Turn { stripes: Arc::clone(&self.stripes), handle }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut queues = lock(&self.stripes, self.handle);
            let Some(waiting) = queues.get_mut(&self.handle) else { return };
            // Skip waiters that were cancelled.
            let next = std::iter::from_fn(|| waiting.pop_front()).find(|next| !next.is_closed());
            if next.is_none() {
                queues.remove(&self.handle);
            }
            next
        };
        if let Some(next) = next {
            // A waiter that is cancelled at this moment drops the guard, which passes the lock on.
            drop(next.send(Self { stripes: Arc::clone(&self.stripes), handle: self.handle }));
        }
    }
}

fn lock(stripes: &[Queues], handle: Handle) -> MutexGuard<'_, Waiting> {
    // Handles are random or hashes, so any byte is evenly distributed, and a byte has as many values as there are stripes.
    stripes[usize::from(handle.as_bytes()[2])].lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::time::timeout;

    use super::*;

    /// Handles of the same stripe.
    fn handle(n: u8) -> Handle {
        let mut bytes = [7; 12];
        bytes[11] = n;
        Handle::from(bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_turn_of_another_session() {
        let turns = Turns::default();
        let _held = turns.take(handle(1)).await;
        for n in 2..100 {
            assert!(turns.take(handle(n)).now_or_never().is_some(), "{n}");
        }
        assert!(timeout(Duration::from_secs(1), turns.take(handle(1))).await.is_err());
    }

    #[tokio::test]
    async fn turns_come_in_the_order_of_asking_and_pass_over_who_went_away() {
        let turns = Turns::default();
        let held = turns.take(handle(1)).await;
        let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(turns.take(handle(1)))).collect();
        for next in &mut waiting {
            assert!(next.now_or_never().is_none());
        }
        drop(waiting.remove(0));
        drop(held);
        let turn = (&mut waiting[0]).now_or_never().expect("it is the next one's");
        assert!((&mut waiting[1]).now_or_never().is_none());
        drop(turn);
        // It was handed on to one that goes away before it takes it.
        drop(waiting.remove(1));
        let last = (&mut waiting[1]).now_or_never().expect("it is handed on");
        drop((last, waiting));
        assert!(turns.stripes.iter().all(|queues| queues.lock().unwrap().is_empty()), "nothing is left");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn only_one_has_the_turn() {
        let turns = Arc::new(Turns::default());
        let count = Arc::new(Mutex::new(()));
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let (turns, count) = (Arc::clone(&turns), Arc::clone(&count));
                tokio::spawn(async move {
                    for _ in 0..100 {
                        let _turn = turns.take(handle(1)).await;
                        let alone = count.try_lock().expect("only one has the turn");
                        drop(alone);
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
}
