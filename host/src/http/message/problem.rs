//! Problems that the host answers with (RFC 9457), each with a type of its own by which programs tell them apart.

use std::borrow::Cow;

use hyper::Response;
use plugin_api::Response as PluginResponse;

use super::response::{AnswerBody, own};

/// The type of a problem. docs/troubleshooting.md describes each one, too, with its remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemType {
    /// The request is not valid HTTP for this host: see `error`.
    MalformedRequest,
    /// The request needs a valid API key.
    KeyRequired,
    /// The route is for users with a live session.
    SessionRequired,
    /// The instance has no key, so it answers only this machine.
    NotLocal,
    /// A cross-site request with the session cookie (CSRF).
    CrossSite,
    /// The route needs the key of `[auth]`, and there is none.
    NoKeyConfigured,
    /// Nothing is served at this path.
    NoRoute,
    /// There is no instance of this name to load, reload or unload.
    UnknownInstance,
    /// The route accepts other methods; `Allow` lists them.
    MethodNotAllowed,
    /// The body was not complete within `request_timeout`.
    BodyTimeout,
    /// The instance is loaded already, or not loaded.
    WrongState,
    /// The body is larger than `max_body`.
    BodyTooLarge,
    /// A large body needs its key in a header, or a live session.
    LargeBodyNeedsKey,
    /// The URL is too long.
    TargetTooLong,
    /// The configuration to load is not valid; nothing was changed.
    InvalidConfiguration,
    /// Too many wrong keys came from this address; `Retry-After` says when to try again.
    TooManyGuesses,
    /// The request has too many headers, or too long ones.
    HeadersTooLarge,
    /// The plugin failed; the log has the reason under the request id.
    PluginFailed,
    /// The plugin's answer is not valid HTTP.
    InvalidAnswer,
    /// The instance is not loaded, failed, or is being replaced.
    InstanceUnavailable,
    /// There is no memory, or no free slot, for this request now: retry.
    Overloaded,
    /// An instance cannot serve; the log has the reason.
    NotReady,
    /// The host is stopping.
    Stopping,
    /// The plugin did not answer within `request_timeout`.
    PluginTimeout,
}

impl ProblemType {
    fn definition(self) -> (u16, &'static str) {
        match self {
            Self::MalformedRequest => (400, "urn:pserve:problem:malformed-request"),
            Self::KeyRequired => (401, "urn:pserve:problem:key-required"),
            Self::SessionRequired => (401, "urn:pserve:problem:session-required"),
            Self::NotLocal => (403, "urn:pserve:problem:not-local"),
            Self::CrossSite => (403, "urn:pserve:problem:cross-site"),
            Self::NoKeyConfigured => (403, "urn:pserve:problem:no-key-configured"),
            Self::NoRoute => (404, "urn:pserve:problem:no-route"),
            Self::UnknownInstance => (404, "urn:pserve:problem:unknown-instance"),
            Self::MethodNotAllowed => (405, "urn:pserve:problem:method-not-allowed"),
            Self::BodyTimeout => (408, "urn:pserve:problem:body-timeout"),
            Self::WrongState => (409, "urn:pserve:problem:wrong-state"),
            Self::BodyTooLarge => (413, "urn:pserve:problem:body-too-large"),
            Self::LargeBodyNeedsKey => (413, "urn:pserve:problem:large-body-needs-key"),
            Self::TargetTooLong => (414, "urn:pserve:problem:target-too-long"),
            Self::InvalidConfiguration => (422, "urn:pserve:problem:invalid-configuration"),
            Self::TooManyGuesses => (429, "urn:pserve:problem:too-many-guesses"),
            Self::HeadersTooLarge => (431, "urn:pserve:problem:headers-too-large"),
            Self::PluginFailed => (500, "urn:pserve:problem:plugin-failed"),
            Self::InvalidAnswer => (500, "urn:pserve:problem:invalid-answer"),
            Self::InstanceUnavailable => (503, "urn:pserve:problem:instance-unavailable"),
            Self::Overloaded => (503, "urn:pserve:problem:overloaded"),
            Self::NotReady => (503, "urn:pserve:problem:not-ready"),
            Self::Stopping => (503, "urn:pserve:problem:stopping"),
            Self::PluginTimeout => (504, "urn:pserve:problem:plugin-timeout"),
        }
    }

    /// The status of its answers.
    pub(crate) fn status(self) -> u16 {
        self.definition().0
    }

    /// Its `type` in a problem document.
    pub(crate) fn uri(self) -> &'static str {
        self.definition().1
    }

    /// The document as a plugin's response, for callers that write it themselves.
    pub(crate) fn document(self, detail: &str) -> PluginResponse {
        PluginResponse::problem_of(self.uri(), self.status(), detail)
    }
}

/// A problem.
pub(crate) fn problem(kind: ProblemType, detail: &str) -> Response<AnswerBody> {
    own(kind.document(detail))
}

/// A problem with one additional header.
pub(crate) fn problem_with(
    kind: ProblemType,
    detail: &str,
    header: &'static str,
    value: impl Into<Cow<'static, str>>,
) -> Response<AnswerBody> {
    own(kind.document(detail).with_header(header, value))
}

/// A problem that asks the client to retry after one second.
pub(crate) fn retry_later(kind: ProblemType, detail: &str) -> Response<AnswerBody> {
    problem_with(kind, detail, "retry-after", "1")
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn problems_are_documents() {
        let response = problem_with(ProblemType::MethodNotAllowed, "no", "allow", "GET");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["allow"], "GET");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&value["status"], &value["error"]), (&405.into(), &"no".into()));
        assert_eq!(value["type"], "urn:pserve:problem:method-not-allowed");
    }
}
