//! What can go wrong, without what must not be shown: a server repeats arguments of a command in its errors, so only
//! the first word of one is passed on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::layout::unreadable;
use crate::store::StoreError;

/// Why Redis did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Trouble {
    /// Nothing came in time.
    #[error("Redis gave no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// After `close`.
    #[error("the store has been closed")]
    Closed,
    /// There is no connection.
    #[error("no connection to {0}")]
    NoConnection(String, #[source] Arc<io::Error>),
    /// The connection broke while an answer was due.
    #[error("the connection to {0} broke")]
    Broken(String),
    /// What answers is no Redis.
    #[error("{0} does not answer as Redis does")]
    NotRedis(String),
    /// Wrong user or password, or none.
    #[error("Redis did not accept the login")]
    Login,
    /// It takes nobody in just now.
    #[error("{0} refused the connection with the error {1}")]
    Rejected(String, String),
    /// The server said no.
    #[error("Redis answered with the error {}", .0.code)]
    Refused(Refusal),
    /// No member of the cluster could be asked, or none has the key.
    #[error("the cluster has no master for a key")]
    NoMaster,
    /// It will not be better next time.
    #[error("{0}")]
    Permanent(String),
}

/// An error of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Its first word.
    pub(super) code: String,
    /// Where the key is, for `MOVED` and `ASK`.
    pub(super) place: Option<String>,
}

impl Refusal {
    /// Reads an error as the server wrote it.
    pub(super) fn read(line: &str) -> Self {
        let mut words = line.split(' ');
        let code = match line {
            // It has no code of its own, and is the answer to whatever comes first.
            _ if line.starts_with("ERR max number of clients") => "MAXCLIENTS",
            // It goes into the log, so that it is a word or nothing.
            _ => words.next().filter(|code| is_code(code)).unwrap_or("UNKNOWN"),
        };
        let code = code.to_owned();
        let is_redirection = ["MOVED", "ASK"].contains(&code.as_str());
        let place = words.nth(1).filter(|_| is_redirection).map(str::to_owned);
        Self { code, place }
    }
}

fn is_code(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        match refusal.code.as_str() {
            "NOAUTH" | "WRONGPASS" => Self::Login,
            // One that was not followed.
            "MOVED" | "ASK" => Self::NoMaster,
            _ => Self::Refused(refusal),
        }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Permanent(reason) => Self::Unusable(reason),
            Trouble::Refused(Refusal { ref code, .. }) => match code.as_str() {
                "OOM" => Self::Full,
                "WRONGTYPE" | "SESSMAN_LAYOUT" => unreadable(),
                // A command that is not there or not permitted, or a script that fails: it will fail again.
                "ERR" | "CROSSSLOT" | "NOPERM" => Self::Unusable(trouble.to_string()),
                _ => Self::Unavailable(Box::new(trouble)),
            },
            other => Self::Unavailable(Box::new(other)),
        }
    }
}
