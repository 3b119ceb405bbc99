//! Parses a `server_url` just far enough to report which part is wrong without showing it.

use mongodb::options::ConnectionString as DriverConnectionString;
use percent_encoding::percent_decode_str;
use settings::text::{strip_scheme, unseen};

/// What to put in the place of the login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    /// What the URL has there, if anything.
    AsGiven,
    /// A placeholder of a user.
    User,
    /// Placeholders of a user and a password.
    UserAndPassword,
}

/// The parts of `server_url`.
pub(super) struct ConnectionString<'a> {
    scheme: &'static str,
    login: Option<&'a str>,
    hosts: &'a str,
    database: Option<&'a str>,
    options: Option<&'a str>,
}

const PLAIN: &str = "mongodb://";
const SEED_LIST: &str = "mongodb+srv://";

impl<'a> ConnectionString<'a> {
    /// Splits `text` at the places where the driver does.
    ///
    /// # Errors
    /// What is wrong, without the text.
    pub(super) fn parse(text: &'a str) -> Result<Self, String> {
        if let Some(flaw) = unseen(&percent_decode_str(text).decode_utf8_lossy()) {
            return Err(format!("has, once its percent-encoding is read, {flaw}"));
        }
        let (scheme, rest) = if let Some(rest) = strip_scheme(text, PLAIN) {
            (PLAIN, rest)
        } else if let Some(rest) = strip_scheme(text, SEED_LIST) {
            (SEED_LIST, rest)
        } else if text.contains(['/', '@', '?']) {
            return Err(
                "expected host:port[,host:port], or a URL that begins with mongodb:// or mongodb+srv:// (of Redis \
                 redis:// or rediss://)"
                    .into(),
            );
        } else {
            (PLAIN, text)
        };
        let (rest, options) = match rest.split_once('?') {
            Some((rest, options)) => (rest, Some(options)),
            None => (rest, None),
        };
        if options.is_some_and(|options| options.contains('@')) {
            // Most likely an unescaped `?` in the password: then everything after it is a part of the password.
            return Err(format!("has an @ after the ?: {PERCENT_ENCODE}"));
        }
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(login), rest),
            None => (None, rest),
        };
        let (hosts, database) = match rest.split_once('/') {
            Some((hosts, database)) => (hosts, (!database.is_empty()).then_some(database)),
            None => (rest, None),
        };
        if hosts.is_empty() || hosts.contains(char::is_whitespace) {
            return Err("expected host:port[,host:port]".into());
        }
        Ok(Self { scheme, login, hosts, database, options })
    }

    /// Rejects options that the driver does not have, with what to write instead.
    ///
    /// # Errors
    /// The option's name, without its value.
    pub(super) fn check_options(&self) -> Result<(), String> {
        let unknown = MISSING.iter().find(|(name, _)| self.option(name).is_some());
        unknown.map_or(Ok(()), |(name, instead)| {
            Err(format!("has the option {name}, which there is not here: {instead}"))
        })
    }

    /// Whether the hosts are resolved by DNS (`mongodb+srv://`).
    pub(super) fn is_seed_list(&self) -> bool {
        self.scheme == SEED_LIST
    }

    /// Whether it contains a login.
    pub(super) fn has_login(&self) -> bool {
        self.login.is_some()
    }

    /// Whether it names an authentication mechanism.
    pub(super) fn has_mechanism(&self) -> bool {
        self.option("authMechanism").is_some()
    }

    /// The value of an option, as written.
    pub(super) fn option(&self, name: &str) -> Option<&'a str> {
        let pairs = self.options.unwrap_or_default().split('&');
        let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The URL. With a placeholder of a login, `database` is the authentication database unless the URL names one.
    pub(super) fn text(&self, login: Login, database: &str) -> String {
        let (login, default) = match login {
            Login::AsGiven => (self.login, ""),
            Login::User => (Some("user"), database),
            Login::UserAndPassword => (Some("user:password"), database),
        };
        // With X.509 and similar mechanisms users are external, and the driver rejects another authentication database.
        let default = if self.has_mechanism() && self.is_external() { "" } else { default };
        self.text_with(login, self.database.unwrap_or(default), &[])
    }

    /// Its login, as written.
    pub(super) fn login(&self) -> Option<&'a str> {
        self.login
    }

    /// The URL with this login, this database and additional options.
    pub(super) fn text_with(&self, login: Option<&str>, database: &str, more: &[String]) -> String {
        let login = login.map_or_else(String::new, |login| format!("{login}@"));
        let own = self.options.into_iter().filter(|options| !options.is_empty()).map(str::to_owned);
        let options: Vec<String> = own.chain(more.iter().cloned()).collect();
        let options = if options.is_empty() { String::new() } else { format!("?{}", options.join("&")) };
        format!("{}{login}{}/{database}{options}", self.scheme, self.hosts)
    }

    /// The database in its path.
    pub(super) fn database(&self) -> Option<&'a str> {
        self.database
    }

    /// Whether users are authenticated outside of a database.
    pub(super) fn is_external(&self) -> bool {
        self.option("authMechanism").is_some_and(|mechanism| !mechanism.starts_with("SCRAM"))
    }

    /// Which part the driver rejects. The driver's own message quotes that part, which may be a piece of the password.
    pub(super) fn fault(&self) -> String {
        let refused = |text: String| DriverConnectionString::parse(text).is_err();
        let Self { scheme, hosts, .. } = self;
        if self.login.is_some_and(|login| refused(format!("{PLAIN}{login}@h"))) {
            return format!("has a user or password that is not one: {PERCENT_ENCODE}");
        }
        if refused(format!("{scheme}{hosts}")) {
            return if self.is_seed_list() {
                "mongodb+srv:// takes one host name, without a port".into()
            } else {
                "has a host or port that is not one; expected host:port[,host:port]".into()
            };
        }
        if self.database.is_some_and(|database| refused(format!("{PLAIN}h/{database}"))) {
            return "has a database in its path that is not one; it must be percent-encoded".into();
        }
        let pairs = self.options.unwrap_or_default().split('&');
        for pair in pairs {
            let alone =
                refused(format!("{PLAIN}h/?{pair}")) && refused(format!("{PLAIN}user:password@h/?{pair}"));
            let name = pair.split_once('=').map_or("", |(name, _)| name);
            if alone && OPTIONS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                return format!("has an option {name} with a value that it cannot have");
            }
            if alone && !pair.is_empty() {
                return "has an option that the driver does not know; options are written ?name=value&name=value".into();
            }
        }
        "has options that exclude each other, or one of them twice".into()
    }
}

/// Options of other drivers, and what to do instead. For some of them the driver's own message is misleading.
const MISSING: [(&str, &str); 6] = [
    ("socketTimeoutMS", "leave it out; a call ends by itself after two seconds"),
    ("timeoutMS", "leave it out; a call ends by itself after two seconds"),
    ("waitQueueTimeoutMS", "leave it out; a call ends by itself after two seconds"),
    ("tlsAllowInvalidHostnames", "names are always looked at; name the server as its certificate does"),
    (
        "tlsCertificateKeyFilePassword",
        "keep the key without a password, in a file that the service alone can read",
    ),
    ("tlsCRLFile", "leave it out; lists of revoked certificates are not read"),
];

const PERCENT_ENCODE: &str = "special characters must be percent-encoded there; \
                              in the keys username and password they stand as they are";

/// Options whose names may be shown: anything else may be a piece of a password.
const OPTIONS: &[&str] = &[
    "appName",
    "authMechanism",
    "authMechanismProperties",
    "authSource",
    "compressors",
    "connectTimeoutMS",
    "directConnection",
    "heartbeatFrequencyMS",
    "journal",
    "loadBalanced",
    "localThresholdMS",
    "maxConnecting",
    "maxIdleTimeMS",
    "maxPoolSize",
    "maxStalenessSeconds",
    "minPoolSize",
    "readConcernLevel",
    "readPreference",
    "readPreferenceTags",
    "replicaSet",
    "retryReads",
    "retryWrites",
    "serverMonitoringMode",
    "serverSelectionTimeoutMS",
    "socketTimeoutMS",
    "srvMaxHosts",
    "srvServiceName",
    "ssl",
    "tls",
    "tlsAllowInvalidCertificates",
    "tlsAllowInvalidHostnames",
    "tlsCAFile",
    "tlsCertificateKeyFile",
    "tlsCertificateKeyFilePassword",
    "tlsInsecure",
    "w",
    "wTimeoutMS",
    "zlibCompressionLevel",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        let url = ConnectionString::parse(text).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert!(DriverConnectionString::parse(url.text(Login::AsGiven, "")).is_err(), "{text}");
        url.fault()
    }

    #[test]
    fn the_parts_are_put_together_again() {
        let text = "mongodb://u:p@a:1,b:2/users?tls=true&appName=x";
        let url = ConnectionString::parse(text).unwrap();
        assert_eq!(url.text(Login::AsGiven, "sessman"), text);
        assert_eq!(url.text(Login::User, "sessman"), "mongodb://user@a:1,b:2/users?tls=true&appName=x");
        let hosts = ConnectionString::parse("a:1,b:2").unwrap();
        assert_eq!(hosts.text(Login::AsGiven, "sessman"), "mongodb://a:1,b:2/");
        assert_eq!(hosts.text(Login::UserAndPassword, "sessman"), "mongodb://user:password@a:1,b:2/sessman");
    }

    #[test]
    fn the_part_that_is_wrong_is_named() {
        assert!(fault("mongodb://u:%zz@h").contains("user or password"));
        assert!(fault("mongodb://h:port").contains("host or port"));
        assert!(fault("mongodb+srv://h.example.net:27017").contains("one host name"));
        assert!(fault("mongodb://h/a$b").contains("database"));
        assert!(fault("mongodb://h/?maxPoolSize=many").contains("maxPoolSize"));
        assert!(fault("mongodb://h/?authMechanism=NONE").contains("authMechanism"));
        assert!(fault("mongodb://h/?colour=red").contains("does not know"));
        assert!(fault("mongodb://h/?tls=true&tls=true").contains("twice"));
    }

    #[test]
    fn schemes_are_found_in_any_case_and_what_is_hidden_is_refused() {
        let url = ConnectionString::parse("MongoDB://u@a:1").unwrap();
        assert_eq!(url.text(Login::AsGiven, ""), "mongodb://u@a:1/");
        assert!(ConnectionString::parse("MONGODB+SRV://a.test").unwrap().is_seed_list());
        for text in [
            "mongodb://u:p%0A@h",
            "mongodb://u:p%0d@h",
            "mongodb://h/a%00",
            "mongodb://h/?appName=a%0Ab",
            "h%E2%80%A8",
        ] {
            let wrong = ConnectionString::parse(text).err().unwrap();
            assert!(wrong.contains("write it"), "{text}: {wrong}");
        }
    }

    #[test]
    fn what_is_no_url_of_mongodb_is_refused() {
        for text in ["", "http://h", "redis://h", "h:1/db", "u:p@h", "mongodb://", "mongodb://u:p@", "a b"] {
            assert!(ConnectionString::parse(text).is_err(), "{text}");
        }
    }
}
