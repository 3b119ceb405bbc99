//! The value of a parameter as received.

use std::borrow::Cow;

use crate::problem::Problem;

/// A value: text of a query or a header, or JSON of a body.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// Percent-decoded.
    Text(Cow<'a, str>),
    /// Unparsed JSON.
    Json(&'a str),
}

impl<'a> Input<'a> {
    /// Whether it is JSON `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Json("null"))
    }

    /// As text; in JSON only a string.
    pub(super) fn string(self, name: &str) -> Result<Cow<'a, str>, Problem> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Json(json) => {
                serde_json::from_str(json).map(Cow::Owned).map_err(|_| expected(name, "a string"))
            }
        }
    }

    /// As text; in JSON a string, a number or a boolean. Numbers and booleans are written alike in queries and JSON.
    pub(super) fn scalar(self, name: &str) -> Result<Cow<'a, str>, Problem> {
        match self {
            Self::Json(json) if !json.starts_with('"') => Ok(Cow::Borrowed(json)),
            other => other.string(name),
        }
    }

    /// As JSON, which a query cannot contain.
    pub(super) fn json(self, name: &str) -> Result<&'a str, Problem> {
        match self {
            Self::Json(json) => Ok(json),
            Self::Text(_) => {
                Err(Problem::malformed(format!("{name}: goes into the JSON body, not into the query")))
            }
        }
    }
}

/// The problem that a parameter is not of the expected type.
pub(super) fn expected(name: &str, what: &str) -> Problem {
    Problem::malformed(format!("{name}: expected {what}"))
}
