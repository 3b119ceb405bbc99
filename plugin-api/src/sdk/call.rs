//! Calls to instances of the same host.

use std::borrow::Cow;
use std::fmt;

use abi_stable::std_types::{RCowStr, RResult, RString, RVec};
use futures_core::Stream;
use serde_json::Value;

use crate::Response;
use crate::abi::call::{
    CALL, FAILED, GRANT_ADMIN, GRANT_SERVICE, GRANT_SESSION, LATE, MALFORMED, NO_SESSION, NOT_ALLOWED,
    RawCall, RawCallError, RawCalled, RawCallerBox, UNAVAILABLE,
};
use crate::abi::response::{RawHeader, RawResponse};
use crate::extension::RawExtension;
use crate::sdk::stream::RawStreamReader;

/// A call to a route of another instance.
///
/// ```
/// use plugin_api::Call;
/// use serde_json::json;
///
/// let call = Call::new("sessman", "POST", "new").with_json(&json!({"user_id": "ada"}));
/// ```
#[derive(Clone)]
pub struct Call(RawCall);

impl Call {
    /// A call to the instance of this name. `path` is path and query below the instance's mount, percent-encoded.
    pub fn new(instance: &str, method: &str, path: &str) -> Self {
        Self(RawCall {
            instance: instance.into(),
            method: method.into(),
            path: path.into(),
            headers: RVec::new(),
            body: RVec::new(),
            session: RString::new(),
        })
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn with_json(self, body: &Value) -> Self {
        self.with_header("content-type", "application/json").with_body(body.to_string())
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = body.into().into();
        self
    }

    /// Adds a header line. The name is lower case.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        let value = RCowStr::Owned(value.into().into_owned().into());
        self.0.headers.push(RawHeader { name: RCowStr::Borrowed(name.into()), value });
        self
    }

    /// Makes it about the session with this handle, whose id need not be known.
    #[must_use]
    pub fn on_session(mut self, handle: &str) -> Self {
        self.0.session = handle.into();
        self
    }

    /// The name of the instance to call. Empty in a call of [`Session`](crate::Session): it goes to the instance that keeps
    /// that session.
    pub fn instance(&self) -> &str {
        self.0.instance.as_str()
    }

    /// Upper case.
    pub fn method(&self) -> &str {
        self.0.method.as_str()
    }

    /// Path and query below the instance's mount, percent-encoded.
    pub fn path(&self) -> &str {
        self.0.path.as_str()
    }

    /// The first value of the header with this lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        value(&self.0.headers, name)
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// The handle of the session that it is about; `None` if it names none, or names it by its id.
    pub fn session(&self) -> Option<&str> {
        Some(self.0.session.as_str()).filter(|handle| !handle.is_empty())
    }
}

impl From<RawCall> for Call {
    fn from(raw: RawCall) -> Self {
        Self(raw)
    }
}

/// The first value of the header with this lower-case name.
fn value<'h>(headers: &'h [RawHeader], name: &str) -> Option<&'h str> {
    headers.iter().find(|header| header.name == name).map(|header| header.value.as_str())
}

impl fmt::Debug for Call {
    /// Neither body nor headers: they may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.path.split('?').next().unwrap_or_default();
        write!(f, "Call({} {}/{path})", self.0.method, self.0.instance)
    }
}

/// Calls instances of the same host: see [`Host::calls`](crate::Host::calls) and [`Request::calls`](crate::Request::calls).
pub struct Calls(RawCallerBox);

impl Calls {
    pub(crate) fn new(extension: Option<RawExtension>) -> Result<Self, CallError> {
        let extension = extension.ok_or(CallError::Unsupported(CALL))?;
        extension.downcast().map(Self).map_err(|_| CallError::Unsupported(CALL))
    }

    /// The answer to `call`, whatever its status.
    ///
    /// # Errors
    /// [`CallError`]: the call was not answered.
    pub async fn send(&self, call: Call) -> Result<Answer, CallError> {
        match self.0.call(call.0).await {
            RResult::ROk(raw) => Ok(Answer(raw)),
            RResult::RErr(error) => Err(error.into()),
        }
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calls")
    }
}

/// The answer to a call.
pub struct Answer(RawResponse);

impl Answer {
    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.0.status)
    }

    /// The first value of the header with this lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        value(&self.0.headers, name)
    }

    /// The body, if it is not streamed.
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn json(&self) -> Result<Value, CallError> {
        serde_json::from_slice(self.body())
            .map_err(|_| CallError::Malformed("the answer is not JSON".to_owned()))
    }

    /// The streamed body; `None` if it is complete.
    pub fn into_stream(self) -> Option<impl Stream<Item = Result<Vec<u8>, String>> + Send> {
        self.0.stream.into_option().map(RawStreamReader::new)
    }

    /// The same answer, to be given to one's own caller.
    pub fn into_response(self) -> Response {
        self.0.into()
    }

    /// The answer, if its status is 2xx.
    ///
    /// # Errors
    /// [`CallError::Refused`].
    pub(crate) fn success(self) -> Result<Self, CallError> {
        if self.is_success() {
            return Ok(self);
        }
        let problem: Option<Value> = serde_json::from_slice(self.body()).ok();
        let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str()).unwrap_or("no detail");
        Err(CallError::Refused { status: self.0.status, detail: detail.to_owned() })
    }
}

impl fmt::Debug for Answer {
    /// Neither body nor header values: they may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.0.status, self.0.body.len())
    }
}

/// Why a call has no answer, or not the one that was needed. Each text is one line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// The host lacks this extension of the ABI.
    Unsupported(&'static str),
    /// The operator has not allowed it.
    NotAllowed(String),
    /// The call is malformed, or the instance has no such route; or the answer is not what it should be.
    Malformed(String),
    /// The instance does not serve now, or there is no memory; try again later.
    Unavailable(String),
    /// No answer before the deadline.
    Late(String),
    /// The called plugin failed.
    Failed(String),
    /// There is no live session that the request could be about, or it ended meanwhile.
    NoSession,
    /// The called plugin refused, with this status and for this reason.
    Refused {
        /// HTTP status.
        status: u16,
        /// The reason.
        detail: String,
    },
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(extension) => {
                write!(
                    f,
                    "this pserve does not offer the extension `{extension}` of the plugin ABI; use a later one"
                )
            }
            Self::NotAllowed(detail)
            | Self::Malformed(detail)
            | Self::Unavailable(detail)
            | Self::Late(detail)
            | Self::Failed(detail) => f.write_str(detail),
            Self::NoSession => f.write_str("there is no live session"),
            Self::Refused { status, detail } => write!(f, "refused with {status}: {detail}"),
        }
    }
}

impl std::error::Error for CallError {}

impl From<RawCallError> for CallError {
    fn from(RawCallError { kind, detail }: RawCallError) -> Self {
        let detail = detail.into_string();
        match kind {
            NOT_ALLOWED => Self::NotAllowed(detail),
            MALFORMED => Self::Malformed(detail),
            UNAVAILABLE => Self::Unavailable(detail),
            LATE => Self::Late(detail),
            NO_SESSION => Self::NoSession,
            // FAILED, and what a later host may say.
            _ => Self::Failed(detail),
        }
    }
}

impl From<CallError> for RawCallError {
    fn from(error: CallError) -> Self {
        let kind = match &error {
            CallError::NotAllowed(_) | CallError::Unsupported(_) => NOT_ALLOWED,
            CallError::Malformed(_) => MALFORMED,
            CallError::Unavailable(_) => UNAVAILABLE,
            CallError::Late(_) => LATE,
            CallError::NoSession => NO_SESSION,
            CallError::Failed(_) | CallError::Refused { .. } => FAILED,
        };
        Self { kind, detail: error.to_string().into() }
    }
}

impl From<CallError> for Response {
    /// An answer for the client, which does not get the reason.
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unavailable(_) | CallError::Refused { status: 503, .. } => {
                Self::problem(503, "a part of this service is not available; try again")
                    .with_header("retry-after", "1")
            }
            CallError::Late(_) => Self::problem(504, "a part of this service did not answer in time"),
            CallError::NoSession => Self::problem(401, "a live session is needed; log in"),
            CallError::Refused { status: status @ 400..500, .. } if status != 401 && status != 403 => {
                Self::problem(status, "the session could not be changed")
            }
            _ => Self::problem(500, "this service is not set up as it needs; its log says why"),
        }
    }
}

/// What the operator allows a calling instance to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Grant {
    /// What a client without a key may, and read, change and end the session of the request that it answers.
    Session = GRANT_SESSION,
    /// What a client with the instance's key may, on any session.
    Service = GRANT_SERVICE,
    /// What an administrator may, too.
    Admin = GRANT_ADMIN,
}

impl Grant {
    /// The grant with this number; `None` if it is unknown, and grants nothing.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Session, Self::Service, Self::Admin].into_iter().find(|grant| *grant as u8 == number)
    }
}

/// Who made a call: see [`Request::called`](crate::Request::called).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// The name of the calling instance.
    pub instance: String,
    /// What it may do.
    pub grant: Grant,
    /// The handle of the session that the call is about. The host has checked that the grant covers it.
    pub session: Option<String>,
}

impl Called {
    pub(crate) fn read(extension: RawExtension) -> Option<Self> {
        let RawCalled { instance, grant, session } = extension.downcast().ok()?;
        Some(Self {
            instance: instance.into(),
            grant: Grant::from_number(grant)?,
            session: (!session.is_empty()).then(|| session.into()),
        })
    }
}
