//! Many clients at once, and what must be there afterwards: briefly in the tests, for long in the soak.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use serde_json::json;

use crate::http::{Answer, Client};

/// The key of administrators in [`logins`].
pub const ADMIN_KEY: &str = "the-admin-key";

/// Says that it is over when it is dropped: others then end also when what runs meanwhile panics.
pub(crate) struct StopOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `act` for each number below `count` at once; the answers in no order.
pub(crate) fn at_once(count: usize, act: impl Fn(usize) -> Answer + Sync) -> Vec<Answer> {
    let (start, answers) = (Barrier::new(count), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for number in 0..count {
            let (start, answers, act) = (&start, &answers, &act);
            scope.spawn(move || {
                start.wait();
                let answer = act(number);
                answers.lock().expect("no client panicked").push(answer);
            });
        }
    });
    answers.into_inner().expect("no client panicked")
}

/// So many clients each merge a key of their own into one session at once, spread over the hosts; how many keys are there
/// afterwards.
///
/// # Panics
/// When a change is refused, or counted more or less than once.
pub fn merges(hosts: &[Client], clients: usize) -> usize {
    let client = &hosts[0];
    let id = client.post("/sessman/new", json!({})).expect(201).member("session_id");
    for answer in at_once(clients, |number| {
        let client = &hosts[number / 2 % hosts.len()];
        let patch = json!({ format!("client-{number}"): number }).to_string();
        match number % 2 {
            0 => client.with("X-Session-Id", &id).send("PATCH", "/sessman/update", &patch),
            _ => client.send(
                "POST",
                &format!("/sessman/update?mode=merge&token={id}"),
                &format!("{{\"data\":{patch}}}"),
            ),
        }
    }) {
        answer.expect(200);
    }
    let session = client.get(&format!("/sessman/get?token={id}")).expect(200).json();
    let data = session["data"].as_object().expect("an object");
    assert_eq!(session["version"], data.len() + 1, "each change counts once");
    client.post("/sessman/end", json!({ "token": id })).expect(200);
    data.len()
}

/// What became of many logins of one user at once.
#[derive(Debug)]
pub struct Logins {
    /// How often each status was answered.
    pub statuses: BTreeMap<u16, usize>,
    /// Ids that were given out and open a session afterwards.
    pub live: usize,
    /// Sessions of the user in the administrators' list.
    pub listed: usize,
}

/// So many logins of one user at once, spread over the hosts, whose [`ADMIN_KEY`] is that one.
///
/// # Panics
/// When a request gets no answer.
pub fn logins(hosts: &[Client], logins: usize, user: &str) -> Logins {
    let answers =
        at_once(logins, |number| hosts[number % hosts.len()].post("/sessman/new", json!({ "user": user })));
    let mut statuses = BTreeMap::new();
    for answer in &answers {
        *statuses.entry(answer.status).or_default() += 1;
    }
    let given = answers.iter().filter(|answer| answer.status == 201);
    let opens = |answer: &&Answer| {
        let path = format!("/sessman/get?token={}", answer.member("session_id"));
        // Each host sees what the other one wrote.
        let found: Vec<u16> = hosts.iter().map(|host| host.get(&path).status).collect();
        assert!(found.iter().all(|status| *status == found[0]), "the hosts disagree: {found:?}");
        found[0] == 200
    };
    let live = given.filter(opens).count();
    let admin = hosts[0].with("X-Admin-Key", ADMIN_KEY);
    let list = admin.get(&format!("/sessman/list?user_id={user}")).expect(200).json();
    let listed = list["sessions"].as_array().expect("a list").len();
    Logins { statuses, live, listed }
}
