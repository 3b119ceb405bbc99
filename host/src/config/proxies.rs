//! `[proxy]`: the proxies whose headers about the client are trusted.

use std::net::IpAddr;

use ipnet::IpNet;

/// Minimum prefix length of a network.
const WIDEST_IPV4: u8 = 8;
const WIDEST_IPV6: u8 = 7;

/// `[proxy]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    networks: Vec<IpNet>,
    unix: bool,
}

impl Proxies {
    /// Parses `trusted`: addresses, networks and the word `unix`.
    ///
    /// # Errors
    /// Which entry is invalid, and what is expected.
    pub(crate) fn parse(written: &[String]) -> Result<Self, String> {
        let mut proxies = Self::default();
        for text in written {
            match text.trim() {
                "unix" => proxies.unix = true,
                text => {
                    let network = network(text).ok_or_else(|| {
                        format!(
                            "expected IP addresses, networks such as `10.0.0.0/8`, or the word `unix`, several after `list:`; \
                             `{text}` is none of these"
                        )
                    })?;
                    if is_everybody(&network) {
                        return Err(format!(
                            "`{text}` is a great part of the internet, whose every client could name any address as its own: \
                             write the addresses of the proxies, or their network, a /{WIDEST_IPV4} of IPv4 or a \
                             /{WIDEST_IPV6} of IPv6 at the widest"
                        ));
                    }
                    proxies.networks.push(network);
                }
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

/// Whether it is larger than any network of a single owner; the largest private networks are still accepted.
fn is_everybody(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < WIDEST_IPV4,
        IpNet::V6(network) => network.prefix_len() < WIDEST_IPV6,
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
    fn everybody_is_no_proxy() {
        for written in ["0.0.0.0/0", "::/0", "1.2.3.4/0", "0.0.0.0/1", "128.0.0.0/1", "::/3", "2000::/3"] {
            let message = parse(&["10.0.0.1", written]).unwrap_err();
            for part in [
                format!("`{written}`").as_str(),
                "the addresses of the proxies",
                "a /8 of IPv4 or a /7 of IPv6",
            ] {
                assert!(message.contains(part), "{part}: {message}");
            }
        }
        assert!(parse(&["10.0.0.0/8", "fc00::/7"]).is_ok());
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for written in ["", "*", "localhost", "10.0.0.0/33", "10.0.0", "unix:/x"] {
            let message = parse(&["10.0.0.1", written]).unwrap_err();
            assert!(message.ends_with(&format!("; `{written}` is none of these")), "{message}");
        }
    }
}
