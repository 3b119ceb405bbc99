//! Memory quota for what stores hold. The host counts it together with its own memory.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The purpose of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Queued writes.
    Waiting,
    /// Stored records: in a cache, or in the memory store.
    Kept,
}

/// A memory quota.
pub trait Budget: Send + Sync {
    /// Takes this many bytes more, before they are allocated; `false` if the quota is exhausted.
    fn draw(&self, kind: Kind, bytes: usize) -> bool;
    /// Returns bytes.
    fn give_back(&self, kind: Kind, bytes: usize);
}

/// A budget without a limit.
#[derive(Debug, Clone, Copy)]
pub struct Unlimited;

impl Budget for Unlimited {
    fn draw(&self, _kind: Kind, _bytes: usize) -> bool {
        true
    }

    fn give_back(&self, _kind: Kind, _bytes: usize) {}
}

impl Unlimited {
    /// As a shared trait object.
    pub fn shared() -> Arc<dyn Budget> {
        Arc::new(Self)
    }
}

/// Bytes taken from a budget; returned when this is dropped.
pub(crate) struct Drawn {
    budget: Arc<dyn Budget>,
    kind: Kind,
    bytes: usize,
}

impl Drawn {
    /// Zero bytes.
    pub(crate) fn new(budget: &Arc<dyn Budget>, kind: Kind) -> Self {
        Self { budget: Arc::clone(budget), kind, bytes: 0 }
    }

    /// Zero bytes from the same budget.
    pub(crate) fn another(&self) -> Self {
        Self::new(&self.budget, self.kind)
    }

    /// The number of bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes this many more; `false` if the quota is exhausted.
    #[must_use]
    pub(crate) fn grow(&mut self, by: usize) -> bool {
        let grows = self.budget.draw(self.kind, by);
        self.bytes += if grows { by } else { 0 };
        grows
    }

    /// Returns this many.
    pub(crate) fn shrink(&mut self, by: usize) {
        self.bytes -= by;
        self.budget.give_back(self.kind, by);
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        self.budget.give_back(self.kind, self.bytes);
    }
}

impl fmt::Debug for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Drawn({:?}, {} bytes)", self.kind, self.bytes)
    }
}

/// A limited pool of bytes that many threads use. Memory is taken from the budget in steps, so that few calls have to ask it.
pub(crate) struct Pool {
    used: AtomicUsize,
    limit: usize,
    step: usize,
    /// What was taken from the budget: as much as is in use, or some steps more. For a moment it may be less, in a race of taking
    /// and freeing.
    covered: AtomicUsize,
    drawn: Mutex<Drawn>,
}

impl Pool {
    /// A pool of `limit` bytes.
    pub(crate) fn new(limit: usize, step: usize, drawn: Drawn) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit,
            step,
            covered: AtomicUsize::new(0),
            drawn: Mutex::new(drawn),
        }
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes this many more, if the limit and the budget allow it.
    #[must_use]
    pub(crate) fn take(&self, bytes: usize) -> bool {
        self.take_where(bytes, |used| used <= self.limit)
    }

    /// Like [`take`](Self::take), but a first one may exceed the limit.
    #[must_use]
    pub(crate) fn take_one_at_least(&self, bytes: usize) -> bool {
        self.take_where(bytes, |used| used == bytes || used <= self.limit)
    }

    fn take_where(&self, bytes: usize, fits: impl Fn(usize) -> bool) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|used| fits(*used));
        let Ok(before) = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) else {
            return false;
        };
        if before + bytes <= self.covered.load(Ordering::Relaxed) || self.cover(bytes) {
            return true;
        }
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        false
    }

    /// Takes memory from the budget for what is in use, with some in reserve. If the budget has less, only for the caller's `own`
    /// bytes: other callers take for theirs.
    fn cover(&self, own: usize) -> bool {
        let mut drawn = self.drawn();
        let missing = self.used().saturating_sub(drawn.bytes());
        let is_covered = missing == 0
            || drawn.grow(missing + self.step)
            || drawn.grow(missing)
            || (own < missing && drawn.grow(own));
        self.covered.store(drawn.bytes(), Ordering::Relaxed);
        is_covered
    }

    /// Frees this many bytes.
    pub(crate) fn free(&self, bytes: usize) {
        let used = self.used.fetch_sub(bytes, Ordering::Relaxed) - bytes;
        if used + 4 * self.step >= self.covered.load(Ordering::Relaxed) {
            return;
        }
        let mut drawn = self.drawn();
        let unused = drawn.bytes().saturating_sub(self.used() + self.step);
        drawn.shrink(unused);
        self.covered.store(drawn.bytes(), Ordering::Relaxed);
    }

    /// Records that a use of `before` bytes is now `after`, whatever the limit. The next
    /// [`take`](Self::take) takes memory for it from the budget.
    pub(crate) fn note(&self, before: usize, after: usize) {
        match after.checked_sub(before) {
            Some(more) => _ = self.used.fetch_add(more, Ordering::Relaxed),
            None => self.free(before - after),
        }
    }

    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For tests: so much, of any kind.
#[cfg(test)]
pub(crate) struct Purse {
    left: AtomicUsize,
}

#[cfg(test)]
impl Purse {
    pub(crate) fn of(bytes: usize) -> Arc<Self> {
        Arc::new(Self { left: bytes.into() })
    }

    pub(crate) fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
impl Budget for Purse {
    fn draw(&self, _kind: Kind, bytes: usize) -> bool {
        let left = |left: usize| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }

    fn give_back(&self, _kind: Kind, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(limit: usize, purse: &Arc<Purse>) -> Pool {
        let budget: Arc<dyn Budget> = purse.clone();
        Pool::new(limit, 100, Drawn::new(&budget, Kind::Waiting))
    }

    #[test]
    fn memory_is_drawn_in_steps_and_given_back_but_for_some() {
        let purse = Purse::of(10_000);
        let pool = pool(5_000, &purse);
        assert!(pool.take(10) && pool.take(90));
        assert_eq!(purse.left(), 9_890, "one step more than the first took");
        assert!(pool.take(4_900) && !pool.take(1));
        pool.free(4_990);
        assert_eq!((pool.used(), purse.left()), (10, 9_890));
        pool.note(10, 4_000);
        pool.note(4_000, 0);
        assert!(pool.used() == 0 && purse.left() >= 9_600);
        drop(pool);
        assert_eq!(purse.left(), 10_000);
    }

    #[test]
    fn what_others_ask_for_in_vain_keeps_nobody_from_a_little() {
        let purse = Purse::of(1_000);
        let pool = pool(5_000, &purse);
        // Counted, and about to be refused.
        pool.note(0, 3_000);
        assert!(pool.take(500));
        assert!(!pool.take(600));
        pool.note(3_000, 0);
        assert_eq!(pool.used(), 500);
    }

    #[test]
    fn nothing_is_lost_among_threads() {
        let purse = Purse::of(20_000);
        let pool = pool(2_000, &purse);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let pool = &pool;
                scope.spawn(move || {
                    for round in 0..5_000 {
                        let bytes = (round * 7 + thread) % 900;
                        if pool.take_one_at_least(bytes) {
                            pool.free(bytes);
                        }
                    }
                });
            }
        });
        assert!(pool.used() == 0 && purse.left() >= 20_000 - 500);
        drop(pool);
        assert_eq!(purse.left(), 20_000);
    }
}
