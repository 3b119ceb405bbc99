//! Identifies clients by address, where they are told apart: one customer's addresses count as one, as far as that can
//! be known.

use std::net::{IpAddr, SocketAddr};

/// An IPv4 address, the /64 network of an IPv6 address, or `None` for a socket without an address.
pub(crate) type Source = Option<u64>;

/// The source that an address belongs to.
pub(crate) fn source(address: Option<IpAddr>) -> Source {
    address.map(|address| match address.to_canonical() {
        // IPv4 addresses are below 2^32, where no IPv6 network is: all of ::/8 is reserved.
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    })
}

/// Whether only this machine can connect to it.
pub(crate) fn is_of_this_machine(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_ipv6_customer_is_one_source() {
        let source = |address: &str| super::source(Some(address.parse().unwrap()));
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), super::source(None));
    }
}
