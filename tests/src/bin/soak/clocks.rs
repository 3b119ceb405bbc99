//! Two and three nodes on one Redis and one MongoDB, whose clocks differ, are set amid the rounds, or are behind the
//! server's.

use std::process::ExitCode;

use e2e::clocks::Setting;
use e2e::store::Store;

const OFFSETS: [i64; 6] = [-71, -30, -15, 15, 30, 71];
/// For each of the six rules; each round is two times twelve logins.
const ROUNDS: usize = 3;

pub(crate) fn run() -> ExitCode {
    println!("| store | clocks | rounds | logins | 503 | what failed |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut is_good = true;
    for setting in settings() {
        let Some(found) = setting.run("clocks") else {
            println!("{setting:?}: SKIPPED");
            is_good = false;
            continue;
        };
        println!("| {:?} | {} | {found} |", setting.store, clocks(&setting));
        for (kind, example) in &found.examples {
            println!("  {kind}: {example}");
        }
        is_good &= found.is_good();
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn settings() -> Vec<Setting> {
    let mut settings = Vec::new();
    for store in [Store::MongoDb, Store::Redis] {
        settings.push(Setting::new(store, &[0, 0], ROUNDS));
        for offset in OFFSETS {
            settings.push(Setting::new(store, &[0, offset], ROUNDS));
            settings.push(Setting::new(store, &[0, 0, offset], ROUNDS));
            if store == Store::Redis {
                // It has a clock of its own, which is away from that of all nodes here.
                settings.push(Setting::new(store, &[offset, offset], ROUNDS));
            }
        }
        for (from, to) in [(0, 15), (0, -15), (-20, 0), (0, 71), (0, -71)] {
            settings.push(Setting { step: Some(to), ..Setting::new(store, &[0, from], ROUNDS / 2) });
        }
    }
    settings
}

fn clocks(setting: &Setting) -> String {
    let offsets: Vec<String> = setting.offsets.iter().map(|offset| format!("{offset:+}")).collect();
    let mut text = format!("{} s", offsets.join(", "));
    if let Some(step) = setting.step {
        text.push_str(&format!(", the last set to {step:+} s amid the rounds"));
    }
    text
}
