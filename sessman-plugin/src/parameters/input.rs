//! The value of a parameter as it came.

use std::borrow::Cow;

use crate::problem::Problem;

/// A value: text of a query or a header, or JSON of a body.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// Decoded.
    Text(Cow<'a, str>),
    /// As it is written.
    Json(&'a str),
}

impl<'a> Input<'a> {
    /// Whether it is the `null` of JSON.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Json("null"))
    }

    /// Its text; in JSON a string.
    pub(super) fn string(self, name: &str) -> Result<Cow<'a, str>, Problem> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Json(json) => {
                serde_json::from_str(json).map(Cow::Owned).map_err(|_| expected(name, "a string"))
            }
        }
    }

    /// Its text; in JSON a string, a number or a boolean, as numbers and booleans are written alike in both.
    pub(super) fn scalar(self, name: &str) -> Result<Cow<'a, str>, Problem> {
        match self {
            Self::Json(json) if !json.starts_with('"') => Ok(Cow::Borrowed(json)),
            other => other.string(name),
        }
    }

    /// Its JSON, which no query can have.
    pub(super) fn json(self, name: &str) -> Result<&'a str, Problem> {
        match self {
            Self::Json(json) => Ok(json),
            Self::Text(_) => {
                Err(Problem::malformed(format!("{name}: goes into the JSON body, not into the query")))
            }
        }
    }
}

/// It is something else than what it must be.
pub(super) fn expected(name: &str, what: &str) -> Problem {
    Problem::malformed(format!("{name}: expected {what}"))
}
