//! What is interrupted, and what must hold afterwards.

use serde_json::{Value, json};

use super::Found;
use crate::clock;
use crate::http::{Answer, Client};
use crate::races::ADMIN_KEY;

/// Sessions that a user may have.
const LIMIT: usize = 2;
/// What lives longer than this is no session that is only about to begin.
const LONG: i64 = 600_000;

/// An operation of more than one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `new` of a user at the limit, whose oldest session makes room.
    NewEvicts,
    /// `new` of a user below the limit, beyond which there is a refusal.
    NewRejects,
    /// An anonymous session becomes that of a user at the limit, whose oldest makes room.
    RotateEvicts,
    /// An anonymous session becomes that of a user below the limit, beyond which there is a refusal.
    RotateRejects,
    /// `new` with an external id that another user's session had, by a user at the limit, whose oldest makes room.
    AgainEvicts,
    /// As that, by a user below the limit, beyond which there is a refusal.
    AgainRejects,
    /// `end` of a session with an external id; the oldest makes room.
    EndEvicts,
    /// `end` of a session with an external id; beyond the limit there is a refusal.
    EndRejects,
    /// `end-user`; the oldest makes room.
    EndUserEvicts,
    /// `end-user`; beyond the limit there is a refusal.
    EndUserRejects,
    /// A session of a user at the limit moves to another external id, with other terms; the oldest makes room.
    MoveEvicts,
    /// As that; beyond the limit there is a refusal.
    MoveRejects,
}

/// All of them.
pub const OPERATIONS: [Operation; 12] = [
    Operation::NewEvicts,
    Operation::NewRejects,
    Operation::RotateEvicts,
    Operation::RotateRejects,
    Operation::AgainEvicts,
    Operation::AgainRejects,
    Operation::EndEvicts,
    Operation::EndRejects,
    Operation::EndUserEvicts,
    Operation::EndUserRejects,
    Operation::MoveEvicts,
    Operation::MoveRejects,
];

impl Operation {
    pub(super) fn rules(self) -> Value {
        let on_limit = if self.evicts() { "evict_oldest" } else { "reject" };
        json!({ "max_sessions_per_user": LIMIT, "on_limit": on_limit })
    }

    fn evicts(self) -> bool {
        matches!(
            self,
            Self::NewEvicts
                | Self::RotateEvicts
                | Self::AgainEvicts
                | Self::EndEvicts
                | Self::EndUserEvicts
                | Self::MoveEvicts
        )
    }

    /// Whether it adds a session to the user's.
    fn adds(self) -> bool {
        matches!(
            self,
            Self::NewEvicts
                | Self::NewRejects
                | Self::RotateEvicts
                | Self::RotateRejects
                | Self::AgainEvicts
                | Self::AgainRejects
        )
    }

    fn moves(self) -> bool {
        matches!(self, Self::MoveEvicts | Self::MoveRejects)
    }
}

/// An operation that is to be interrupted.
pub(super) struct Case {
    operation: Operation,
    user: String,
    /// Sessions of the user.
    known: Vec<String>,
    /// The session that it is about, or the external id.
    target: String,
    answer: Option<Answer>,
}

/// A login that was refused, as a session that nobody knows might live. It must be let in two minutes later.
pub(super) struct Later {
    case: Case,
    taken: Option<String>,
}

impl Case {
    /// Begins the sessions that there are before.
    pub(super) fn prepare(operation: Operation, name: &str, client: &Client) -> Self {
        let user = format!("user-{name}");
        let external = format!("an-external-id-of-{user}-0123456789");
        let begin = |body: Value| client.post("/sessman/new", body).expect(201).member("session_id");
        let at_first = if operation.adds() && operation.evicts() { LIMIT } else { LIMIT - 1 };
        let target = match operation {
            Operation::NewEvicts | Operation::NewRejects => String::new(),
            Operation::RotateEvicts | Operation::RotateRejects => begin(json!({})),
            Operation::AgainEvicts | Operation::AgainRejects => {
                begin(json!({ "user": format!("former-{name}"), "external_id": external }));
                client.post("/sessman/end", json!({ "token": external })).expect(200);
                external
            }
            _ => begin(json!({ "user": user, "external_id": external })),
        };
        let known = (0..at_first).map(|_| begin(json!({ "user": user }))).collect();
        Self { operation, user, known, target, answer: None }
    }

    /// Asks for the operation.
    pub(super) fn ask(&self, client: &Client) -> Option<Answer> {
        let (user, target) = (&self.user, &self.target);
        let (path, body) = match self.operation {
            Operation::NewEvicts | Operation::NewRejects => ("new", json!({ "user": user })),
            Operation::RotateEvicts | Operation::RotateRejects => {
                ("rotate", json!({ "token": target, "user_id": user }))
            }
            Operation::AgainEvicts | Operation::AgainRejects => {
                ("new", json!({ "user": user, "external_id": target }))
            }
            Operation::MoveEvicts | Operation::MoveRejects => (
                "rotate",
                json!({ "token": target, "external_id": self.moved(), "labels": { "moved": "yes" } }),
            ),
            Operation::EndEvicts | Operation::EndRejects => ("end", json!({ "token": target })),
            Operation::EndUserEvicts | Operation::EndUserRejects => ("end-user", json!({ "user_id": user })),
        };
        let client = client.with("X-Admin-Key", ADMIN_KEY);
        client.try_send("POST", &format!("/sessman/{path}"), &body.to_string()).ok()
    }

    /// The external id that the session is moved to.
    fn moved(&self) -> String {
        format!("{}-moved", self.target)
    }

    pub(super) fn answered(&mut self, answer: Option<Answer>) {
        self.answer = answer;
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.status < 300)
    }

    /// Looks at what there is after the interruption, and has the user log in again.
    pub(super) fn check(mut self, client: &Client, found: &mut Found) -> Option<Later> {
        self.is_so(client, found);
        let taken = self.taken(client, found);
        let login = self.login(client);
        let refused_rightly = !self.operation.evicts() && self.live(client).len() >= LIMIT;
        match login.status {
            201 => self.entered(client, &login, found),
            409 if refused_rightly => {}
            // Whoever was not answered may have a session that nobody knows.
            409 if self.operation == Operation::NewRejects && !self.is_answered() => {
                return Some(Later { case: self, taken });
            }
            409 if self.operation == Operation::RotateRejects && !self.is_answered() && taken.is_none() => {
                return Some(Later { case: self, taken });
            }
            status => found.fault("locked out", || format!("{}: the next login: {status}", self.what())),
        }
        if self.operation.evicts() {
            for _ in 0..LIMIT {
                match self.login(client) {
                    login if login.status == 201 => self.entered(client, &login, found),
                    login => found.fault("locked out", || format!("{}: {}", self.what(), login.status)),
                }
            }
        }
        self.lives(client, taken.as_deref(), found);
        None
    }

    fn what(&self) -> String {
        let answer = self.answer.as_ref().map_or("nothing".to_owned(), |answer| answer.status.to_string());
        format!("{:?}, {}, answered {answer}", self.operation, self.user)
    }

    /// What was answered is so; what was not answered has ended nobody's session.
    fn is_so(&mut self, client: &Client, found: &mut Found) {
        let is_there = |id: &str| is_there(client, id);
        let live = self.known.iter().filter(|id| is_there(id)).count();
        if self.operation.moves() {
            let moved = self.moved();
            let opens = [is_there(&self.target), is_there(&moved)];
            if self.is_answered() && opens != [false, true] {
                found.fault("answered, not so", || format!("{}: old and new open: {opens:?}", self.what()));
            }
            if opens == [false, false] {
                found.fault("ended for nobody", || format!("{}: the one that moves", self.what()));
            }
            if live < self.known.len() {
                found.fault("ended for nobody", || self.what());
            }
            let ids = [self.target.clone(), moved];
            self.known.extend(ids.into_iter().zip(opens).filter_map(|(id, opens)| opens.then_some(id)));
            return;
        }
        if self.operation.adds() {
            if let Some(answer) = self.answer.as_ref().filter(|answer| answer.status < 300) {
                let id = answer.member("session_id");
                if !is_there(&id) {
                    found.fault("answered, not there", || self.what());
                }
                if matches!(self.operation, Operation::RotateEvicts | Operation::RotateRejects)
                    && is_there(&self.target)
                {
                    found.fault("answered, not so", || format!("{}: the old id opens it", self.what()));
                }
                if live < LIMIT - 1 {
                    found.fault("ended for nobody", || format!("{}: {live} older live", self.what()));
                }
                self.known.push(id);
            } else if self.operation.evicts() && listed(client, &self.user).1 < LIMIT {
                found
                    .fault("ended for one that never came", || format!("{}: {live} older live", self.what()));
            } else if !self.operation.evicts() && live < LIMIT - 1 {
                found.fault("ended for nobody", || format!("{}: {live} older live", self.what()));
            }
            return;
        }
        let ends_all = matches!(self.operation, Operation::EndUserEvicts | Operation::EndUserRejects);
        if self.is_answered() && (is_there(&self.target) || ends_all && live > 0) {
            found.fault("answered, not so", || format!("{}: it lives", self.what()));
        }
        if !ends_all && live < self.known.len() {
            found.fault("ended for nobody", || self.what());
        }
        if is_there(&self.target) {
            self.known.push(self.target.clone());
        }
    }

    /// Another user gets the session, or the external id, if it is free: with what id it opens then.
    fn taken(&mut self, client: &Client, found: &mut Found) -> Option<String> {
        let mallory = format!("mallory-{}", self.user);
        let taken = match self.operation {
            Operation::NewEvicts | Operation::NewRejects => return None,
            Operation::RotateEvicts | Operation::RotateRejects => {
                if !is_there(client, &self.target) {
                    return None;
                }
                client.post("/sessman/rotate", json!({ "token": self.target, "user_id": mallory }))
            }
            Operation::AgainEvicts | Operation::AgainRejects => {
                if is_there(client, &self.target) {
                    // Whoever chose the id can log out although no answer came.
                    client.post("/sessman/end", json!({ "token": self.target })).expect(200);
                    self.known.retain(|id| *id != self.target);
                }
                client.post("/sessman/new", json!({ "user": mallory, "external_id": self.target }))
            }
            _ if is_there(client, &self.target) => return None,
            _ => client.post("/sessman/new", json!({ "user": mallory, "external_id": self.target })),
        };
        if taken.status >= 300 {
            found.fault("locked out", || format!("{}: another user: {taken:?}", self.what()));
            return None;
        }
        Some(taken.member("session_id"))
    }

    fn login(&self, client: &Client) -> Answer {
        client.post("/sessman/new", json!({ "user": self.user }))
    }

    fn live(&self, client: &Client) -> Vec<&String> {
        self.known.iter().filter(|id| is_there(client, id)).collect()
    }

    /// A login was answered: it is there, and there are not too many.
    fn entered(&mut self, client: &Client, login: &Answer, found: &mut Found) {
        let id = login.member("session_id");
        if !is_there(client, &id) {
            found.fault("answered, not there", || format!("{}: the next login", self.what()));
        }
        self.known.push(id);
        let (live, (_, listed)) = (self.live(client).len(), listed(client, &self.user));
        if live > LIMIT || listed > LIMIT {
            found.fault("too many", || format!("{}: {live} live, {listed} listed", self.what()));
        }
    }

    /// What another user has got lives on.
    fn lives(&self, client: &Client, taken: Option<&str>, found: &mut Found) {
        if taken.is_some_and(|taken| !is_there(client, taken)) {
            found.fault("ended for another", || self.what());
        }
    }
}

impl Later {
    /// The login is let in now.
    pub(super) fn check(mut self, client: &Client, found: &mut Found) {
        match self.case.login(client) {
            login if login.status == 201 => self.case.entered(client, &login, found),
            login => {
                found.fault("locked out", || {
                    format!("{}: two minutes later: {}", self.case.what(), login.status)
                });
            }
        }
        self.case.lives(client, self.taken.as_deref(), found);
    }
}

fn is_there(client: &Client, id: &str) -> bool {
    client.get(&format!("/sessman/get?token={id}")).status == 200
}

/// How many sessions of the user are listed, and how many of them are not only about to begin.
fn listed(client: &Client, user: &str) -> (usize, usize) {
    let list =
        client.with("X-Admin-Key", ADMIN_KEY).get(&format!("/sessman/list?user_id={user}")).expect(200);
    let list = list.json();
    let sessions = list["sessions"].as_array().expect("a list");
    let is_long = |session: &&Value| {
        clock::millis(session["expires_at"].as_str().expect("a time")) > clock::now() + LONG
    };
    (sessions.len(), sessions.iter().filter(is_long).count())
}
