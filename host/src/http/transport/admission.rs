//! Admission control: how many connections there may be, in total and per client.
//!
//! A client is an IPv4 address, or the /64 network of an IPv6 address, which usually belongs to one customer. It holds
//! no more than [`SHARE`] times as many places as are free. So a single client gets three quarters of the places, and
//! the next one three quarters of the rest. A trusted proxy has no such limit: its connections belong to many clients.
//!
//! When a client has reached its share, a new connection evicts an idle one of the same client. When all places are
//! taken, it evicts an idle connection, or else one whose request is incomplete or whose answer is not taken, of a
//! client that holds as many places or more. If none can be evicted, a few connections wait, and all others are closed
//! immediately. Some places are reserved for this machine, so that operators can still query the host.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::config::Proxies;
use crate::http::gate::proxy::ClientAddress;
use crate::http::message::phase::Phase;
use crate::source::{Source, source};

/// A client may hold this many times the number of free places.
const SHARE: usize = 3;
/// One of this many places is reserved for this machine, up to this many in total.
const KEPT: usize = 16;
/// Limits of connections that wait for a place: in total, and per client.
const WAITING: usize = 64;
const WAITING_OF_ONE: usize = 8;
/// Number of connections that are examined to find one to evict.
const SAMPLE: usize = 256;
/// Limit of evicted connections that have not ended yet: one for this many places.
const LEAVING: usize = 8;
/// Minimum time between two log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Admits connections.
#[derive(Default)]
pub(super) struct Admission {
    state: Mutex<State>,
    /// A connection has ended, or the limit has changed.
    changed: Notify,
}

#[derive(Default)]
struct State {
    limit: usize,
    proxies: Proxies,
    /// Connections that hold a place.
    open: Vec<Arc<Occupant>>,
    /// Number of places held, by client; only clients with a limited share.
    held: HashMap<u64, usize>,
    /// Number of evicted connections that have not ended yet.
    leaving: usize,
    /// Where the next search for a connection to evict starts.
    next: usize,
    waiting: Vec<Source>,
    told: Option<Instant>,
}

/// A connection.
struct Occupant {
    /// `None` has no limited share.
    client: Source,
    phase: Phase,
    /// Its index in [`State::open`]; [`GONE`] if it was evicted.
    place: AtomicUsize,
    leave: AtomicWaker,
}

const GONE: usize = usize::MAX;

/// A connection's place; released when this is dropped.
pub(super) struct Seat {
    admission: Arc<Admission>,
    occupant: Arc<Occupant>,
}

/// The decision about a new connection.
pub(super) enum Decision {
    Admitted(Seat),
    Wait(Waiting),
    /// It has to be closed.
    Refused,
}

/// A connection that waits for a place.
pub(super) struct Waiting {
    admission: Arc<Admission>,
    address: Option<IpAddr>,
    client: Source,
}

impl Admission {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave it half updated.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the limit of connections, and the proxies whose share is not limited.
    pub(super) fn limit(&self, limit: usize, proxies: Proxies) {
        let mut state = self.state();
        (state.limit, state.proxies) = (limit, proxies);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Asks for a place for a new connection from this address; `None` is a Unix socket.
    pub(super) fn ask(self: &Arc<Self>, address: Option<IpAddr>) -> Decision {
        let mut state = self.state();
        let client = state.client(address);
        if let Some(occupant) = state.admit(address, client) {
            return Decision::Admitted(Seat { admission: Arc::clone(self), occupant });
        }
        let (open, held) = (state.open.len(), state.held(client));
        if state.is_to_be_told() {
            let client = ClientAddress(address);
            tracing::warn!(%client, held, open, "a connection has no place ([limits] max_connections)");
        }
        let of_one = state.waiting.iter().filter(|other| **other == client).count();
        if state.waiting.len() >= WAITING || of_one >= WAITING_OF_ONE {
            return Decision::Refused;
        }
        state.waiting.push(client);
        Decision::Wait(Waiting { admission: Arc::clone(self), address, client })
    }

    /// Waits until there are no connections.
    pub(super) async fn empty(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state().is_empty() {
                return;
            }
            changed.await;
        }
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.leaving == 0
    }

    fn client(&self, address: Option<IpAddr>) -> Source {
        source(address.filter(|_| !self.proxies.trusts(address)))
    }

    fn held(&self, client: Source) -> usize {
        client.and_then(|client| self.held.get(&client)).copied().unwrap_or_default()
    }

    fn admit(&mut self, address: Option<IpAddr>, client: Source) -> Option<Arc<Occupant>> {
        let open = self.open.len();
        let free = (self.limit - (self.limit / KEPT).min(KEPT)).saturating_sub(open);
        let is_local = address.is_none_or(|address| address.is_loopback());
        let is_within_share = client.is_none() || self.held(client) < SHARE * free;
        let has_place = (free > 0 && is_within_share) || (is_local && open < self.limit);
        if !has_place {
            let leaving = self.expendable(client, free == 0)?;
            self.remove(&leaving);
            self.leaving += 1;
            leaving.leave.wake();
        }
        let place = AtomicUsize::new(self.open.len());
        let occupant =
            Arc::new(Occupant { client, phase: Phase::default(), place, leave: AtomicWaker::new() });
        if let Some(client) = client {
            *self.held.entry(client).or_default() += 1;
        }
        self.open.push(Arc::clone(&occupant));
        Some(occupant)
    }

    /// Finds a connection to evict for a new one of this client: among those that are examined, one of the client that
    /// holds most.
    fn expendable(&mut self, client: Source, is_full: bool) -> Option<Arc<Occupant>> {
        if self.leaving > self.limit / LEAVING {
            return None;
        }
        let count = self.open.len();
        let least = self.held(client).max(1);
        let mut found: Option<(bool, usize, &Arc<Occupant>)> = None;
        for at in (0..count.min(SAMPLE)).map(|step| (self.next + step) % count) {
            let occupant = &self.open[at];
            let held = self.held(occupant.client);
            let is_idle = occupant.phase.is_idle();
            let may_go = if is_full {
                let is_slow = occupant.phase.is_unfinished() || occupant.phase.is_untaken();
                held >= least && (is_idle || (held > least && is_slow))
            } else {
                occupant.client == client && is_idle
            };
            if may_go && found.is_none_or(|(idle, most, _)| (is_idle, held) > (idle, most)) {
                found = Some((is_idle, held, occupant));
            }
        }
        let found = found.map(|(.., occupant)| Arc::clone(occupant));
        self.next = (self.next + SAMPLE.min(count)) % count.max(1);
        found
    }

    fn remove(&mut self, occupant: &Occupant) {
        let place = occupant.place.swap(GONE, Ordering::AcqRel);
        self.open.swap_remove(place);
        if let Some(moved) = self.open.get(place) {
            moved.place.store(place, Ordering::Relaxed);
        }
        if let Some(client) = occupant.client
            && let Some(held) = self.held.get_mut(&client)
        {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&client);
            }
        }
    }

    fn is_to_be_told(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.told.is_none_or(|told| now.duration_since(told) >= LOG_INTERVAL);
        if is_due {
            self.told = Some(now);
        }
        is_due
    }
}

impl Seat {
    /// The phase that the connection reports.
    pub(super) fn phase(&self) -> &Phase {
        &self.occupant.phase
    }

    /// Whether the connection was evicted.
    pub(super) fn is_lost(&self) -> bool {
        self.occupant.place.load(Ordering::Acquire) == GONE
    }

    /// Waits until the connection is evicted.
    pub(super) async fn lost(&self) {
        poll_fn(|context| {
            self.occupant.leave.register(context.waker());
            if self.is_lost() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        if self.is_lost() {
            state.leaving -= 1;
        } else {
            state.remove(&self.occupant);
        }
        drop(state);
        self.admission.changed.notify_waiters();
    }
}

impl Waiting {
    /// Waits for a place until `deadline`.
    pub(super) async fn place(self, deadline: Instant) -> Option<Seat> {
        loop {
            let changed = self.admission.changed.notified();
            let admitted = self.admission.state().admit(self.address, self.client);
            if let Some(occupant) = admitted {
                return Some(Seat { admission: Arc::clone(&self.admission), occupant });
            }
            timeout_at(deadline, changed).await.ok()?;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        if let Some(at) = state.waiting.iter().position(|client| *client == self.client) {
            state.waiting.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::http::transport::deadline::{DeadlineStream, Deadlines};

    fn admission(limit: usize, trusted: &[&str]) -> Arc<Admission> {
        let admission = Arc::new(Admission::default());
        let trusted: Vec<String> = trusted.iter().map(|text| (*text).to_owned()).collect();
        admission.limit(limit, Proxies::parse(&trusted).unwrap());
        admission
    }

    fn enter(admission: &Arc<Admission>, address: &str) -> Option<Seat> {
        match admission.ask(address.parse().ok()) {
            Decision::Admitted(seat) => Some(seat),
            Decision::Wait(_) | Decision::Refused => None,
        }
    }

    fn enter_all(admission: &Arc<Admission>, address: &str) -> Vec<Seat> {
        std::iter::from_fn(|| enter(admission, address)).collect()
    }

    fn make_idle(seats: &[Seat]) {
        seats.iter().for_each(|seat| drop(seat.phase().request()));
    }

    #[tokio::test]
    async fn who_takes_all_that_it_can_get_leaves_something() {
        let admission = admission(200, &[]);
        let mut taken: Vec<Vec<Seat>> = Vec::new();
        for n in 0..20 {
            let all = enter_all(&admission, &format!("192.0.2.{n}"));
            assert!(!all.is_empty(), "{n}");
            // Those that never sent a request make room, of who has most.
            taken.iter_mut().for_each(|seats| seats.retain(|seat| !seat.is_lost()));
            taken.push(all);
        }
        let counts: Vec<usize> = taken.iter().map(Vec::len).collect();
        assert!(counts.iter().sum::<usize>() <= 188 && counts[0] < 141, "{counts:?}");
        drop(taken);
        assert_eq!(
            enter_all(&admission, "192.0.2.99").len(),
            141,
            "three quarters of those that are not kept"
        );
    }

    #[tokio::test]
    async fn a_customer_with_ipv6_is_one_client() {
        let admission = admission(200, &[]);
        let one = enter_all(&admission, "2001:db8::1");
        assert_eq!((one.len(), enter_all(&admission, "2001:db8::2").len()), (141, 0));
        assert_eq!(enter_all(&admission, "2001:db8:0:1::1").len(), 36);
    }

    #[tokio::test]
    async fn idle_connections_make_room_those_of_who_has_most_first() {
        let admission = admission(200, &[]);
        let greedy = enter_all(&admission, "192.0.2.1");
        make_idle(&greedy);
        let others: Vec<Seat> =
            (0..188 - greedy.len()).map(|n| enter(&admission, &format!("198.51.100.{n}")).unwrap()).collect();
        make_idle(&others);
        assert!(enter(&admission, "203.0.113.1").is_some(), "all places were taken");
        let count = |seats: &[Seat]| seats.iter().filter(|seat| seat.is_lost()).count();
        assert_eq!((count(&greedy), count(&others)), (1, 0));
        // Another one of a client beyond its share takes the place of one of its own.
        let again = enter(&admission, "192.0.2.1");
        assert_eq!((again.is_some(), count(&greedy), count(&others)), (true, 2, 0));
    }

    #[tokio::test]
    async fn what_answers_is_left_alone() {
        let admission = admission(200, &[]);
        let busy = enter_all(&admission, "192.0.2.1");
        let answering: Vec<_> = busy.iter().map(|seat| seat.phase().request()).collect();
        assert!(enter(&admission, "192.0.2.1").is_none() && !busy.iter().any(Seat::is_lost));
        drop(answering);
        assert!(enter(&admission, "192.0.2.1").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_answers_slowly_makes_room_for_who_holds_less() {
        let admission = admission(200, &[]);
        let slow = enter_all(&admission, "192.0.2.1");
        make_idle(&slow);
        let deadlines = Deadlines { write: Duration::from_secs(60), ..Deadlines::default() };
        let mut untaken = Vec::new();
        for seat in &slow {
            let (client, server) = tokio::io::duplex(1);
            let mut stream = DeadlineStream::new(server, seat.phase().clone(), deadlines);
            let mut writing = Box::pin(async move { stream.write_all(b"an answer").await });
            assert!(futures_util::poll!(&mut writing).is_pending());
            untaken.push((client, writing));
        }
        let others: Vec<Seat> =
            (0..188 - slow.len()).map(|n| enter(&admission, &format!("198.51.100.{n}")).unwrap()).collect();
        let answering: Vec<_> = others.iter().map(|seat| seat.phase().request()).collect();
        assert!(enter(&admission, "192.0.2.1").is_none(), "for one of its own there is no room");
        assert!(enter(&admission, "203.0.113.1").is_some());
        assert_eq!(slow.iter().filter(|seat| seat.is_lost()).count(), 1);
        assert!(!others.iter().any(Seat::is_lost));
        drop((answering, untaken));
    }

    #[tokio::test]
    async fn a_trusted_proxy_has_no_share_and_this_machine_has_places_of_its_own() {
        let admission = admission(200, &["10.0.0.1", "127.0.0.9"]);
        let proxied = enter_all(&admission, "10.0.0.1");
        make_idle(&proxied);
        assert_eq!(proxied.len(), 188);
        assert!(enter(&admission, "192.0.2.1").is_none() && !proxied.iter().any(Seat::is_lost));
        let own = enter_all(&admission, "127.0.0.1");
        assert_eq!(own.len(), 12);
        assert!(enter(&admission, "a unix socket").is_some(), "of those that ask nothing one makes room");
        assert!(!proxied.iter().any(Seat::is_lost));
    }

    #[tokio::test(start_paused = true)]
    async fn few_wait_and_the_others_are_closed() {
        let admission = admission(2, &[]);
        let mut seats = enter_all(&admission, "192.0.2.1");
        let ask = |address: &str| admission.ask(address.parse().ok());
        let mut waiting = Vec::new();
        for n in 0..20 {
            match ask("192.0.2.1") {
                Decision::Wait(one) => waiting.push(one),
                Decision::Refused => assert!(n >= WAITING_OF_ONE),
                Decision::Admitted(_) => panic!("{n}"),
            }
        }
        assert_eq!(waiting.len(), WAITING_OF_ONE);
        let one = waiting.pop().unwrap();
        let placed = tokio::spawn(one.place(Instant::now() + Duration::from_secs(10)));
        tokio::time::sleep(Duration::from_secs(9)).await;
        seats.pop();
        let placed = placed.await.unwrap();
        assert!(placed.is_some());
        let one = waiting.pop().unwrap();
        assert!(one.place(Instant::now() + Duration::from_secs(10)).await.is_none());
        assert!(matches!(ask("192.0.2.1"), Decision::Wait(_)), "there is room to wait again");
    }

    #[tokio::test(start_paused = true)]
    async fn the_gate_follows_its_limit_and_says_when_nobody_is_there() {
        let admission = admission(1, &[]);
        let first = enter(&admission, "192.0.2.1");
        assert!(first.is_some() && enter(&admission, "192.0.2.1").is_none());
        admission.limit(2, Proxies::default());
        let second = enter(&admission, "192.0.2.1");
        admission.limit(1, Proxies::default());
        drop(second);
        assert!(enter(&admission, "192.0.2.1").is_none());
        assert!(tokio::time::timeout(Duration::from_secs(1), admission.empty()).await.is_err());
        drop(first);
        admission.empty().await;
    }
}
