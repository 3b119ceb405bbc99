//! A session as its clients may think of it: a register with compare-and-set, an id, and an end.

use serde_json::Value;

use super::Operation;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The session.
    Get,
    /// That it lives longer, of which nothing is to be seen here but that it lives.
    Touch,
    /// These data in place of the others; only at this version, if there is one.
    Replace(Value, Option<u64>),
    /// This member put into the data.
    Merge(String, Value),
    /// Another id; it is this one of the session's.
    Rotate(usize),
    /// Its end.
    End,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answered {
    /// 200, with the session as it is after that.
    Session {
        /// Its version.
        version: u64,
        /// Its data.
        data: Value,
    },
    /// 200: it has ended.
    Ended,
    /// 412: it has another version.
    Changed,
    /// 404: that id opens no session.
    Missing,
}

/// A session.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Which of its ids opens it; `None` after its end.
    pub id: Option<usize>,
    /// Its version.
    pub version: u64,
    /// Its data.
    pub data: Value,
}

impl State {
    /// The session after `operation`, and what is answered then.
    pub(super) fn after(&self, operation: &Operation) -> (Self, Answered) {
        if self.id != Some(operation.id) {
            return (self.clone(), Answered::Missing);
        }
        let mut state = self.clone();
        match &operation.action {
            Action::Get | Action::Touch => {}
            Action::Replace(_, Some(version)) if *version != self.version => {
                return (state, Answered::Changed);
            }
            Action::Replace(data, _) => {
                state.data = data.clone();
                state.version += 1;
            }
            Action::Merge(name, value) => {
                // As JSON Merge Patch has it, what is no object gives way to one.
                if !state.data.is_object() {
                    state.data = Value::Object(serde_json::Map::new());
                }
                state.data[name] = value.clone();
                state.version += 1;
            }
            Action::Rotate(id) => state.id = Some(*id),
            Action::End => {
                state.id = None;
                return (state, Answered::Ended);
            }
        }
        let (version, data) = (state.version, state.data.clone());
        (state, Answered::Session { version, data })
    }

    /// For what has been tried already.
    pub(super) fn key(&self) -> (Option<usize>, u64, String) {
        (self.id, self.version, self.data.to_string())
    }
}
