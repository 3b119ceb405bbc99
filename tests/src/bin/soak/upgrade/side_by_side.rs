//! What one release writes is right at the other.

use std::path::Path;

use e2e::http::{Answer, Client};
use e2e::pserve::Site;
use e2e::races::ADMIN_KEY;
use serde_json::{Value, json};

use super::Faults;

/// Sessions of each kind.
const TIMES: usize = 5;

/// The first of two hosts begins sessions, and both do the rest.
struct Pair {
    first: Client,
    second: Client,
    faults: Faults,
    checks: usize,
}

/// Sessions of many kinds through all that becomes of them; how many times was looked, and what was wrong.
pub(super) fn run(config: &Value, builds: [&Path; 2]) -> (usize, Faults) {
    let mut config = config.clone();
    config["admin_key"] = json!(ADMIN_KEY);
    let hosts = builds.map(|build| {
        let site = Site::with_artifacts(build);
        site.sessman(&config.to_string());
        let pserve = site.start();
        (pserve, site)
    });
    let [first, second] = [&hosts[0].0, &hosts[1].0].map(e2e::pserve::Pserve::client);
    let mut pair = Pair { first, second, faults: Faults::default(), checks: 0 };
    for number in 0..TIMES {
        let user = format!("user-{number}");
        for body in [
            json!({}),
            json!({ "user_id": user, "data": { "ü": [1.5, null, { "a.b": "\u{1f600}" }] } }),
            json!({ "user_id": user, "metadata": { "device": "téléphone" }, "ttl_seconds": 1_000 }),
            json!({ "user_id": user, "external_id": format!("an-external-id-0123456789-{number}") }),
        ] {
            pair.life_of(&body);
        }
        pair.external_id_again(number);
        pair.end_user(&format!("other-{number}"));
    }
    (pair.checks, pair.faults)
}

impl Pair {
    /// Asks one of the two; another status than that is a fault.
    fn ask(&mut self, at_first: bool, path: &str, body: &Value, status: u16) -> Option<Answer> {
        self.checks += 1;
        let client = if at_first { &self.first } else { &self.second };
        let answer = client.with("X-Admin-Key", ADMIN_KEY).post(&format!("/sessman/{path}"), body.clone());
        if answer.status == status {
            return Some(answer);
        }
        let place = if at_first { "the first" } else { "the second" };
        self.faults.add(format!("{path} at {place}: {}", answer.status), || answer.text.clone());
        None
    }

    /// The session, or nothing where that is expected, at both; both must show the same.
    fn at_both(&mut self, id: &str, after: &str, lives: bool) -> Option<Value> {
        let status = if lives { 200 } else { 404 };
        let [one, other] =
            [true, false].map(|at_first| self.ask(at_first, "get", &json!({ "token": id }), status));
        let (one, other) = (one?.json(), other?.json());
        if lives && !is_same(&one, &other) {
            self.faults.add(format!("not the same after {after}"), || format!("{one} and {other}"));
        }
        Some(one)
    }

    fn expect(&mut self, found: &Value, name: &str, value: &Value, after: &str) {
        self.checks += 1;
        if found[name] != *value {
            self.faults.add(format!("wrong {name} after {after}"), || format!("{found}, not {value}"));
        }
    }

    fn life_of(&mut self, body: &Value) -> Option<()> {
        let begun = self.ask(true, "new", body, 201)?;
        let mut id = begun.member("session_id");
        let shown = self.at_both(&id, "new", true)?;
        if !is_same(&begun.json(), &shown) {
            self.faults.add("not as it began", || format!("{} and {shown}", begun.text));
        }
        // Changed by each in turn, whole and in part, and under the version that the other wrote.
        let mut version = 1;
        for at_first in [false, true] {
            let tag = self.ask(at_first, "get", &json!({ "token": id }), 200)?.header("etag")?.to_owned();
            self.ask(at_first, "update", &json!({ "token": id, "data": { "n": version } }), 200)?;
            version += 1;
            let shown = self.at_both(&id, "update", true)?;
            self.expect(&shown, "version", &json!(version), "update");
            self.expect(&shown, "data", &json!({ "n": version - 1 }), "update");
            let client = if at_first { &self.first } else { &self.second };
            let stale =
                client.with("If-Match", &tag).post("/sessman/update", json!({ "token": id, "data": 0 }));
            self.expect(&json!({ "status": stale.status }), "status", &json!(412), "update with an old tag");
            self.ask(!at_first, "update?mode=merge", &json!({ "token": id, "data": { "m": 1 } }), 200)?;
            version += 1;
            let shown = self.at_both(&id, "merge", true)?;
            self.expect(&shown, "version", &json!(version), "merge");
            self.expect(&shown, "data", &json!({ "n": version - 2, "m": 1 }), "merge");
            let touched = self.ask(at_first, "touch", &json!({ "token": id }), 200)?.json();
            let shown = self.at_both(&id, "touch", true)?;
            self.expect(&shown, "expires_at", &touched["expires_at"], "touch");
        }
        if body.get("external_id").is_none() {
            for at_first in [false, true] {
                let user = body.get("user_id").cloned().unwrap_or(json!("a visitor"));
                let rotated = self.ask(at_first, "rotate", &json!({ "token": id, "user_id": user }), 200)?;
                self.at_both(&id, "rotate", false)?;
                id = rotated.member("session_id");
                let shown = self.at_both(&id, "rotate", true)?;
                self.expect(&shown, "user_id", &user, "rotate");
                self.expect(&shown, "created_at", &begun.json()["created_at"], "rotate");
            }
        }
        self.is_listed(&shown, true);
        self.ask(false, "end", &json!({ "token": id }), 200)?;
        self.at_both(&id, "end", false)?;
        self.is_listed(&shown, false);
        Some(())
    }

    fn is_listed(&mut self, session: &Value, lives: bool) {
        for client in [&self.first, &self.second] {
            self.checks += 1;
            let list =
                client.with("X-Admin-Key", ADMIN_KEY).get("/sessman/list?limit=1000").expect(200).json();
            let sessions = list["sessions"].as_array().expect("a list");
            if sessions.iter().any(|listed| listed["handle"] == session["handle"]) != lives {
                let kind = if lives { "not listed" } else { "listed after its end" };
                self.faults.add(kind, || session.to_string());
            }
        }
    }

    /// An id that was chosen is another session's once the first has ended, whoever began and ended them.
    fn external_id_again(&mut self, number: usize) -> Option<()> {
        let id = format!("an-id-used-again-0123456789-{number}");
        let begin = |user: &str, data: Value| json!({ "user_id": user, "external_id": id, "data": data });
        self.ask(true, "new", &begin("alice", json!({ "of": "alice" })), 201)?;
        self.ask(false, "new", &begin("bob", json!(0)), 409)?;
        self.ask(false, "end", &json!({ "token": id }), 200)?;
        self.ask(false, "new", &begin("bob", json!({ "of": "bob" })), 201)?;
        self.ask(true, "update?mode=merge", &json!({ "token": id, "data": { "more": 1 } }), 200)?;
        let shown = self.at_both(&id, "an id used again", true)?;
        self.expect(&shown, "data", &json!({ "of": "bob", "more": 1 }), "an id used again");
        self.expect(&shown, "user_id", &json!("bob"), "an id used again");
        self.ask(true, "end", &json!({ "token": id }), 200)?;
        self.at_both(&id, "end", false)?;
        Some(())
    }

    /// A user's sessions end, whoever began and changed them.
    fn end_user(&mut self, user: &str) -> Option<()> {
        let mut ids = Vec::new();
        for at_first in [true, false, true, false] {
            ids.push(self.ask(at_first, "new", &json!({ "user_id": user }), 201)?.member("session_id"));
        }
        self.ask(false, "update", &json!({ "token": ids[0], "data": 1 }), 200)?;
        self.ask(true, "update", &json!({ "token": ids[1], "data": 1 }), 200)?;
        let ended = self.ask(false, "end-user", &json!({ "user_id": user }), 200)?.json();
        self.expect(&ended, "ended", &json!(4), "end-user");
        for id in ids {
            self.at_both(&id, "end-user", false);
        }
        Some(())
    }
}

/// Whether the members that both show are the same.
fn is_same(one: &Value, other: &Value) -> bool {
    let members = one.as_object().into_iter().flatten();
    members
        .filter(|(name, _)| *name != "session_id")
        .all(|(name, value)| other.get(name).is_none_or(|other| other == value))
}
