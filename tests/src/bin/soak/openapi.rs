//! Some thousand requests made up from the OpenAPI description, and every answer checked against it.

use std::process::ExitCode;

use e2e::schemathesis;
use e2e::store::Store;

/// A route and kind of test; there are more than twenty routes.
const CASES: u32 = 200;

pub(crate) fn run() -> ExitCode {
    let mut is_good = schemathesis::is_installed();
    if !is_good {
        println!("the Python package schemathesis is not installed");
    }
    for store in [Store::Memory, Store::Sqlite] {
        let Some(config) = store.config("openapi") else { continue };
        let (said, went_well) = match schemathesis::run(&config, CASES) {
            Ok(said) => (said, true),
            Err(said) => (said, false),
        };
        is_good &= went_well;
        let summary = said.find("= SUMMARY").map_or(said.as_str(), |at| &said[at..]);
        println!("{store:?}: {}\n{}", if went_well { "as described" } else { "NOT as described" }, summary);
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
