//! Why a call did not get an answer from the plugin.

use std::sync::Arc;

use hyper::Response;

use crate::http::message::problem::{ProblemType, retry_later};
use crate::http::message::response::AnswerBody;
use crate::plugin::{Instance, State};

/// An outcome other than the plugin's answer.
pub(crate) enum CallError {
    /// The host's answer. Boxed, because it is rare and large.
    Rejected(Box<Response<AnswerBody>>),
    /// This instance is being replaced, and the request has not reached it: retry with its successor.
    Moved(Arc<Instance>),
}

impl CallError {
    /// The host answers instead of the plugin.
    pub(super) fn rejected(response: Response<AnswerBody>) -> Self {
        Self::Rejected(Box::new(response))
    }
}

/// The limit of requests that are answered concurrently is reached.
pub(super) fn crowded() -> CallError {
    CallError::rejected(retry_later(
        ProblemType::Overloaded,
        "too many requests at once ([limits] max_in_flight)",
    ))
}

/// The instance is not serving now.
pub(super) fn not_serving(instance: &Instance, state: State) -> CallError {
    CallError::rejected(retry_later(
        ProblemType::InstanceUnavailable,
        &format!("`{}` is {}; try again", instance.name, state.name()),
    ))
}
