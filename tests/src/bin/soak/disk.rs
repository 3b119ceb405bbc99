//! A disk that fails, is full, or stands still under `pserve` on SQLite, and under plain SQLite beside it: what was answered is
//! there after `kill -9` and a start, and the file is whole.

mod control;
mod faults;
mod still;
mod volume;

use std::process::ExitCode;

pub(crate) use control::{NAME as CONTROL, run as run_control};

pub(crate) fn run() -> ExitCode {
    let results = [faults::run(), volume::run(), still::run()];
    if results.iter().all(|is_good| *is_good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
