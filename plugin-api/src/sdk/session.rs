//! The session of the user whom a guarded plugin answers.

use serde_json::Value;

use crate::{Call, CallError, Calls, Principal};

/// How often [`Session::change`] reads again after others have changed the session meanwhile.
const ATTEMPTS: usize = 100;

/// The live session that opened a request to a guarded plugin: see [`Request::session`](crate::Request::session).
#[derive(Debug)]
pub struct Session {
    calls: Calls,
    principal: Principal,
    data: Value,
    tag: String,
}

impl Session {
    pub(crate) async fn of(calls: Calls, principal: Principal) -> Result<Self, CallError> {
        let mut session = Self { calls, principal, data: Value::Null, tag: String::new() };
        session.refresh().await?;
        Ok(session)
    }

    /// The user who is logged in.
    pub fn user_id(&self) -> &str {
        &self.principal.user_id
    }

    /// The session's public name.
    pub fn handle(&self) -> &str {
        &self.principal.handle
    }

    /// The session's data, as it was read or written last.
    pub fn data(&self) -> &Value {
        &self.data
    }

    /// Reads the session again.
    ///
    /// # Errors
    /// [`CallError::NoSession`] if it has ended, and those of a call.
    pub async fn refresh(&mut self) -> Result<(), CallError> {
        let call = self.call("GET", "get");
        self.take(call).await
    }

    /// Merges `patch` into the data (JSON Merge Patch, RFC 7396), and restarts the session's time to live.
    ///
    /// # Errors
    /// [`CallError::NoSession`] if it has ended, and those of a call.
    pub async fn patch(&mut self, patch: &Value) -> Result<(), CallError> {
        let call = self
            .call("PATCH", "update")
            .with_header("content-type", "application/merge-patch+json")
            .with_header("if-match", "*")
            .with_body(patch.to_string());
        self.take(call).await
    }

    /// Changes the data by a function of what it is. If others change the session meanwhile, it is read again, and `change` is
    /// called with what it is then: so no change is lost.
    ///
    /// # Errors
    /// [`CallError::NoSession`] if it has ended, and those of a call.
    pub async fn change(&mut self, mut change: impl FnMut(&mut Value) + Send) -> Result<(), CallError> {
        for _ in 0..ATTEMPTS {
            let mut data = self.data.clone();
            change(&mut data);
            let call = self
                .call("POST", "update?mode=replace")
                .with_header("if-match", self.tag.clone())
                .with_json(&serde_json::json!({ "data": data }));
            match self.take(call).await {
                Err(CallError::Refused { status: 412, .. }) => self.refresh().await?,
                done => return done,
            }
        }
        Err(CallError::Unavailable("others change the session all the time".to_owned()))
    }

    /// Restarts the session's time to live.
    ///
    /// # Errors
    /// [`CallError::NoSession`] if it has ended, and those of a call.
    pub async fn touch(&mut self) -> Result<(), CallError> {
        let call = self.call("POST", "touch");
        self.take(call).await
    }

    /// Ends the session: its user is logged out.
    ///
    /// # Errors
    /// [`CallError::NoSession`] if it had ended, and those of a call.
    pub async fn end(self) -> Result<(), CallError> {
        let call = self.call("POST", "end");
        found(self.calls.send(call).await?.success()).map(drop)
    }

    /// A call on the session, as long as it is this user's: the handle of an id that the application chose can be
    /// another's by now.
    fn call(&self, method: &str, path: &str) -> Call {
        let and = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{and}user_id={}", encoded(self.user_id()));
        Call::new("", method, &path).on_session(self.handle())
    }

    async fn take(&mut self, call: Call) -> Result<(), CallError> {
        let answer = found(self.calls.send(call).await?.success())?;
        let tag = answer.header("etag").unwrap_or_default().to_owned();
        let mut session = answer.json()?;
        self.data = session["data"].take();
        self.tag = tag;
        Ok(())
    }
}

fn found<T>(answer: Result<T, CallError>) -> Result<T, CallError> {
    match answer {
        Err(CallError::Refused { status: 401 | 404, .. }) => Err(CallError::NoSession),
        answer => answer,
    }
}

/// Percent-encodes a value of a query (RFC 3986).
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
