//! Errors, without anything secret: a server repeats arguments of a command in its errors, so only the first word of an
//! error is kept.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::layout::unreadable;
use crate::store::StoreError;

/// Errors of Redis and of the connections to it.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Trouble {
    /// Timeout of this server, or these.
    #[error("{0} gave no answer in time")]
    TimedOut(String),
    /// After `close`.
    #[error("the store has been closed")]
    Closed,
    /// It could not be connected to.
    #[error("no connection to {0}")]
    NoConnection(String, #[source] Arc<io::Error>),
    /// The connection broke before the reply.
    #[error("the connection to {0} broke")]
    Broken(String),
    /// The server does not speak the Redis protocol.
    #[error("{0} does not answer as Redis does")]
    NotRedis(String),
    /// Wrong or missing user or password.
    #[error("{0} did not accept the login")]
    Login(Server),
    /// It accepts no clients at present.
    #[error("{0} refused the connection with the error {1}")]
    Rejected(Server, String),
    /// It is a replica: its data may be stale, and it accepts no writes.
    #[error(
        "{0} is a replica, which may have ended sessions and takes no writes; it is asked again until it is a master, or its \
         name leads to one"
    )]
    Replica(Server),
    /// It replied with an error.
    #[error("{} answered with the error {}", .0.server, .0.code)]
    Refused(Refusal),
    /// No member of the cluster could be reached, or none has the key.
    #[error("the cluster has no master for a key")]
    NoMaster,
    /// Executed, but fewer replicas acknowledged it than configured: a failover may lose it.
    #[error("{0} has done it, and {1} of {2} replicas had it in time: a failover may undo it")]
    NotReplicated(Server, i64, u8),
    /// Slots without a master.
    #[error("{0} of the 16384 slots of the cluster have no master")]
    Uncovered(u16),
    /// Errors of some servers.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    InPart(Vec<Trouble>),
    /// A retry will not help.
    #[error("{0}")]
    Permanent(String),
}

/// The server that an error comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Server(Option<Arc<str>>);

impl Server {
    /// The one at this address.
    pub(super) fn at(address: Arc<str>) -> Self {
        Self(Some(address))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("Redis"))
    }
}

/// An error reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Its first word.
    pub(super) code: String,
    /// The server that has the key, from `MOVED` and `ASK`.
    pub(super) place: Option<String>,
    /// The server it comes from; unknown to the parser of the reply.
    pub(super) server: Server,
}

impl Refusal {
    /// Parses the line of an error reply.
    pub(super) fn read(line: &str) -> Self {
        let mut words = line.split(' ');
        let code = match line {
            // This error has no code of its own, and may answer any first command.
            _ if line.starts_with("ERR max number of clients") => "MAXCLIENTS",
            // It goes into the log, so it must be a plain word.
            _ => words.next().filter(|code| is_code(code)).unwrap_or("UNKNOWN"),
        };
        let code = within_a_script(line).unwrap_or(code).to_owned();
        let is_redirection = ["MOVED", "ASK"].contains(&code.as_str());
        let place = words.nth(1).filter(|_| is_redirection).map(str::to_owned);
        Self { code, place, server: Server::default() }
    }
}

fn is_code(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The code of an error that a command within a script met. From version 7 on, a server's line begins with it like that of
/// any command; version 6 puts `ERR`, the script's name and its line number before it.
fn within_a_script(line: &str) -> Option<&str> {
    let (_, mut rest) = line.strip_prefix("ERR Error running script (call to ")?.split_once("): ")?;
    while let Some((_, behind)) = rest.strip_prefix("@user_script:").and_then(|rest| rest.split_once(": ")) {
        rest = behind;
    }
    let code = rest.strip_prefix('-').unwrap_or(rest).split(' ').next()?;
    (!code.is_empty() && is_code(code)).then_some(code)
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        match refusal.code.as_str() {
            "NOAUTH" | "WRONGPASS" => Self::Login(refusal.server),
            // A redirection that was not followed.
            "MOVED" | "ASK" => Self::NoMaster,
            _ => Self::Refused(refusal),
        }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Permanent(reason) => Self::Unusable(reason),
            Trouble::InPart(_) => Self::Partial(Box::new(trouble)),
            Trouble::NotReplicated(..) => Self::NotReplicated(Box::new(trouble)),
            Trouble::Refused(Refusal { ref code, .. }) => match code.as_str() {
                "OOM" => Self::Full,
                "WRONGTYPE" | "SESSMAN_LAYOUT" => unreadable(),
                // An unknown command, a missing permission, or a script that fails: a retry fails again.
                "ERR" | "CROSSSLOT" | "NOPERM" => Self::Unusable(trouble.to_string()),
                _ => Self::Unavailable(Box::new(trouble)),
            },
            other => Self::Unavailable(Box::new(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As redis-server 6.2.14 and 7.0.15 write them.
    #[test]
    fn an_error_within_a_script_is_the_same_to_every_version() {
        let of_6 = |rest: &str| format!("ERR Error running script (call to f_427cdbf8c992c3a73ebf): {rest}");
        for (code, of_6, of_7) in [
            (
                "READONLY",
                of_6(
                    "@user_script:1: @user_script: 1: -READONLY You can't write against a read only replica.",
                ),
                "READONLY You can't write against a read only replica. script: 427cdbf8, on @user_script:1.",
            ),
            (
                "OOM",
                of_6(
                    "@user_script:13: @user_script: 13: -OOM command not allowed when used memory > 'maxmemory'.",
                ),
                "OOM command not allowed when used memory > 'maxmemory'. script: 427cdbf8, on @user_script:13.",
            ),
            (
                "NOREPLICAS",
                of_6("@user_script:1: @user_script: 1: -NOREPLICAS Not enough good replicas to write."),
                "NOREPLICAS Not enough good replicas to write. script: 427cdbf8, on @user_script:1.",
            ),
            (
                "WRONGTYPE",
                of_6("@user_script:2: WRONGTYPE Operation against a key holding the wrong kind of value"),
                "WRONGTYPE Operation against a key holding the wrong kind of value script: a781, on @user_script:2.",
            ),
        ] {
            assert_eq!(Refusal::read(&of_6).code, code, "{of_6}");
            assert_eq!(Refusal::read(of_7).code, code, "{of_7}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_script_itself_has_no_other_code() {
        for rest in [
            "@user_script:1: Script attempted to access nonexistent global variable 'x'",
            "@user_script:1: @user_script: 1: Wrong number of args calling Redis command From Lua script",
            "@user_script:1: ",
            "@user_script",
            "",
        ] {
            let line = format!("ERR Error running script (call to f_4): {rest}");
            assert_eq!(Refusal::read(&line).code, "ERR", "{line}");
        }
        assert_eq!(Refusal::read("ERR Error running script (call to OOM").code, "ERR");
    }

    #[test]
    fn a_script_refused_by_a_replica_or_a_full_server_is_no_fault_of_the_script() {
        let error = |line: &str| StoreError::from(Trouble::from(Refusal::read(line)));
        let script = |code: &str| {
            format!("ERR Error running script (call to f_4): @user_script:1: @user_script: 1: -{code} why")
        };
        assert!(matches!(error(&script("READONLY")), StoreError::Unavailable(_)));
        assert!(matches!(error(&script("NOREPLICAS")), StoreError::Unavailable(_)));
        assert!(matches!(error(&script("OOM")), StoreError::Full));
    }

    #[test]
    fn an_error_names_its_server() {
        let refusal = Refusal { server: Server::at("db:6379".into()), ..Refusal::read("BUSY a script runs") };
        assert_eq!(Trouble::from(refusal).to_string(), "db:6379 answered with the error BUSY");
        let refusal = Refusal { server: Server::at("db:6379".into()), ..Refusal::read("WRONGPASS no") };
        assert_eq!(Trouble::from(refusal).to_string(), "db:6379 did not accept the login");
    }
}
