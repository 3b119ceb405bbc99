//! The limit of durable writes: `syncs FILE SECONDS` lets 64 writers, each of which waits for its write, append records of
//! 400 bytes; what waits is written at once and made durable by one `fdatasync`. It prints writes a second.
#![allow(clippy::print_stdout, reason = "the figure is its answer")]

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Writers that wait, as the connections of the other benchmarks do.
const WRITERS: usize = 64;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().context("expected a file")?;
    let seconds: u64 = arguments.next().context("expected seconds")?.parse()?;
    let mut file = File::create(file)?;
    // Every writer waits at each sync, so that a batch is all of them.
    let batch = vec![b'x'; 400 * WRITERS];
    let (started, mut writes) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(seconds) {
        file.write_all(&batch)?;
        file.sync_data()?;
        writes += WRITERS;
    }
    println!("{:.0}", writes as f64 / started.elapsed().as_secs_f64());
    Ok(())
}
