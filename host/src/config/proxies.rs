//! `[proxy]`: whose word about the client counts.

use std::net::IpAddr;

use ipnet::IpNet;

/// `[proxy]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    networks: Vec<IpNet>,
    unix: bool,
}

impl Proxies {
    /// Reads `trusted`: addresses, networks and the word `unix`.
    ///
    /// # Errors
    /// Says what is expected.
    pub(crate) fn parse(written: &[String]) -> Result<Self, String> {
        let mut proxies = Self::default();
        for text in written {
            match text.trim() {
                "unix" => proxies.unix = true,
                text => proxies.networks.push(network(text).ok_or(
                    "expected IP addresses, networks such as `10.0.0.0/8`, or the word `unix`, several after `list:`",
                )?),
            }
        }
        Ok(proxies)
    }

    /// Whether a proxy at this address is trusted; `None` is a Unix socket.
    pub(crate) fn trusts(&self, address: Option<IpAddr>) -> bool {
        match address {
            Some(address) => self.networks.iter().any(|network| network.contains(&address)),
            None => self.unix,
        }
    }
}

fn network(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical().into()),
        Err(_) => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(written: &[&str]) -> Result<Proxies, String> {
        Proxies::parse(&written.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn addresses_networks_and_the_socket() {
        let proxies = parse(&["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]).unwrap();
        for address in ["10.255.0.1", "192.0.2.7", "2001:db8:1::1"] {
            assert!(proxies.trusts(address.parse().ok()), "{address}");
        }
        for address in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "127.0.0.1", "::1"] {
            assert!(!proxies.trusts(address.parse().ok()), "{address}");
        }
        assert!(!proxies.trusts(None));
        assert!(parse(&["unix"]).unwrap().trusts(None));
        assert!(!Proxies::default().trusts("127.0.0.1".parse().ok()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for written in ["", "*", "localhost", "10.0.0.0/33", "10.0.0", "unix:/x"] {
            assert!(parse(&[written]).is_err(), "{written}");
        }
    }
}
