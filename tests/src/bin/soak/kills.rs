//! Operations of more than one write, cut off from the store and killed at each of their steps, on Redis, MongoDB and
//! SQLite.

use std::process::ExitCode;

use e2e::kills::{OPERATIONS, Server, run as interrupt};
use e2e::store::Store;

pub(crate) fn run() -> ExitCode {
    println!("| store | operation | interruption | times | answered 2xx | refused at first | what failed |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let mut is_good = true;
    for store in [Store::Redis, Store::MongoDb, Store::Sqlite] {
        let Some(server) = Server::start("kills", store) else {
            println!("{store:?}: SKIPPED, there is none");
            is_good = false;
            continue;
        };
        for interruption in server.interruptions() {
            for operation in OPERATIONS {
                let Some(found) = interrupt("kills", &server, operation, *interruption) else {
                    println!("{store:?}: SKIPPED");
                    is_good = false;
                    continue;
                };
                println!("| {server} | {operation:?} | {interruption:?} | {found} |");
                for (kind, example) in &found.examples {
                    println!("  {kind}: {example}");
                }
                is_good &= found.is_good();
            }
        }
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
