//! Parses a `server_url`. Errors say which part is wrong, without showing it.

use std::fmt;

use percent_encoding::percent_decode_str;
use settings::text::{strip_scheme, unseen};

use crate::secret::Secret;

/// Host and port of a server.
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
    /// Whether a text has a URL scheme that this module parses.
    pub(super) fn has_scheme(text: &str) -> bool {
        Self::split_scheme(text).is_some()
    }

    /// Whether the scheme means TLS, and the text after it. Valkey has its own names for the two schemes.
    fn split_scheme(text: &str) -> Option<(bool, &str)> {
        let schemes = [("redis://", false), ("rediss://", true), ("valkey://", false), ("valkeys://", true)];
        schemes.into_iter().find_map(|(scheme, tls)| Some((tls, strip_scheme(text, scheme)?)))
    }

    /// Parses `text`.
    ///
    /// # Errors
    /// What is wrong, without the text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(flaw) = unseen(&percent_decode_str(text).decode_utf8_lossy()) {
            return Err(format!("has, once its percent-encoding is read, {flaw}"));
        }
        let (tls, rest) = if let Some(split) = Self::split_scheme(text) {
            split
        } else if text.contains(['/', '@', '?']) {
            return Err(
                "expected host:port[,host:port], or a URL that begins with redis:// or rediss:// (valkey:// and \
                 valkeys:// are the same)"
                    .into(),
            );
        } else {
            (false, text)
        };
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(login), rest),
            None => (None, rest),
        };
        if let Some((_, options)) = rest.split_once('?').filter(|_| !rest.contains('#')) {
            check_options(options)?;
        }
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

/// Options that other clients accept after a `?`, and what to write instead.
const OPTIONS: [(&str, &str); 8] = [
    (
        "ssl_cert_reqs",
        "certificates are always looked at; for one of your own, name who vouches for it in tls_ca_file",
    ),
    ("ssl_check_hostname", "names are always looked at; name the server as its certificate does"),
    ("ssl_ca_certs", "write tls_ca_file"),
    ("ssl_certfile", "write tls_certificate_file"),
    ("ssl_keyfile", "write tls_key_file"),
    ("db", "write the number behind a slash, as redis://host/1, or as `database`"),
    ("protocol", "leave it out"),
    ("timeout", "leave it out: a call ends by itself after two seconds"),
];

/// Rejects options. Only the names of known ones are shown: anything else may be a part of a password.
fn check_options(options: &str) -> Result<(), String> {
    let mut names = options.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    let known = names.find_map(|name| OPTIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)));
    known.map_or(Ok(()), |(name, instead)| {
        Err(format!("has the option {name}, which there is not here: {instead}"))
    })
}

/// Parses the number of a database.
///
/// # Errors
/// What is expected.
pub(super) fn read_database(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "expected the number of a database, as in SELECT".into())
}

/// Parses `host:port`, or a host alone.
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
    // Without a colon it is the user name, as in any URL.
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
        for (text, tls) in
            [("REDIS://h", false), ("Rediss://h", true), ("valkey://h", false), ("VALKEYS://h", true)]
        {
            assert!(ServerUrl::has_scheme(text));
            assert_eq!(ServerUrl::parse(text).unwrap().tls, tls, "{text}");
        }
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
            ("rediss://h/?ssl_cert_reqs=none", "tls_ca_file"),
            ("rediss://h?x=hidden&SSL_Cert_Reqs=none", "tls_ca_file"),
            ("redis://u:hid?db=den@h", "percent-encoded"),
            ("redis://h/?db=1", "behind a slash"),
            ("redis://u:hidden%0A@h", "line break"),
            ("redis://u:hidden%0d%0a@h", "line break"),
            ("redis://u:hidden%00@h", "control character"),
            ("redis://h%E2%80%A8den/", "line break"),
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
