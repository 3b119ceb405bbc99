//! Rate limit of new sessions, for each address and each user.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use crate::time::Timestamp;

/// The most addresses and users that are tracked: a few MB. A client with more addresses than this is not stopped by a
/// limit for each address.
const MAX_REMEMBERED: usize = 65_536;

const MINUTE: i64 = 60_000;

/// Rate limiter: each address and each user has a burst of one minute's quota, which refills evenly (GCRA).
pub(super) struct Rates {
    /// Milliseconds per new session.
    interval: i64,
    hasher: RandomState,
    /// By the hash of an address or a user: when its quota is full again.
    whole_at: Mutex<HashMap<u64, i64>>,
}

impl Rates {
    /// A limit of this many per minute; at least 1.
    pub(super) fn new(per_minute: u32) -> Self {
        let interval = (MINUTE / i64::from(per_minute.max(1))).max(1);
        Self { interval, hasher: RandomState::new(), whole_at: Mutex::default() }
    }

    /// Takes one from the quota of the address and one from that of the user, or neither.
    ///
    /// # Errors
    /// Seconds, rounded up, until both have one.
    pub(super) fn take(
        &self,
        address: Option<IpAddr>,
        user_id: Option<&str>,
        now: Timestamp,
    ) -> Result<(), u64> {
        let now = now.as_millis();
        let keys = [
            address.map(|address| self.hasher.hash_one(("address", network(address)))),
            user_id.map(|user_id| self.hasher.hash_one(("user", user_id))),
        ];
        let mut whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        let next = |key: u64| whole_at.get(&key).copied().unwrap_or(now).max(now) + self.interval;
        let wait = keys.iter().flatten().map(|key| next(*key) - now - MINUTE).max().unwrap_or(0);
        if wait > 0 {
            return Err(wait.unsigned_abs().div_ceil(1_000));
        }
        for (key, next) in keys.into_iter().flatten().map(|key| (key, next(key))).collect::<Vec<_>>() {
            whole_at.insert(key, next);
        }
        if whole_at.len() > MAX_REMEMBERED {
            whole_at.retain(|_, whole_at| *whole_at > now);
        }
        if whole_at.len() > MAX_REMEMBERED {
            // Evict those that are closest to a full quota: they lose least.
            let mut moments: Vec<i64> = whole_at.values().copied().collect();
            let (_, middle, _) = moments.select_nth_unstable(MAX_REMEMBERED / 2);
            let middle = *middle;
            whole_at.retain(|_, whole_at| *whole_at > middle);
        }
        Ok(())
    }
}

/// What counts as one client: for IPv6 the /64 network, within which a client can choose any address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_minute_has_so_many_and_they_grow_back_evenly() {
        let rates = Rates::new(3);
        let take = |millis| rates.take(address("192.0.2.1"), None, at(millis));
        for _ in 0..3 {
            take(0).unwrap();
        }
        assert_eq!(take(0), Err(20));
        assert_eq!(take(19_500), Err(1));
        take(20_000).unwrap();
        assert_eq!(take(20_000), Err(20));
        for _ in 0..3 {
            take(1_000_000).unwrap();
        }
        take(1_000_000).unwrap_err();
    }

    #[test]
    fn each_address_and_each_user_has_its_own() {
        let rates = Rates::new(1);
        rates.take(address("192.0.2.1"), Some("ada"), at(0)).unwrap();
        rates.take(address("192.0.2.1"), Some("eve"), at(0)).unwrap_err();
        rates.take(address("192.0.2.2"), Some("ada"), at(0)).unwrap_err();
        // Those that were refused took nothing.
        rates.take(address("192.0.2.2"), Some("eve"), at(0)).unwrap();
        rates.take(address("::ffff:192.0.2.2"), None, at(0)).unwrap_err();
        rates.take(address("2001:db8::1"), None, at(0)).unwrap();
        rates.take(address("2001:db8::2"), None, at(0)).unwrap_err();
        rates.take(address("2001:db8:0:1::1"), None, at(0)).unwrap();
        for _ in 0..5 {
            rates.take(None, None, at(0)).unwrap();
        }
    }

    #[test]
    fn what_is_remembered_stays_bounded() {
        let rates = Rates::new(60);
        for number in 0..3 * MAX_REMEMBERED as u128 {
            let address = Ipv6Addr::from_bits(number << 64);
            rates.take(Some(address.into()), None, at(0)).unwrap();
            assert!(rates.whole_at.lock().unwrap().len() <= MAX_REMEMBERED);
        }
    }
}
