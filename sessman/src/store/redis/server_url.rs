//! What a `server_url` says, and which part of it is wrong, without showing it.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::secret::Secret;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// The parts of a `server_url`.
#[derive(Debug)]
pub(super) struct ServerUrl {
    /// At least one.
    pub(super) servers: Vec<Address>,
    pub(super) tls: bool,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) database: Option<u32>,
}

const PORT: u16 = 6379;

impl ServerUrl {
    /// Whether a text is a URL that this module reads.
    pub(super) fn has_scheme(text: &str) -> bool {
        text.starts_with("redis://") || text.starts_with("rediss://")
    }

    /// Takes `text` apart.
    ///
    /// # Errors
    /// What is wrong, without the text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (tls, rest) = if let Some(rest) = text.strip_prefix("rediss://") {
            (true, rest)
        } else if let Some(rest) = text.strip_prefix("redis://") {
            (false, rest)
        } else if text.contains(['/', '@', '?']) {
            return Err(
                "expected host:port[,host:port], or a URL that begins with redis:// or rediss://".into()
            );
        } else {
            (false, text)
        };
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(login), rest),
            None => (None, rest),
        };
        if rest.contains(['?', '#']) || login.is_some_and(|login| login.contains(['?', '#', '/', '@'])) {
            return Err(format!("has one of ? # / @ where it means something else: {PERCENT_ENCODE}"));
        }
        let (username, password) = login.map(read_login).transpose()?.unwrap_or_default();
        let (hosts, database) = match rest.split_once('/') {
            Some((hosts, database)) => (hosts, (!database.is_empty()).then_some(database)),
            None => (rest, None),
        };
        let servers = hosts.split(',').map(read_address).collect::<Option<Vec<_>>>();
        Ok(Self {
            servers: servers.ok_or("has a host or port that is not one; expected host:port[,host:port]")?,
            tls,
            username,
            password,
            database: database.map(read_database).transpose()?,
        })
    }
}

const PERCENT_ENCODE: &str = "special characters of a user or password must be percent-encoded in a URL; \
                              in the keys username and password they stand as they are";

/// Reads the number of a database.
///
/// # Errors
/// What is expected.
pub(super) fn read_database(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "expected the number of a database, as in SELECT".into())
}

/// Reads `host:port`, or a host alone.
pub(super) fn read_address(text: &str) -> Option<Address> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some(""))?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let is_part_of_a_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name = !host.is_empty() && host.chars().all(is_part_of_a_name);
    if !is_name && !text.starts_with('[') {
        return None;
    }
    let port = if port.is_empty() { PORT } else { port.parse().ok().filter(|port| *port > 0)? };
    Some(Address { host: host.to_owned(), port })
}

fn read_login(login: &str) -> Result<(Option<String>, Option<Secret>), String> {
    let decode = |text: &str| {
        let broken = text.split('%').skip(1).any(|rest| {
            !rest.get(..2).is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        });
        let decoded = percent_decode_str(text).decode_utf8().ok().filter(|_| !broken);
        decoded
            .map(|text| text.into_owned())
            .ok_or_else(|| format!("has a user or password that is not one: {PERCENT_ENCODE}"))
    };
    // Without a colon it is the user's name, as in any URL.
    let (username, password) = login.split_once(':').unwrap_or((login, ""));
    let (username, password) = (decode(username)?, decode(password)?);
    Ok(((!username.is_empty()).then_some(username), (!password.is_empty()).then(|| Secret::new(password))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(text: &str) -> Vec<String> {
        ServerUrl::parse(text).unwrap().servers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn hosts_come_with_or_without_a_url() {
        assert_eq!(servers("cache.example"), ["cache.example:6379"]);
        assert_eq!(servers("a:1,b:2,c"), ["a:1", "b:2", "c:6379"]);
        assert_eq!(servers("redis://a:1,b:2/"), ["a:1", "b:2"]);
        assert_eq!(servers("rediss://[::1]:7000/3"), ["[::1]:7000"]);
        assert_eq!(servers("[fe80::1]"), ["[fe80::1]:6379"]);
    }

    #[test]
    fn the_parts_of_a_url_are_found() {
        let url = ServerUrl::parse("rediss://ada:p%40ss%3A%2f%C3%BC@h:1/7").unwrap();
        assert!(url.tls);
        assert_eq!(url.username.as_deref(), Some("ada"));
        assert_eq!(url.password.unwrap().expose(), "p@ss:/ü");
        assert_eq!(url.database, Some(7));
        let url = ServerUrl::parse("redis://:secret@h").unwrap();
        assert_eq!((url.tls, url.username, url.database), (false, None, None));
        assert_eq!(url.password.unwrap().expose(), "secret");
        let url = ServerUrl::parse("redis://ada@h/").unwrap();
        assert_eq!((url.username.as_deref(), url.password.is_none()), (Some("ada"), true));
    }

    #[test]
    fn what_is_wrong_is_said_without_showing_it() {
        for (text, part) in [
            ("", "host or port"),
            ("redis://", "host or port"),
            ("redis://hidden:port", "host or port"),
            ("redis://h:0", "host or port"),
            ("redis://h:65536", "host or port"),
            ("redis://hid den", "host or port"),
            ("redis://a,,b", "host or port"),
            ("[hidden]", "host or port"),
            ("http://hidden", "redis://"),
            ("u:hidden@h", "redis://"),
            ("redis://u:hid/den@h", "percent-encoded"),
            ("redis://u:hid@den@h", "percent-encoded"),
            ("redis://u:hidden%@h", "percent-encoded"),
            ("redis://u:hidden%f@h", "percent-encoded"),
            ("redis://u:hidden%ff@h", "percent-encoded"),
            ("redis://h/?hidden=1", "percent-encoded"),
            ("redis://h/hidden", "number of a database"),
            ("redis://h/-1", "number of a database"),
        ] {
            let wrong = ServerUrl::parse(text).expect_err(text);
            assert!(
                wrong.contains(part) && !wrong.contains("hid") && !wrong.contains("den"),
                "{text}: {wrong}"
            );
        }
    }
}
