//! Formats errors in one line, for logs and answers.

use std::error::Error;

/// The error and its sources.
pub(crate) fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}
