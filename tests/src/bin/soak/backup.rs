//! A hundred thousand sessions: backed up beside a running host, restored into every store and compared, and moved from one
//! store to the next. Memory is a host's own and is not among them.

use std::process::ExitCode;
use std::time::Instant;

use e2e::pserve::Site;
use e2e::sessctl::{Ran, beside, fill, run};
use e2e::store::Store;
use serde_json::Value;

const SESSIONS: usize = 100_000;
/// Sessions that are asked for by their ids at the end.
const SAMPLE: usize = 200;

pub(crate) fn run_all() -> ExitCode {
    let site = Site::new();
    site.sessman("{}");
    let pserve = site.start();
    let begun = Instant::now();
    let ids = fill(&pserve.client(), SESSIONS);
    println!("{SESSIONS} sessions began in {:.0} s", begun.elapsed().as_secs_f64());
    let sample: Vec<&String> = ids.iter().step_by(SESSIONS / SAMPLE).collect();
    let served = |client: &e2e::http::Client| -> Vec<Value> {
        sample.iter().map(|id| client.get(&format!("/sessman/get?token={id}")).json()).collect()
    };
    let before = served(&pserve.client());
    let written = tell("SQLite: backup beside the host", beside(&site, &pserve, &["backup", "b", "--json"]));
    assert!(pserve.stop().success());
    let digest = &written["digest"];
    let mut is_good = written["records"] == SESSIONS;

    let file = site.path("b");
    let file = file.to_str().expect("its name is text");
    tell("verify", run(&site, &["verify", file, "--json"]));
    let mut from = None;
    for store in [Store::Sqlite, Store::MongoDb, Store::Redis, Store::RedisCluster] {
        let (Some(config), Some(moved_to)) = (store.config("backup"), store.config("backup")) else {
            println!("{store:?}: SKIPPED, there is none");
            is_good = false;
            continue;
        };
        let other = Site::new();
        other.sessman(&config.to_string());
        let restored =
            tell(&format!("{store:?}: restore"), run(&other, &["restore", file, "--yes", "--json"]));
        let again = tell(&format!("{store:?}: backup"), run(&other, &["backup", "again", "--json"]));
        let pserve = other.start();
        let is_same = again["digest"] == *digest && served(&pserve.client()) == before;
        println!("{store:?}: the same sessions, in the store and as they are served: {is_same}");
        is_good &= is_same && restored["restored"] == SESSIONS;
        drop(pserve);

        // From the store before this one, the first time from where they began.
        let source = from.as_ref().unwrap_or(&site);
        let next = Site::new();
        next.sessman(&moved_to.to_string());
        let ini = next.path("pserve.ini");
        let words = ["migrate", "--yes", "--json", "--to", ini.to_str().expect("its name is text")];
        let moved = tell(&format!("{store:?}: migrate into it"), run(source, &words));
        is_good &= moved["equal"] == true && moved["digest"] == *digest;
        from = Some(next);
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(what: &str, ran: Ran) -> Value {
    let Ran { code, out, err, peak_kib } = &ran;
    let value: Value = serde_json::from_str(out).unwrap_or_default();
    println!("{what}: exit {code:?}, {} MiB at most, {}{}", peak_kib / 1024, out.trim(), err.trim());
    value
}
