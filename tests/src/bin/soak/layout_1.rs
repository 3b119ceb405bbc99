//! Makes the sessions of `tests/fixtures/layout-1` anew, with the last release that wrote layout 1 only.

use std::process::ExitCode;

use e2e::layout_1::{build, make_all};

pub(crate) fn run() -> ExitCode {
    make_all(&build());
    println!("tests/fixtures/layout-1 is made anew");
    ExitCode::SUCCESS
}
