//! Everything that takes memory of a host, alone and together, in a control group of the size that the shipped files name: it
//! lives, and who has the key is served all along.

mod attacks;
mod caller;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use e2e::cgroup::Cgroup;
use e2e::pserve::{Pserve, Site};
use e2e::strangers::Strangers;
use e2e::tls::make_pair;
use serde_json::json;

use self::attacks::{Attack, PLAIN, SECURE, Target};
use self::caller::Caller;

/// What the shipped files give a host, in bytes.
const MEMORY: u64 = 512 << 20;
/// Until what an attack takes is there, and how long it is then looked at.
const BEGIN: Duration = Duration::from_secs(4);
const LOOK: Duration = Duration::from_secs(8);
const TOGETHER: Duration = Duration::from_secs(30);
/// A p99 may be so many times that of quiet.
const SLOWER: f64 = 5.0;
const KEY: &str = "a-key-of-back-ends";
const ADMIN: &str = "a-key-of-people";

/// Attacks over HTTP/1.1, then over TLS and HTTP/2.
pub(crate) fn run() -> ExitCode {
    let strangers = Strangers::new().inspect_err(|error| {
        println!("NO NAMESPACE ({error}): all strangers come from this machine's own address");
    });
    let strangers = strangers.ok();
    let mut is_good = true;
    for (door, attacks) in [("HTTP/1.1", PLAIN), ("TLS and HTTP/2", SECURE)] {
        is_good &= Stand::build(attacks, strangers.as_ref()).run(door);
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A host that is attacked, and where from.
struct Stand<'s> {
    pserve: Pserve,
    /// Dropped after the host has ended.
    group: Option<Cgroup>,
    target: Target,
    attacks: &'static [Attack],
    strangers: Option<&'s Strangers>,
    caller: Caller,
    _site: Site,
}

impl<'s> Stand<'s> {
    fn build(attacks: &'static [Attack], strangers: Option<&'s Strangers>) -> Self {
        let site = Site::new();
        let is_secure = std::ptr::eq(attacks, SECURE);
        make_pair(&site, "a");
        let socket = site.path("socket");
        let sessman = json!({
            "backend": "sqlite", "path": site.path("sessions.db"), "durability": "normal", "client_access": "read",
            "admin_key": ADMIN, "session_ttl": 600, "max_sessions_per_user": 500
        });
        site.write("sessman.json", sessman.to_string());
        let group = Cgroup::with_memory(MEMORY).inspect_err(|error| {
            println!("NO CONTROL GROUP ({error}): what counts is the peak of the memory that it holds");
        });
        let group = group.ok();
        let max_memory = if group.is_some() { String::new() } else { format!("max_memory={MEMORY}\n") };
        let ssl = if is_secure { "[ssl]\nenabled=true\ncertfile=a.pem\nkeyfile=a.key\n" } else { "" };
        site.ini(&format!(
            "[network]\nbindto=0.0.0.0\nport=0\nunix_socket={}\n{ssl}[auth]\napikey={KEY}\n[limits]\n{max_memory}\
             [plugin_parms]\nsessman=json=sessman.json\n",
            socket.display()
        ));
        let pserve = match &group {
            Some(group) => site.try_start_in(group),
            None => site.try_start(),
        };
        let pserve = pserve.unwrap_or_else(|log| panic!("pserve did not start:\n{log}"));
        let port = pserve.address().rsplit(':').next().expect("a port").to_owned();
        let caller = Caller::new(socket);
        let target = Target::prepare(port, &caller);
        Self { pserve, group, target, attacks, strangers, caller, _site: site }
    }

    fn run(&mut self, door: &str) -> bool {
        let quiet = self.caller.call_for(LOOK);
        println!("{door}; quiet: {quiet}; budget {} MiB", self.budget() >> 20);
        println!(
            "{:<28} {:>10} {:>10} {:>9} {:>7} {:>7}  p99 of quiet",
            "", "requests", "refused", "p99", "taken", "RSS"
        );
        let mut is_good = quiet.failed == 0;
        let together: [(&str, &[Attack], Duration); 1] = [("all together", self.attacks, TOGETHER)];
        let alone = self.attacks.iter().map(|attack| (attack.name, std::slice::from_ref(attack), LOOK));
        for (name, attacks, long) in alone.chain(together) {
            is_good &= self.look(name, attacks, long, quiet.p99);
            if self.is_killed() {
                println!("{name:<28} THE SYSTEM ENDED IT FOR WANT OF MEMORY\n");
                return false;
            }
        }
        let after = self.caller.call_for(LOOK);
        println!("quiet again: {after}; peak {} MiB\n", self.pserve.peak_kib() >> 10);
        is_good && after.failed == 0
    }

    /// Whether it lived, and who has the key was served.
    fn look(&mut self, name: &str, attacks: &[Attack], long: Duration, quiet: Duration) -> bool {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = thread::scope(|scope| {
            for attack in attacks {
                let (target, stop, strangers) = (&self.target, &stop, self.strangers);
                scope.spawn(move || (attack.run)(target, "127.0.0.1", stop));
                scope.spawn(move || {
                    if let Some(strangers) = strangers {
                        strangers.enter();
                    }
                    let host =
                        strangers.map_or("127.0.0.1".to_owned(), |strangers| strangers.host.to_string());
                    (attack.run)(target, &host, stop);
                });
            }
            thread::sleep(BEGIN);
            let seen = self.caller.call_for(long);
            stop.store(true, Ordering::Relaxed);
            seen
        });
        let ratio = seen.p99.as_secs_f64() / quiet.as_secs_f64();
        if self.is_killed() {
            return false;
        }
        let taken = self.group.as_ref().map_or(0, Cgroup::taken) >> 20;
        let (rss, p99) = (self.pserve.memory_kib() >> 10, seen.p99);
        let (count, failed) = (seen.count, seen.failed);
        println!("{name:<28} {count:>10} {failed:>10} {p99:>9.1?} {taken:>7} {rss:>7}  {ratio:.1}");
        if let Some(first) = &seen.first {
            println!("    refused first: {first}");
        }
        seen.failed == 0 && ratio <= SLOWER && self.pserve.peak_kib() << 10 < MEMORY
    }

    fn is_killed(&mut self) -> bool {
        !self.pserve.is_running() || self.group.as_ref().is_some_and(|group| group.kills() > 0)
    }

    /// What the host has made of its memory.
    fn budget(&self) -> u64 {
        let page = self.caller.metrics();
        let line = page.lines().find_map(|line| line.strip_prefix("pserve_memory_budget_bytes "));
        line.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or_default()
    }
}
