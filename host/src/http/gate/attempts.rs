//! Rate limit of guesses, by address: the one place for every secret that can be guessed.
//!
//! A valid secret is never rejected and never delayed, whatever its source: only an invalid one is counted here, after
//! it was found to be invalid. So the happy path touches nothing of this, and an address that guesses all day (a
//! proxy's, say, with one bad client behind it) locks nobody out. What it costs the attacker is time: after some free
//! attempts an invalid secret is answered late, and a key with 429. A delayed answer costs little more than an idle
//! connection. Beyond a fixed number of delayed answers, an invalid key is answered with 429 immediately, and an
//! invalid id as usual.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::secrets::{Pace, Secret};
use crate::source::{Source, source};

/// The delay after the first attempt that is not free; it doubles up to a maximum.
const FIRST_PAUSE: Duration = Duration::from_millis(125);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Limit of concurrently delayed answers.
const LATE_ANSWERS: usize = 1024;
/// Limit of addresses that are remembered.
const MAX_ADDRESSES: usize = 4096;
/// Minimum time between two log lines about one address.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Limit of log lines about all addresses, in one [`LOG_INTERVAL`].
const MAX_LINES: u32 = 60;

/// Counts of invalid secrets by kind, and by the address that they came from.
pub(crate) struct Attempts {
    tables: [Mutex<Table>; Secret::ALL.len()],
    late: Arc<Semaphore>,
}

#[derive(Default)]
struct Table {
    addresses: HashMap<Source, Entry>,
    lines: u32,
    lines_since: Option<Instant>,
}

struct Entry {
    /// Attempts, minus one for each [`Pace::forget`] that has passed; as of `when`.
    count: u32,
    when: Instant,
    last: Instant,
    /// Attempts since the last log line.
    untold: u64,
    told: Option<Instant>,
}

/// The decision about an invalid secret.
pub(crate) struct Verdict {
    /// Seconds after which another one is free again; `None` while attempts are free.
    pub(crate) retry_after: Option<u64>,
    /// The delay of the answer.
    pub(crate) pause: Option<Pause>,
    /// The number of attempts to report in a log line now.
    pub(crate) tell: Option<u64>,
}

/// A delay before an answer.
pub(crate) struct Pause {
    time: Duration,
    _place: OwnedSemaphorePermit,
}

impl Pause {
    /// A delay of this length, if one of these slots is free.
    pub(crate) fn among(places: &Arc<Semaphore>, time: Duration) -> Option<Self> {
        Arc::clone(places).try_acquire_owned().ok().map(|_place| Self { time, _place })
    }

    /// The longer of two delays.
    pub(crate) fn longer(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(if one.time < other.time { other } else { one }),
            (one, other) => one.or(other),
        }
    }

    /// Waits.
    pub(crate) async fn wait(self) {
        tokio::time::sleep(self.time).await;
    }
}

impl Default for Attempts {
    fn default() -> Self {
        Self { tables: Default::default(), late: Arc::new(Semaphore::new(LATE_ANSWERS)) }
    }
}

impl Attempts {
    /// Counts `wrong` invalid secrets of a kind that one request presented.
    pub(crate) fn wrong(&self, secret: Secret, wrong: u32, client: Option<IpAddr>, now: Instant) -> Verdict {
        let pace = secret.pace();
        let mut table = self.tables[secret as usize].lock().unwrap_or_else(PoisonError::into_inner);
        let (count, tell) = table.note(source(client), wrong, &pace, now);
        drop(table);
        let over = count.saturating_sub(pace.free);
        if over == 0 {
            return Verdict { retry_after: None, pause: None, tell };
        }
        let time = FIRST_PAUSE.saturating_mul(1 << (over - 1).min(16)).min(LONGEST_PAUSE);
        let seconds = (pace.forget * over).as_secs();
        Verdict { retry_after: Some(seconds), pause: Pause::among(&self.late, time), tell }
    }
}

impl Table {
    /// Returns how many attempts of that source count now, including these, and how many to log.
    fn note(&mut self, source: Source, wrong: u32, pace: &Pace, now: Instant) -> (u32, Option<u64>) {
        if !self.addresses.contains_key(&source) && self.addresses.len() >= MAX_ADDRESSES {
            self.make_room(pace, now);
        }
        if self.lines_since.is_none_or(|since| now.duration_since(since) >= LOG_INTERVAL) {
            (self.lines, self.lines_since) = (0, Some(now));
        }
        let new = Entry { count: 0, when: now, last: now, untold: 0, told: None };
        let entry = self.addresses.entry(source).or_insert(new);
        entry.last = now;
        let forgotten = entry.forgotten(pace, now);
        entry.count = entry.count.saturating_sub(forgotten);
        // The remainder of an interval counts towards the next one.
        entry.when = if entry.count == 0 { now } else { entry.when + pace.forget * forgotten };
        entry.count = entry.count.saturating_add(wrong).min(pace.most);
        entry.untold += u64::from(wrong);
        let is_due = entry.count > pace.quiet
            && entry.told.is_none_or(|told| now.duration_since(told) >= LOG_INTERVAL);
        if !is_due || self.lines >= MAX_LINES {
            return (entry.count, None);
        }
        self.lines += 1;
        entry.told = Some(now);
        (entry.count, Some(std::mem::take(&mut entry.untold)))
    }

    /// Evicts addresses that have been quiet long enough, and if there is none, the half that has been quiet longest.
    fn make_room(&mut self, pace: &Pace, now: Instant) {
        self.addresses.retain(|_, entry| entry.forgotten(pace, now) < entry.count);
        if self.addresses.len() < MAX_ADDRESSES {
            return;
        }
        // Half of them at once, so that a flood of addresses does not cause this each time.
        let mut times: Vec<Instant> = self.addresses.values().map(|entry| entry.last).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        self.addresses.retain(|_, entry| entry.last > median);
    }
}

impl Entry {
    fn forgotten(&self, pace: &Pace, now: Instant) -> u32 {
        let intervals = now.saturating_duration_since(self.when).as_millis() / pace.forget.as_millis();
        u32::try_from(intervals).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Secret = Secret::ApiKey;
    const FREE: u32 = 10;
    const FORGET: Duration = Duration::from_secs(6);

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// Milliseconds that each of `count` answers waits.
    fn pauses(attempts: &Attempts, client: Option<IpAddr>, count: usize, now: Instant) -> Vec<u128> {
        let verdicts = (0..count).map(|_| attempts.wrong(KEY, 1, client, now));
        verdicts.map(|verdict| verdict.pause.map_or(0, |pause| pause.time.as_millis())).collect()
    }

    #[tokio::test]
    async fn after_the_free_attempts_the_answers_are_later_each_time() {
        let (attempts, now, client) = (Attempts::default(), Instant::now(), address("192.0.2.1"));
        assert_eq!(pauses(&attempts, client, 10, now), [0; 10]);
        assert_eq!(pauses(&attempts, client, 6, now), [125, 250, 500, 1_000, 2_000, 2_000]);
        assert_eq!(attempts.wrong(KEY, 1, client, now).retry_after, Some(42));
        assert_eq!(pauses(&attempts, address("192.0.2.2"), 10, now), [0; 10], "others have theirs");
    }

    #[tokio::test]
    async fn it_is_forgotten_after_a_while_however_often_it_was() {
        let (attempts, start, client) = (Attempts::default(), Instant::now(), address("192.0.2.1"));
        pauses(&attempts, client, 1_000, start);
        let verdict = attempts.wrong(KEY, 1, client, start + FORGET * 10);
        assert_eq!(verdict.retry_after, Some(11 * 6));
        let verdict = attempts.wrong(KEY, 1, client, start + FORGET * 32);
        assert_eq!(verdict.retry_after, None);
    }

    #[tokio::test]
    async fn one_that_guesses_slowly_is_never_slowed() {
        let (attempts, start, client) = (Attempts::default(), Instant::now(), address("192.0.2.1"));
        let slow = |n: u32| attempts.wrong(KEY, 1, client, start + FORGET * n).retry_after;
        assert!((0..100).all(|n| slow(n).is_none()));
    }

    #[tokio::test]
    async fn so_many_answers_are_late_at_once_and_no_more() {
        let (attempts, now, client) = (Attempts::default(), Instant::now(), address("192.0.2.1"));
        pauses(&attempts, client, 10, now);
        let late: Vec<Verdict> = (0..LATE_ANSWERS).map(|_| attempts.wrong(KEY, 1, client, now)).collect();
        assert!(late.iter().all(|verdict| verdict.pause.is_some()));
        let beyond = attempts.wrong(KEY, 1, client, now);
        assert!(beyond.pause.is_none() && beyond.retry_after.is_some());
        drop(late);
        assert!(attempts.wrong(KEY, 1, client, now).pause.is_some());
    }

    #[tokio::test]
    async fn the_table_does_not_grow_without_end() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        for n in 0..2 * u32::try_from(MAX_ADDRESSES).unwrap() {
            attempts.wrong(KEY, 1, Some(IpAddr::V4(n.into())), start + Duration::from_micros(u64::from(n)));
        }
        assert!(attempts.tables[KEY as usize].lock().unwrap().addresses.len() <= MAX_ADDRESSES);
    }

    #[tokio::test]
    async fn a_flood_of_addresses_does_not_have_one_forgotten_that_goes_on_guessing() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        let attacker = address("192.0.2.1");
        let mut tried = 0;
        for n in 0..4 * u32::try_from(MAX_ADDRESSES).unwrap() {
            let now = start + Duration::from_micros(u64::from(n));
            attempts.wrong(KEY, 1, Some(IpAddr::V4(n.into())), now);
            if n % 100 == 0 {
                tried += 1;
                let verdict = attempts.wrong(KEY, 1, attacker, now);
                assert_eq!(verdict.retry_after.is_some(), tried > FREE, "attempt {tried}");
            }
        }
    }

    #[tokio::test]
    async fn the_log_is_not_flooded() {
        let (attempts, start, client) = (Attempts::default(), Instant::now(), address("192.0.2.1"));
        assert_eq!(attempts.wrong(KEY, 1, client, start).tell, Some(1));
        for _ in 0..100 {
            assert_eq!(attempts.wrong(KEY, 1, client, start).tell, None);
        }
        let others = (0..1_000_u32).map(|n| attempts.wrong(KEY, 1, Some(IpAddr::V4(n.into())), start));
        assert_eq!(others.filter(|verdict| verdict.tell.is_some()).count(), 59);
        assert_eq!(attempts.wrong(KEY, 1, client, start + LOG_INTERVAL).tell, Some(101));
    }

    #[tokio::test]
    async fn each_kind_has_a_count_of_its_own() {
        let (attempts, now, client) = (Attempts::default(), Instant::now(), address("192.0.2.1"));
        let late = |secret: Secret, times: u32| {
            (0..times).filter(|_| attempts.wrong(secret, 1, client, now).retry_after.is_some()).count()
        };
        assert_eq!(late(Secret::SessionId, 60), 0, "a page with an ended session asks often");
        assert_eq!((late(Secret::ApiKey, 10), late(Secret::AdminKey, 10)), (0, 0));
        assert_eq!(
            (late(Secret::ApiKey, 5), late(Secret::AdminKey, 5), late(Secret::SessionId, 5)),
            (5, 5, 5)
        );
        // Several in one request count as such.
        let other = address("192.0.2.2");
        assert!(attempts.wrong(Secret::SessionId, 8, other, now).retry_after.is_none());
        assert!(attempts.wrong(Secret::SessionId, 53, other, now).retry_after.is_some());
    }

    #[tokio::test]
    async fn ids_that_miss_are_told_of_only_where_there_are_many() {
        let (attempts, start, client) = (Attempts::default(), Instant::now(), address("192.0.2.1"));
        let told: Vec<u64> =
            (0..100).filter_map(|_| attempts.wrong(Secret::SessionId, 1, client, start).tell).collect();
        assert_eq!(told, [61]);
        let later = start + LOG_INTERVAL;
        let told: Vec<u64> =
            (0..30).filter_map(|_| attempts.wrong(Secret::SessionId, 1, client, later).tell).collect();
        assert_eq!(told, [60], "those of before, too");
    }
}
