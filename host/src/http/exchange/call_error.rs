//! Why a call of a plugin has no answer of the plugin's.

use std::sync::Arc;

use hyper::Response;

use crate::http::message::problem::{ProblemType, retry_later};
use crate::http::message::response::AnswerBody;
use crate::plugin::{Instance, State};

/// Something else than the plugin's answer.
pub(crate) enum CallError {
    /// The host's answer. Boxed, because the way on is the usual one.
    Rejected(Box<Response<AnswerBody>>),
    /// This instance is being replaced, and the request has not reached it.
    Moved(Arc<Instance>),
}

impl CallError {
    /// The host answers in the plugin's place.
    pub(super) fn rejected(response: Response<AnswerBody>) -> Self {
        Self::Rejected(Box::new(response))
    }
}

/// There is no place among the requests that are answered at a time.
pub(super) fn crowded() -> CallError {
    CallError::rejected(retry_later(
        ProblemType::Overloaded,
        "too many requests at once ([limits] max_in_flight)",
    ))
}

/// The instance serves nobody now.
pub(super) fn not_serving(instance: &Instance, state: State) -> CallError {
    CallError::rejected(retry_later(
        ProblemType::InstanceUnavailable,
        &format!("`{}` is {}; try again", instance.name, state.name()),
    ))
}
