//! A session as its clients may think of it: a register with compare-and-set, an id, and an end. Where its id was chosen by
//! its maker, there may be another one under the same id afterwards.

use serde_json::{Value, json};

use super::Operation;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The session.
    Get,
    /// That it lives longer, of which nothing is to be seen here but that it lives.
    Touch,
    /// These data in place of the others; only if it is as this tag says, if there is one.
    Replace(Value, Option<Tag>),
    /// This member put into the data.
    Merge(String, Value),
    /// This label set or removed, and whether the cookie outlives the browser.
    Amend {
        /// The label's name.
        label: String,
        /// Its value; `None` to remove it.
        value: Option<String>,
        /// What becomes of `persistent`.
        persistent: Option<bool>,
    },
    /// Another id; it is this one of the session's.
    Rotate(usize),
    /// Its end.
    End,
    /// The beginning of this one under the id, for a user, with these data.
    Begin(Incarnation, Value),
    /// The end of all sessions of a user.
    EndUser(User),
    /// That it makes room for another session of its user, or runs out of time: what ends it although nobody asks for that.
    /// It never has an answer, and it may have happened or not. `None`: whosever it is.
    GiveWay(Option<User>),
}

/// A user, by a number.
pub type User = usize;

/// One of the sessions that there are under an id, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Incarnation {
    /// Which one; 0 is the first where the id was not chosen.
    pub number: u64,
    /// Whose.
    pub user: Option<User>,
}

/// What an entity tag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// The number of the one that had it.
    pub incarnation: u64,
    /// Its version then.
    pub version: u64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answered {
    /// 200, with the session as it is after that.
    Session {
        /// Which one it is.
        incarnation: u64,
        /// Its version.
        version: u64,
        /// Its data.
        data: Value,
        /// Its labels, and whether it is persistent.
        own: Value,
    },
    /// 200: it has ended.
    Ended,
    /// 412: it has another version.
    Changed,
    /// 404: that id opens no session.
    Missing,
    /// 409: there is one under that id.
    Exists,
    /// 200: what is left to do is done.
    Done,
}

/// A session.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Which of its ids opens it; `None` after its end.
    pub id: Option<usize>,
    /// Which one it is, or was.
    pub incarnation: Incarnation,
    /// Its version.
    pub version: u64,
    /// Its data.
    pub data: Value,
    /// Its labels, and whether it is persistent.
    pub own: Value,
}

impl State {
    /// A session of nobody, which has no data, under an id of ours.
    pub fn new() -> Self {
        let incarnation = Incarnation { number: 0, user: None };
        let data = Value::Object(serde_json::Map::new());
        Self { id: Some(0), incarnation, version: 1, data, own: Self::plain() }
    }

    /// What a session has of its own that was begun without anything.
    pub fn plain() -> Value {
        json!({ "labels": {}, "persistent": false })
    }

    /// That there is none yet under an id that was chosen.
    pub fn none() -> Self {
        Self { id: None, ..Self::new() }
    }

    /// The session after `operation`, and what is answered then.
    pub(super) fn after(&self, operation: &Operation) -> (Self, Answered) {
        let mut state = self.clone();
        match &operation.action {
            Action::Begin(..) if self.id.is_some() => return (state, Answered::Exists),
            Action::Begin(incarnation, data) => {
                let (incarnation, data) = (*incarnation, data.clone());
                state = Self { id: Some(0), incarnation, version: 1, data, own: Self::plain() };
                return (state.clone(), state.shown());
            }
            Action::EndUser(user) => {
                if state.incarnation.user == Some(*user) {
                    state.id = None;
                }
                return (state, Answered::Done);
            }
            Action::GiveWay(user) => {
                if user.is_none() || state.incarnation.user == *user {
                    state.id = None;
                }
                return (state, Answered::Done);
            }
            _ if self.id != Some(operation.id) => return (state, Answered::Missing),
            Action::Get | Action::Touch => {}
            Action::Replace(_, Some(tag)) if !self.has(*tag) => return (state, Answered::Changed),
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
            Action::Amend { label, value, persistent } => {
                let before = state.own["labels"].clone();
                match (value, state.own["labels"].as_object_mut()) {
                    (Some(value), _) => state.own["labels"][label] = json!(value),
                    (None, Some(labels)) => _ = labels.remove(label),
                    (None, None) => {}
                }
                // What changes nothing is no new version, and times are none.
                state.version += u64::from(state.own["labels"] != before);
                if let Some(persistent) = persistent {
                    state.own["persistent"] = json!(persistent);
                }
            }
            Action::Rotate(id) => state.id = Some(*id),
            Action::End => {
                state.id = None;
                return (state, Answered::Ended);
            }
        }
        let shown = state.shown();
        (state, shown)
    }

    fn has(&self, tag: Tag) -> bool {
        tag == Tag { incarnation: self.incarnation.number, version: self.version }
    }

    fn shown(&self) -> Answered {
        Answered::Session {
            incarnation: self.incarnation.number,
            version: self.version,
            data: self.data.clone(),
            own: self.own.clone(),
        }
    }

    /// For what has been tried already. What has ended is all the same.
    pub(super) fn key(&self) -> Option<(usize, Incarnation, u64, String)> {
        self.id.map(|id| (id, self.incarnation, self.version, format!("{}{}", self.data, self.own)))
    }
}

/// What an answer shows beside the data.
pub(super) fn own(shown: &mut Value) -> Value {
    json!({ "labels": shown["labels"].take(), "persistent": shown["persistent"].take() })
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}
