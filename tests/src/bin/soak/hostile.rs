//! 100,000 hostile requests at one process.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use e2e::hostile::{Case, MAX_BODY, cases};
use e2e::http::{exchange, status};
use e2e::pserve::{Pserve, Site};
use serde_json::json;

/// Hostile requests in all, and in the part that memory is compared with.
const REQUESTS: usize = 100_000;
const FIRST: usize = 10_000;
/// Connections at a time.
const CLIENTS: usize = 8;
/// Memory after all requests may be so much of that after the first part.
const MAX_GROWTH: f64 = 1.10;

/// 100,000 hostile requests at one process: the cases of the tests, and the same cases damaged at random.
pub(crate) fn run() -> ExitCode {
    let site = Site::new();
    // Some of the requests create sessions, which are not to count as growth: they are gone after two seconds.
    let sessman = json!({ "backend": "memory", "session_ttl": 1, "cleanup_interval": 1, "max_ttl": 86_400 });
    site.write("sessman.json", sessman.to_string());
    let limits = format!("[limits]\nmax_body={MAX_BODY}\nheader_timeout=2\nrequest_timeout=3");
    site.ini(&format!("{limits}\n[plugin_parms]\nsessman=json=sessman.json"));
    let pserve = site.start();
    let client = pserve.client();
    let created = client
        .post("/sessman/new", json!({ "user": "ada", "data": { "kept": true }, "ttl_seconds": 86_400 }));
    let id = created.expect(201).member("session_id");
    // A case that is damaged must not hit upon the id of the session that is to stay.
    let cases = cases(&"A".repeat(48));
    let answers = Mutex::new(BTreeMap::new());
    let started = Instant::now();

    let parts = (0..REQUESTS).step_by(FIRST).map(|from| {
        send(&pserve, &cases, from..from + FIRST, &answers);
        pserve.memory_kib()
    });
    let memory: Vec<u64> = parts.collect();
    let (first, last) = (memory[0], memory[memory.len() - 1]);

    let session = client.get(&format!("/sessman/get?token={id}")).expect(200).json();
    let is_kept = session["version"] == 1 && session["data"] == json!({ "kept": true });
    let answers = answers.into_inner().expect("no client panicked");
    let growth = last as f64 / first as f64;
    println!("{REQUESTS} hostile requests in {:.0} s", started.elapsed().as_secs_f64());
    for (status, count) in &answers {
        println!("{:>8}  {count}", status.map_or("closed".to_owned(), |status| status.to_string()));
    }
    println!("memory after each {FIRST}, in KiB: {memory:?}; the last is {growth:.2} of the first");
    println!(
        "the next good request was answered; the session is {}",
        if is_kept { "as it was" } else { "CHANGED" }
    );
    let server_errors = answers.keys().flatten().filter(|status| **status >= 500).count();
    let panicked = pserve.log().contains("panicked");
    println!("kinds of 5xx: {server_errors}; panics in the log: {panicked}");
    if is_kept && server_errors == 0 && !panicked && growth <= MAX_GROWTH {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Sends requests with these numbers and counts the answers by status.
fn send(
    pserve: &Pserve,
    cases: &[Case],
    numbers: std::ops::Range<usize>,
    answers: &Mutex<BTreeMap<Option<u16>, usize>>,
) {
    let next = AtomicUsize::new(numbers.start);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    let mut request = cases[number % cases.len()].request.clone();
                    // The first round is the cases as they are.
                    if number >= cases.len() {
                        damage(&mut request, number as u64);
                    }
                    let status = status(&exchange(pserve.address(), &request, true));
                    *answers.lock().expect("no client panicked").entry(status).or_default() += 1;
                }
            });
        }
    });
}

/// Changes, removes or repeats some bytes, most of them near the beginning, where there is most to go wrong. The same
/// number always does the same.
fn damage(request: &mut Vec<u8>, number: u64) {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut random = |below: usize| {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below.max(1)
    };
    for _ in 0..=random(4) {
        let near = random(request.len().min(300));
        let at = if random(4) == 0 { random(request.len()) } else { near };
        let Some(byte) = request.get_mut(at) else { return };
        match random(5) {
            0 => *byte = random(256) as u8,
            1 => *byte ^= 1 << random(8),
            2 => drop(request.remove(at)),
            3 => request.insert(at, b" \r\n\0:%{}\"\\"[random(10)]),
            _ => request.truncate(at),
        }
    }
}
