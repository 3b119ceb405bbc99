//! The single place that converts errors to answers.

use std::borrow::Cow;

use plugin_api::Response;
use sessman::data::DataError;
use sessman::error::Error;
use sessman::store::StoreError;

use crate::problem_type::ProblemType;

/// Seconds until a client should retry when the store is unreachable.
const RETRY_AFTER: &str = "1";

/// Why a request was rejected: a status and one line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    kind: ProblemType,
    detail: Cow<'static, str>,
    header: Option<(&'static str, Cow<'static, str>)>,
}

impl Problem {
    /// A problem of any type.
    pub(crate) fn new(kind: ProblemType, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), header: None }
    }

    /// 400.
    pub(crate) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ProblemType::MalformedRequest, detail)
    }

    /// 401: the caller has no valid credentials for this.
    pub(crate) fn unauthorized(kind: ProblemType, detail: &'static str) -> Self {
        Self::new(kind, detail).with("www-authenticate", "Bearer realm=\"sessman\"")
    }

    /// 401: the caller has no valid administrator key.
    pub(crate) fn not_admin() -> Self {
        Self::new(ProblemType::AdminKeyRequired, "this route needs the admin_key; send it as X-Admin-Key")
            .with("www-authenticate", "X-Admin-Key realm=\"sessman\"")
    }

    fn with(self, header: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        Self { header: Some((header, value.into())), ..self }
    }

    /// Adds the name of the parameter that it concerns.
    pub(crate) fn about(self, parameter: &str) -> Self {
        Self { detail: format!("{parameter}: {}", self.detail).into(), ..self }
    }

    /// 503.
    pub(crate) fn unavailable(kind: ProblemType, detail: &'static str) -> Self {
        Self::new(kind, detail).with("retry-after", RETRY_AFTER)
    }
}

/// Logs the reason, which the client does not get.
pub(crate) fn report(error: &Error) {
    match error {
        Error::Store(StoreError::Unavailable(source) | StoreError::Partial(source)) => {
            tracing::debug!(%source, "the session store is not available");
        }
        Error::Store(StoreError::Unusable(reason) | StoreError::InUse(reason)) => {
            tracing::error!(reason, "the session store cannot be used");
        }
        _ => {}
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        report(&error);
        let detail = error.to_string();
        match error {
            Error::NotFound => {
                Self::new(ProblemType::SessionNotFound, "no such session; create one with `new`")
            }
            Error::Changed { .. } => Self::new(ProblemType::VersionMismatch, detail),
            Error::VersionRequired => Self::new(ProblemType::VersionRequired, detail),
            Error::TooMany { retry_after } => {
                Self::new(ProblemType::TooManySessions, detail).with("retry-after", retry_after.to_string())
            }
            Error::LimitReached { .. } => Self::new(ProblemType::LimitReached, detail),
            Error::OtherUser => Self::new(ProblemType::OtherUser, detail),
            Error::TooManyMatch { .. } => Self::new(ProblemType::TooManyMatch, detail),
            Error::Exists => Self::new(ProblemType::ExternalIdTaken, detail),
            Error::Contended => Self::new(ProblemType::Contended, detail),
            Error::Data(DataError::Malformed(_)) | Error::Invalid(_) => Self::malformed(detail),
            Error::Data(DataError::NotStorable { .. }) => Self::new(ProblemType::NotStorable, detail),
            Error::TooLarge { .. } => Self::new(ProblemType::TooLarge, detail),
            Error::Store(StoreError::Unavailable(_) | StoreError::Partial(_)) => Self::unavailable(
                ProblemType::StoreUnavailable,
                "the session store is not available; try again",
            ),
            Error::Store(StoreError::NotReplicated(_)) => Self::unavailable(
                ProblemType::NotReplicated,
                "done, but not yet on as many replicas as wait_replicas asks for: a failover may undo it",
            ),
            Error::Store(StoreError::Full) => {
                Self::unavailable(ProblemType::StoreFull, "the session store is full; try again later")
            }
            Error::Store(StoreError::Unusable(_) | StoreError::InUse(_)) => {
                Self::new(ProblemType::StoreUnusable, "the session store cannot be used; the log says why")
            }
        }
    }
}

/// Limit of the detail in bytes, so that it stays one readable line.
const MAX_DETAIL: usize = 512;

/// The detail, truncated to the limit.
fn shortened(detail: &str) -> &str {
    &detail[..detail.floor_char_boundary(MAX_DETAIL)]
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        let response =
            Self::problem_of(problem.kind.uri(), problem.kind.status(), shortened(&problem.detail))
                .with_header("cache-control", "no-store");
        match problem.header {
            Some((name, value)) => response.with_header(name, value),
            None => response,
        }
    }
}
