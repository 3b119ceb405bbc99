//! Why a call has no answer.

use std::time::Duration;

/// Why a call of a plugin has no answer. A client of the host would get 500, 503 or 504.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The plugin panicked. The text has the panic's message.
    #[error("the plugin {0}")]
    Panicked(String),
    /// `activate` or `deactivate` returned this error, or panicked.
    #[error("the plugin refused: {0}")]
    Refused(String),
    /// The plugin did not answer in this time: that of [`Request::time_left`](crate::Request::time_left) for a request,
    /// 30 s for a call of its life cycle. Or its tasks were still at work after 30 s.
    #[error("the plugin did not answer within {0:?}")]
    Late(Duration),
    /// The answer is not valid HTTP.
    #[error("the plugin's answer is not HTTP: {0}")]
    NotHttp(String),
    /// A streamed body ended with this error, or panicked.
    #[error("the plugin's streamed answer ended early: {0}")]
    Stream(String),
    /// The instance is not active: the host calls no route of it.
    #[error("the instance is not active; call `activate`, or make it with `start`")]
    Inactive,
}
