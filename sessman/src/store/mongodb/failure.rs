//! The driver's errors, without anything secret.
//!
//! A server's messages quote documents and queries (a duplicate key, a value that a validation rule rejects), and the
//! driver's errors include the server's whole reply. So none of them is passed on: a store error has the server's error
//! number and name, or the network's own error.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::store::StoreError;

/// Duplicate key; which index it is, only the message says.
const DUPLICATE_KEY: i32 = 11_000;
const BAD_VALUE: i32 = 2;
const NAMESPACE_NOT_FOUND: i32 = 26;
const MAX_TIME_EXPIRED: i32 = 50;
const NO_QUERY_EXECUTION_PLANS: i32 = 291;
const INDEX_OPTIONS_CONFLICT: i32 = 85;
const INDEX_KEY_SPECS_CONFLICT: i32 = 86;

/// Errors for which a retry is useless: malformed or unknown commands (an incompatible server), documents that are too large
/// or that a validation rule rejects.
const PERMANENT: [i32; 20] = [
    2,      // BadValue
    9,      // FailedToParse
    14,     // TypeMismatch
    40,     // ConflictingUpdateOperators
    52,     // DollarPrefixedFieldName
    56,     // EmptyFieldName
    57,     // DottedFieldName
    59,     // CommandNotFound
    66,     // ImmutableField
    72,     // InvalidOptions
    73,     // InvalidNamespace
    115,    // CommandNotSupported
    121,    // DocumentValidationFailure
    166,    // CommandNotSupportedOnView
    10_334, // BSONObjectTooLarge
    11_000, // DuplicateKey, where it is not the handle's
    17_280, // KeyTooLong
    17_419, // the document would be too large after the update
    17_420, // the document would be too large after the update
    40_324, // an unknown stage of an aggregation
];

/// Errors of MongoDB and its driver.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It missed the deadline.
    #[error("MongoDB gave no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The server keeps saying that nothing matches an existing document.
    #[error("MongoDB went on answering that nothing matches a document that is there")]
    Denied,
    /// After `close`.
    #[error("the store has been closed")]
    Closed,
    /// No member is reachable, or there is no primary.
    #[error("no server takes writes: {0}")]
    NoServer(String),
    /// Wrong user, password, mechanism or authentication database.
    #[error("MongoDB did not accept the login: {0}")]
    Login(String),
    /// The seed list could not be resolved.
    #[error("the host of the server_url could not be resolved: {0}")]
    Name(String),
    /// The connection broke.
    #[error("the connection to MongoDB broke")]
    Network(#[source] Arc<io::Error>),
    /// The server replied with an error.
    #[error("MongoDB answered with error {code} {name}")]
    Refused {
        /// Its error number.
        code: i32,
        /// Its name in brackets, if the server sent one.
        name: String,
    },
    /// Anything else, by its kind.
    #[error("{0}")]
    Other(&'static str),
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        Self::Unavailable(Box::new(trouble))
    }
}

/// Maps an error of the driver to one of the store.
pub(super) fn store_error(error: Error) -> StoreError {
    let trouble = match *error.kind {
        ErrorKind::ServerSelection { message, .. } => Trouble::NoServer(message),
        ErrorKind::Authentication { message, .. } => Trouble::Login(message),
        ErrorKind::DnsResolve { message, .. } => Trouble::Name(message),
        ErrorKind::Io(error) => Trouble::Network(error),
        ErrorKind::ConnectionPoolCleared { .. } => Trouble::Other("the connections to MongoDB were given up"),
        ErrorKind::Shutdown => Trouble::Closed,
        ErrorKind::Command(error) => return refused(error.code, &error.code_name),
        ErrorKind::Write(WriteFailure::WriteError(error)) => {
            return refused(error.code, error.code_name.as_deref().unwrap_or_default());
        }
        // Written, but not acknowledged by a majority: the outcome is unknown, whatever the number says.
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => refusal(error.code, &error.code_name),
        // About files named in the URL; both can be fixed without a restart.
        ErrorKind::InvalidTlsConfig { message, .. } => {
            return StoreError::Unusable(format!("its TLS settings: {message}"));
        }
        ErrorKind::InvalidArgument { .. } => {
            return StoreError::Unusable("the driver refuses a setting or a document".into());
        }
        ErrorKind::IncompatibleServer { .. } => {
            return StoreError::Unusable(
                "the server is older than MongoDB 4.4, or newer than the driver".into(),
            );
        }
        ErrorKind::InvalidResponse { .. } | ErrorKind::Bson(_) => {
            return StoreError::Unusable("the server's answer is not one that MongoDB gives".into());
        }
        _ => Trouble::Other("the driver failed"),
    };
    trouble.into()
}

fn refused(code: i32, name: &str) -> StoreError {
    let refusal = refusal(code, name);
    if PERMANENT.contains(&code) { StoreError::Unusable(refusal.to_string()) } else { refusal.into() }
}

fn refusal(code: i32, name: &str) -> Trouble {
    let name = if name.is_empty() { String::new() } else { format!("({name})") };
    Trouble::Refused { code, name }
}

/// Whether a write was rejected because of a duplicate key.
pub(super) fn is_duplicate_key(error: &Error) -> bool {
    matches!(*error.kind, ErrorKind::Write(WriteFailure::WriteError(ref error)) if error.code == DUPLICATE_KEY)
}

/// Whether a command was rejected because the collection does not exist yet.
pub(super) fn is_missing_collection(error: &Error) -> bool {
    matches!(*error.kind, ErrorKind::Command(ref error) if error.code == NAMESPACE_NOT_FOUND)
}

/// Whether a command exceeded its time limit on the server.
pub(super) fn is_out_of_time(error: &Error) -> bool {
    matches!(*error.kind, ErrorKind::Command(ref error) if error.code == MAX_TIME_EXPIRED)
}

/// Whether a command may have been rejected because of its index hint.
pub(super) fn is_refused_hint(error: &Error) -> bool {
    matches!(*error.kind, ErrorKind::Command(ref error)
        if [BAD_VALUE, NO_QUERY_EXECUTION_PLANS].contains(&error.code))
}

/// Whether the creation of an index was rejected because of a conflicting one.
pub(super) fn is_index_conflict(error: &Error) -> bool {
    matches!(*error.kind, ErrorKind::Command(ref error)
        if [INDEX_OPTIONS_CONFLICT, INDEX_KEY_SPECS_CONFLICT].contains(&error.code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(error: &StoreError) -> String {
        let mut text = format!("{error} {error:?}");
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            text.push_str(&format!(" {error}"));
            source = error.source();
        }
        text
    }

    fn answered(code: i32, name: &str) -> Error {
        // The driver's own type cannot be made outside of it, only read.
        let answer =
            serde_json::json!({ "code": code, "codeName": name, "errmsg": "dup key: { user_id: 'hidden' }" });
        ErrorKind::Command(serde_json::from_value(answer).unwrap()).into()
    }

    #[test]
    fn what_a_server_says_is_not_passed_on() {
        for (code, permanent) in [(10_107, false), (50, false), (13, false), (121, true), (11_000, true)] {
            let error = store_error(answered(code, "SomeName"));
            assert_eq!(matches!(error, StoreError::Unusable(_)), permanent, "{code}");
            let shown = shown(&error);
            assert!(shown.contains(&code.to_string()) && shown.contains("SomeName"), "{shown}");
            assert!(!shown.contains("hidden"), "{shown}");
        }
    }

    #[test]
    fn a_broken_connection_keeps_its_source() {
        let broken = io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer");
        let error = store_error(ErrorKind::Io(Arc::new(broken)).into());
        assert!(matches!(error, StoreError::Unavailable(_)));
        assert!(shown(&error).contains("reset by peer"));
    }

    #[test]
    fn conflicts_are_told_apart_by_their_numbers() {
        assert!(is_index_conflict(&answered(85, "")) && is_index_conflict(&answered(86, "")));
        assert!(is_missing_collection(&answered(26, "NamespaceNotFound")));
        assert!(!is_index_conflict(&answered(26, "")) && !is_duplicate_key(&answered(11_000, "")));
    }
}
