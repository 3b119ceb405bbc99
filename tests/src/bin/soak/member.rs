//! A member of a Redis cluster that hangs while it is asked 300 times a second, and what the sessions of the others notice
//! of it: as good as nothing.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::http::Client;
use e2e::pserve::Site;
use e2e::redis::Cluster;
use rustix::process::Signal;
use serde_json::json;

/// The member that hangs.
const SICK: usize = 1;
/// Updates a second of sessions on it.
const RATE: u32 = 300;
/// Threads that send them: a call that hangs has two seconds.
const SENDERS: usize = 2 * RATE as usize + 50;
/// Clients of sessions on the others, and what each waits between two calls.
const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(4);
/// Sessions on each side.
const SESSIONS: usize = 100;
const MEASURE: Duration = Duration::from_secs(15);
/// Until what hangs is known to hang, and until it is known to be back.
const SETTLE: Duration = Duration::from_secs(4);
/// Beyond this share of the time on a cluster where nobody hangs, a call has noticed it.
const MOST: f64 = 2.0;

const CALLS: [&str; 4] = ["get", "update", "new", "end"];

/// Sessions and users by where they are.
struct Places {
    sick: Vec<String>,
    well: Vec<String>,
    /// Users none of whose keys is on the member that hangs.
    users: Vec<String>,
}

pub(crate) fn run() -> ExitCode {
    // Nobody takes over: it is before a failover.
    let Some(cluster) = Cluster::start("member", &["--cluster-node-timeout", "600000"]) else {
        println!("SKIPPED: there is no redis-server");
        return ExitCode::FAILURE;
    };
    let site = Site::new();
    site.sessman(&json!({ "backend": "redis", "server_url": cluster.addresses() }).to_string());
    let pserve = site.start();
    let client = pserve.client();
    let places = places(&cluster, &client);

    measure(&client, &places, Duration::from_secs(2));
    let before = measure(&client, &places, MEASURE);
    cluster.members[SICK].signal(Signal::STOP);
    // How it is found out is measured, too.
    let found_out = measure(&client, &places, SETTLE);
    let sick = measure(&client, &places, MEASURE);
    let ready = client.get("/readyz");
    cluster.members[SICK].signal(Signal::CONT);
    measure(&client, &places, SETTLE);
    let after = measure(&client, &places, MEASURE);

    println!(
        "| call | nobody hangs: calls, p50, p99, 503 | a member hangs: calls, p50, p99, 503 | p99 of that | first seconds: p99, 503 | |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut is_good = true;
    for call in CALLS {
        let healthy = if before.0[call].p(0.99) > after.0[call].p(0.99) { &before } else { &after };
        let (healthy, hangs, first) = (&healthy.0[call], &sick.0[call], &found_out.0[call]);
        let ratio = hangs.p(0.99).as_secs_f64() / healthy.p(0.99).as_secs_f64();
        let is_right = ratio <= MOST && hangs.refused + first.refused + healthy.refused == 0;
        is_good &= is_right;
        println!(
            "| {call} | {healthy} | {hangs} | {ratio:.2} | {:.1} ms, {} | {} |",
            first.p(0.99).as_secs_f64() * 1e3,
            first.refused,
            if is_right { "good" } else { "NOT GOOD" }
        );
    }
    println!("/readyz while it hangs: {} {}", ready.status, ready.text);
    let said: Vec<String> =
        pserve.log().lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect();
    println!("{} warnings in the log:", said.len());
    said.iter().take(12).for_each(|line| println!("  {line}"));
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Begins sessions until there are enough on the member that is going to hang, and on the others.
fn places(cluster: &Cluster, client: &Client) -> Places {
    let mut begun: Vec<(String, String)> = Vec::new();
    for number in 0..6 * SESSIONS {
        let user = format!("user{number}x");
        let session = client.post("/sessman/new", json!({ "user": user, "data": { "a": 1 } })).expect(201);
        begun.push((user, session.member("session_id")));
    }
    let keys = cluster.members[SICK].cli(&["KEYS", "*"]);
    // An id begins with the handle, which is in the name of the session's key and of no other.
    let is_sick = |id: &str| keys.contains(&id[..16]);
    let (sick, well): (Vec<_>, Vec<_>) = begun.iter().partition(|(_, id)| is_sick(id));
    let ids = |of: Vec<&(String, String)>| of.iter().take(SESSIONS).map(|(_, id)| id.clone()).collect();
    let users = begun.iter().map(|(user, _)| user).filter(|user| !keys.contains(user.as_str()));
    let users = users.take(SESSIONS).cloned().collect();
    Places { sick: ids(sick), well: ids(well), users }
}

/// What became of one kind of call.
#[derive(Default)]
struct Seen {
    /// Sorted.
    times: Vec<Duration>,
    refused: usize,
}

impl Seen {
    fn p(&self, part: f64) -> Duration {
        let last = self.times.len().saturating_sub(1);
        self.times.get((last as f64 * part) as usize).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99] = [0.5, 0.99].map(|part| self.p(part).as_secs_f64() * 1e3);
        write!(f, "{}, {p50:.1} ms, {p99:.1} ms, {}", self.times.len(), self.refused)
    }
}

struct AllSeen(BTreeMap<&'static str, Seen>);

/// Calls for sessions on the others, while those on one member are updated all the time.
fn measure(client: &Client, places: &Places, long: Duration) -> AllSeen {
    let (stop, ticks) = (AtomicBool::new(false), AtomicUsize::new(0));
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let tick = ticks.fetch_add(1, Ordering::Relaxed);
                    let at = Duration::from_secs(1) / RATE * u32::try_from(tick).expect("few ticks");
                    while begun.elapsed() < at {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        thread::sleep(at.saturating_sub(begun.elapsed()).min(Duration::from_millis(200)));
                    }
                    let body = json!({ "token": places.sick[tick % places.sick.len()], "data": tick });
                    let _ = client.try_send("POST", "/sessman/update", &body.to_string());
                }
            });
        }
        let work = |place: usize| {
            let mut seen: BTreeMap<&'static str, Seen> = CALLS.map(|call| (call, Seen::default())).into();
            let until = Instant::now() + long;
            for number in (place..).step_by(CLIENTS) {
                if Instant::now() >= until {
                    break;
                }
                let mut call = |call: &'static str, body: serde_json::Value| {
                    let begun = Instant::now();
                    let answer = client.try_send("POST", &format!("/sessman/{call}"), &body.to_string());
                    let seen = seen.get_mut(call).expect("it is one of them");
                    seen.times.push(begun.elapsed());
                    let answer = answer.ok().filter(|answer| answer.status < 300);
                    seen.refused += usize::from(answer.is_none());
                    thread::sleep(PAUSE);
                    answer
                };
                let id = &places.well[number % places.well.len()];
                call("get", json!({ "token": id }));
                call("update", json!({ "token": id, "data": number }));
                let user = &places.users[number % places.users.len()];
                if let Some(session) = call("new", json!({ "user": user })) {
                    call("end", json!({ "token": session.member("session_id") }));
                }
            }
            seen
        };
        let clients: Vec<_> = (0..CLIENTS).map(|place| scope.spawn(move || work(place))).collect();
        let mut all: BTreeMap<&'static str, Seen> = CALLS.map(|call| (call, Seen::default())).into();
        for client in clients {
            for (call, seen) in client.join().expect("no client panicked") {
                let all = all.get_mut(call).expect("it is one of them");
                all.times.extend(seen.times);
                all.refused += seen.refused;
            }
        }
        stop.store(true, Ordering::Relaxed);
        all.values_mut().for_each(|seen| seen.times.sort_unstable());
        AllSeen(all)
    })
}
