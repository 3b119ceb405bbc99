//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use tracing::Level;

use crate::config;

/// What the user asked for.
#[derive(Debug, Parser)]
#[command(name = "pserve", version, about, long_about = LONG_ABOUT)]
pub struct Cli {
    /// Configuration file.
    #[arg(short, long = "ini-file", value_name = "FILE", default_value = "pserve.ini")]
    pub ini_file: PathBuf,
    /// Log level: error, warn, info, debug or trace; instead of `[log] level`.
    #[arg(short, long, value_name = "LEVEL", value_parser = level)]
    pub log_level: Option<Level>,
    /// Log debug lines; the same as `--log-level debug`.
    #[arg(short, long)]
    pub verbose: bool,
    /// Something else than serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Something else than serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tries one plugin. The host starts itself so, because a broken library may end the process that opens it.
    #[command(hide = true)]
    Probe {
        /// The descriptor that the copy of the plugin is open at.
        #[arg(long)]
        library_fd: i32,
    },
}

impl Cli {
    /// The log level of the command line, if it says one.
    pub fn level(&self) -> Option<Level> {
        self.log_level.or(self.verbose.then_some(Level::DEBUG))
    }
}

const LONG_ABOUT: &str = "\
pserve loads every plugin of a directory and serves their routes over HTTP.

The configuration is an INI file with the sections network, paths, auth, limits, log and plugin_parms.
A variable PSERVE_SECTION_KEY in the environment overrides a key, PSERVE_NETWORK_PORT for example.
SIGTERM and SIGINT stop the host after the requests under way; a second one stops it at once.";

fn level(text: &str) -> Result<Level, String> {
    config::parse_level(text).ok_or_else(|| "expected error, warn, info, debug or trace".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_spellings() {
        let cli = Cli::parse_from(["pserve", "-i", "a.ini", "-l", "warn", "-v"]);
        assert_eq!((cli.ini_file, cli.log_level, cli.verbose), ("a.ini".into(), Some(Level::WARN), true));
        let cli = Cli::parse_from(["pserve", "--ini-file", "b.ini", "-v"]);
        assert_eq!((cli.ini_file.clone(), cli.level()), ("b.ini".into(), Some(Level::DEBUG)));
        assert_eq!(Cli::parse_from(["pserve"]).ini_file, PathBuf::from("pserve.ini"));
        assert!(Cli::try_parse_from(["pserve", "-l", "loud"]).is_err());
    }
}
