//! Side by side: sessman, bare hyper and other session services under the same load, as a page of Markdown.
//!
//! `cargo xtask bench` builds and installs what is needed, and starts this. Modules: [`contestants`] is who is measured,
//! [`running`] fills them, [`measure`] the rounds, [`parts`] what is asked, [`table`] the page.
#![allow(clippy::print_stdout, reason = "what this program prints is its answer to a person")]

mod contestants;
mod machine;
mod measure;
mod parts;
mod pin;
mod running;
mod table;
mod wire;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;

use crate::measure::Effort;

/// Measures sessman against bare hyper and other session services.
#[derive(Parser)]
struct Options {
    /// Rounds: each contestant is measured so often, in turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load in each round.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Only these parts; none: all.
    #[arg(long, value_delimiter = ',')]
    parts: Vec<String>,
    /// The file that the page is written to; without it only to the terminal.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let effort =
        Effort { rounds: options.rounds.max(1), duration: Duration::from_secs(options.seconds.max(1)) };
    let mut page = machine::describe(effort)?;
    for (name, part) in parts::ALL {
        if options.parts.is_empty() || options.parts.iter().any(|wanted| wanted == name) {
            let text = part(effort)?;
            println!("{text}");
            page.push_str(&text);
        }
    }
    if let Some(out) = options.out {
        fs::write(out, page)?;
    }
    Ok(())
}
