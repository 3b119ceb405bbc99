//! A budget for the memory that clients can make this process allocate, in bytes.
//!
//! Bodies, answers that were not read yet, long header blocks, and what plugins retain or queue are reserved here
//! before they are allocated, and returned after they are freed. So overload is rejected early with an error, instead
//! of having the system kill the process. Some memory is kept for those that matter more:
//!
//! - Strangers, who have not presented a key, may use a quarter in total. Beyond half of that, each of them is limited
//!   to a share.
//! - What plugins retain may use a half, what they queue a quarter.
//! - Clients that have presented a key may use everything, but the last eighth only for small requests. Beyond three
//!   quarters, each client is limited to a share for large ones.
//!
//! It takes no locks. The usual request is small, and updates it at most once.

mod give_back;
mod machine;
mod size;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(crate) use self::give_back::give_back;
pub(crate) use self::machine::memory;
pub(crate) use self::size::Size;
use crate::source::source;

/// A request or an answer up to this many bytes is small: clients with a key may use all of the budget for those.
pub(crate) const SMALL: usize = 16 * 1024;
/// Number of counters for clients. Two clients with the same counter affect each other only when memory is short.
const CLIENTS: usize = 4096;
/// Minimum time between two log lines.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What reserved memory is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payer {
    /// A request or an answer of this client, which has presented a key.
    Known(Client),
    /// A request or an answer of this client, which has not presented a key.
    Stranger(Client),
    /// Queued data of plugins.
    Waiting,
    /// Retained data of plugins.
    Kept,
}

/// The index of a client's counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client(usize);

/// The limit, and the bytes in use.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: AtomicUsize,
    taken: AtomicUsize,
    strangers: AtomicUsize,
    waiting: AtomicUsize,
    kept: AtomicUsize,
    clients: Box<[AtomicUsize]>,
    /// A seeded hash, so that nobody can choose whose counter to share.
    places: RandomState,
    refused: AtomicU64,
    start: Instant,
    /// When the next log line may be written, in milliseconds from `start`.
    tell_after: AtomicU64,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicUsize::new(limit),
            taken: AtomicUsize::new(0),
            strangers: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
            clients: std::iter::repeat_with(AtomicUsize::default).take(CLIENTS).collect(),
            places: RandomState::new(),
            refused: AtomicU64::new(0),
            start: Instant::now(),
            tell_after: AtomicU64::new(0),
        })
    }

    /// Changes the limit. Memory in use beyond it is not revoked.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The limit in bytes.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Bytes in use.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Number of rejected reservations.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The counter of a client.
    pub(crate) fn client(&self, address: Option<IpAddr>) -> Client {
        #[allow(clippy::cast_possible_truncation, reason = "a hash may be cut")]
        let hash = self.places.hash_one(source(address)) as usize;
        Client(hash % CLIENTS)
    }

    /// An empty share, for `payer`.
    pub(crate) fn share(self: &Arc<Self>, payer: Payer) -> Share {
        Share { budget: Arc::clone(self), payer, bytes: 0 }
    }

    /// Reserves `bytes` for something that then has `size` in total; returns whether they were available. Relaxed
    /// ordering is enough: only the numbers are compared, and they guard no other data.
    pub(crate) fn draw(&self, payer: Payer, bytes: usize, size: usize) -> bool {
        let limit = self.limit();
        let all = add(&self.taken, bytes);
        let fits = match payer {
            Payer::Known(client) => {
                let own = add(self.of(client), bytes);
                all <= limit
                    && (size <= SMALL || all <= limit / 4 * 3 || (all <= limit / 8 * 7 && own <= limit / 16))
            }
            Payer::Stranger(client) => {
                let own = add(self.of(client), bytes);
                let strangers = add(&self.strangers, bytes);
                all <= limit / 8 * 7
                    && strangers <= limit / 4
                    && (strangers <= limit / 8 || own <= limit / 64)
            }
            Payer::Waiting => add(&self.waiting, bytes) <= limit / 4 && all <= limit / 8 * 7,
            Payer::Kept => add(&self.kept, bytes) <= limit / 2 && all <= limit / 4 * 3,
        };
        if !fits {
            self.give(payer, bytes);
            // A cache that may not grow is not worth a log line.
            if payer != Payer::Kept {
                self.note_refusal();
            }
        }
        fits
    }

    /// Returns bytes.
    pub(crate) fn give(&self, payer: Payer, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
        match payer {
            Payer::Known(client) => self.of(client).fetch_sub(bytes, Ordering::Relaxed),
            Payer::Stranger(client) => {
                self.strangers.fetch_sub(bytes, Ordering::Relaxed);
                self.of(client).fetch_sub(bytes, Ordering::Relaxed)
            }
            Payer::Waiting => self.waiting.fetch_sub(bytes, Ordering::Relaxed),
            Payer::Kept => self.kept.fetch_sub(bytes, Ordering::Relaxed),
        };
    }

    fn of(&self, client: Client) -> &AtomicUsize {
        &self.clients[client.0]
    }

    fn note_refusal(&self) {
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (now, after) = (millis(self.start.elapsed()), self.tell_after.load(Ordering::Relaxed));
        let next = now.saturating_add(millis(TELL_EVERY));
        let is_mine = now >= after
            && self.tell_after.compare_exchange(after, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_mine {
            let (taken, limit) = (self.taken(), self.limit());
            tracing::warn!(
                refused,
                taken,
                limit,
                "memory is short: requests, answers or writes were refused"
            );
        }
    }
}

fn add(counter: &AtomicUsize, bytes: usize) -> usize {
    counter.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes)
}

/// Reserved bytes; returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    payer: Payer,
    bytes: usize,
}

impl Share {
    /// Reserves `by` more bytes, if they are available. Call it before allocating.
    #[must_use]
    pub(crate) fn grow(&mut self, by: usize) -> bool {
        let grows = self.budget.draw(self.payer, by, self.bytes.saturating_add(by));
        if grows {
            self.bytes += by;
        }
        grows
    }

    /// Returns up to `by` bytes.
    pub(crate) fn shrink(&mut self, by: usize) {
        let by = by.min(self.bytes);
        self.bytes -= by;
        self.budget.give(self.payer, by);
    }

    /// An empty share, for the same payer.
    pub(crate) fn another(&self) -> Self {
        self.budget.share(self.payer)
    }

    /// Its size in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Charges it to `payer` from now on.
    pub(crate) fn pass_to(&mut self, payer: Payer) {
        if payer == self.payer {
            return;
        }
        let mut other = self.budget.share(payer);
        if other.grow(self.bytes) {
            *self = other;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.give(self.payer, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;
    const LIMIT: usize = 64 * 1024 * KIB;

    fn client(budget: &Budget, address: &str) -> Client {
        budget.client(Some(address.parse().unwrap()))
    }

    /// Bytes that `payer` gets, in pieces of `piece`, each its own.
    fn drain(budget: &Arc<Budget>, payer: Payer, piece: usize) -> (usize, Vec<Share>) {
        let mut shares = Vec::new();
        loop {
            let mut share = budget.share(payer);
            if !share.grow(piece) {
                return (shares.len() * piece, shares);
            }
            shares.push(share);
        }
    }

    #[test]
    fn what_is_taken_comes_back() {
        let budget = Budget::new(LIMIT);
        for payer in [
            Payer::Known(client(&budget, "192.0.2.1")),
            Payer::Stranger(client(&budget, "192.0.2.1")),
            Payer::Waiting,
            Payer::Kept,
        ] {
            let (_, shares) = drain(&budget, payer, 100 * KIB);
            assert!(!shares.is_empty());
            drop(shares);
            assert_eq!(budget.taken(), 0);
            let mut share = budget.share(payer);
            assert!(share.grow(3) && share.grow(4));
            share.shrink(5);
            assert_eq!((share.bytes(), budget.taken()), (2, 2));
            drop(share);
        }
        let counters = [&budget.taken, &budget.strangers, &budget.waiting, &budget.kept];
        assert!(
            counters.into_iter().chain(&budget.clients).all(|counter| counter.load(Ordering::Relaxed) == 0)
        );
    }

    #[test]
    fn strangers_leave_three_quarters_to_others_and_each_leaves_half_of_theirs() {
        let budget = Budget::new(LIMIT);
        let (one, _first) = drain(&budget, Payer::Stranger(client(&budget, "192.0.2.1")), SMALL);
        assert_eq!(one, LIMIT / 8);
        let (two, _second) = drain(&budget, Payer::Stranger(client(&budget, "192.0.2.2")), SMALL);
        assert_eq!(two, LIMIT / 64);
        let mut all = one + two;
        let mut kept = Vec::new();
        for n in 0..100 {
            let address = format!("2001:db8:0:{n:x}::1");
            let (more, shares) = drain(&budget, Payer::Stranger(client(&budget, &address)), SMALL);
            all += more;
            kept.push(shares);
        }
        assert_eq!(all, LIMIT / 4);
        let (known, _rest) = drain(&budget, Payer::Known(client(&budget, "192.0.2.1")), 1024 * KIB);
        assert!(known >= LIMIT / 2, "{known}");
    }

    #[test]
    fn who_has_a_key_gets_small_requests_through_when_large_ones_have_taken_all_they_may() {
        let budget = Budget::new(LIMIT);
        let payer = Payer::Known(client(&budget, "192.0.2.1"));
        let (large, _large) = drain(&budget, payer, 1024 * KIB);
        assert_eq!(large, LIMIT / 4 * 3);
        // Another one has a share of what is large.
        let (other, _other) = drain(&budget, Payer::Known(client(&budget, "192.0.2.2")), 1024 * KIB);
        assert_eq!(other, LIMIT / 16);
        let (small, _small) = drain(&budget, payer, SMALL);
        assert_eq!(large + other + small, LIMIT);
    }

    #[test]
    fn plugins_leave_room() {
        let budget = Budget::new(LIMIT);
        assert_eq!(drain(&budget, Payer::Waiting, KIB).0, LIMIT / 4);
        let (kept, _kept) = drain(&budget, Payer::Kept, KIB);
        assert_eq!(kept, LIMIT / 2);
        let (small, _small) = drain(&budget, Payer::Known(client(&budget, "192.0.2.1")), SMALL);
        assert_eq!(kept + small, LIMIT);
    }

    #[test]
    fn a_stranger_who_shows_a_key_pays_as_one_who_has_it() {
        let budget = Budget::new(LIMIT);
        let one = client(&budget, "192.0.2.1");
        let mut share = budget.share(Payer::Stranger(one));
        assert!(share.grow(SMALL));
        share.pass_to(Payer::Known(one));
        assert_eq!((budget.strangers.load(Ordering::Relaxed), budget.taken()), (0, SMALL));
    }

    #[test]
    fn one_customer_is_one_client() {
        let budget = Budget::new(LIMIT);
        let same = |one: &str, other: &str| client(&budget, one) == client(&budget, other);
        assert!(same("2001:db8::1", "2001:db8::ffff:1") && same("::ffff:192.0.2.1", "192.0.2.1"));
        let others = (0..20).filter(|n| !same("2001:db8::1", &format!("2001:db8:0:{:x}::1", n + 1)));
        assert!(others.count() > 15);
    }
}
