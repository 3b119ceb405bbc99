//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tracing::Level;

use crate::config;
use crate::generate::Generate;

/// What the user asked for.
#[derive(Debug, Parser)]
#[command(name = "pserve", version, about, long_about = long_about(), after_long_help = EXAMPLES)]
pub struct Cli {
    /// Configuration file.
    #[arg(short, long = "ini-file", value_name = "FILE", default_value = "pserve.ini", global = true)]
    pub ini_file: PathBuf,
    /// Log file to append to; instead of `[log] file`.
    #[arg(short = 'l', long = "log", alias = "log-file", value_name = "FILE", value_parser = file)]
    pub log_file: Option<PathBuf>,
    /// Log level: error (or critical), warn, info, debug or trace; instead of `[log] level`. Without a LEVEL: debug.
    #[arg(
        short = 'v',
        long = "level",
        aliases = ["log-level", "verbose"],
        value_name = "LEVEL",
        num_args = 0..=1,
        default_missing_value = "debug",
        value_parser = level
    )]
    pub log_level: Option<Level>,
    /// Something else than serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Something else than serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serves, and reloads what changes: for authors of plugins.
    #[command(long_about = DEV, after_long_help = DEV_EXAMPLES)]
    Dev,
    /// Checks the configuration and every plugin, and says all that is wrong.
    #[command(long_about = CHECK, after_long_help = CHECK_EXAMPLES)]
    Check {
        /// Print one JSON object: `ok`, and `problems` as a list of texts.
        #[arg(long)]
        json: bool,
    },
    /// Lists the configured instances and their plugins.
    #[command(long_about = PLUGINS, after_long_help = PLUGINS_EXAMPLES)]
    Plugins {
        /// Print one JSON object, in the form of the route `/plugins`.
        #[arg(long)]
        json: bool,
    },
    /// Asks a running host whether it is ready.
    #[command(long_about = HEALTHCHECK, after_long_help = HEALTHCHECK_EXAMPLES)]
    Healthcheck(Healthcheck),
    /// Writes man pages and shell completions.
    #[command(after_long_help = GENERATE_EXAMPLES)]
    Generate(Generate),
    /// Tries one plugin. The host starts itself so, because a broken library may end the process that opens it.
    #[command(hide = true)]
    Probe {
        /// The descriptor that the copy of the plugin is open at.
        #[arg(long)]
        library_fd: i32,
    },
}

/// How a running host is asked.
#[derive(Debug, Args)]
pub struct Healthcheck {
    /// Ask only whether the host answers at all (`/healthz`), not whether every instance can serve (`/readyz`).
    #[arg(long)]
    pub live: bool,
    /// Ask at this address, and read no configuration file.
    #[arg(long, value_name = "IP:PORT")]
    pub address: Option<SocketAddr>,
    /// It speaks TLS there.
    #[arg(long, requires = "address")]
    pub tls: bool,
    /// Seconds to wait for the answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

fn long_about() -> String {
    format!(
        "\
pserve loads every plugin of a directory and serves their routes over HTTP.

The configuration is an INI file with these sections:
{}.
A variable PSERVE_SECTION_KEY in the environment overrides a key, PSERVE_NETWORK_PORT for example.
SIGTERM and SIGINT stop the host after the requests under way; a second one stops it at once.
SIGHUP and SIGUSR1 make it read its files again; what is wrong in them leaves everything as it is.",
        config::SECTIONS.join(", ")
    )
}

const EXAMPLES: &str = "\
Examples:
  pserve                             serve what pserve.ini of this folder says
  pserve -i /etc/pserve/pserve.ini   serve what that file says
  PSERVE_NETWORK_PORT=8080 pserve -v serve on another port, with debug lines in the log
  pserve -l pserve.log -v warn       log to a file, warnings and errors alone
  pserve check                       what is wrong with pserve.ini and the plugins?

A pserve.ini that is enough for one plugin, in a folder `plugins` beside it:
  [auth]
  apikey = ${ENV:API_KEY}
  [plugin_parms]
  sessman = json=sessman.json

Exit codes: 0 stopped in order, 1 it could not serve, 2 a wrong command line.";

const DEV: &str = "\
Serves, and reloads what changes: for authors of plugins.

It watches the plugin directory, the INI file, and the JSON files that the instances name. Once a changed file has been
left alone for a moment, it is reloaded as SIGHUP does it, and a line on standard output says which file it was, which
instances were reloaded and how long that took; or why it was refused, and then what was loaded goes on serving.";

const DEV_EXAMPLES: &str = "\
Examples:
  pserve dev                with `plugins = target/debug` in [paths] of pserve.ini: build, and it serves
  pserve -i dev.ini -v dev  with debug lines in the log

Exit codes: 0 stopped in order, 1 it could not serve, 2 a wrong command line.";

const CHECK: &str = "\
Checks the configuration and every plugin, and says all that is wrong.

Read are the INI file, the environment, and the JSON files of the instances. Every plugin is tried in a child process;
its instances are made and check their parameters, but take no lock, open no store and reach no server. So it may run
beside a host that serves from the same files, and says what a reload would do.";

const CHECK_EXAMPLES: &str = "\
Examples:
  pserve check && kill -HUP $(cat pserve.pid)   reload only what is good
  pserve -i new.ini check --json | jq .problems

Exit codes: 0 nothing is wrong, 1 something is, 2 a wrong command line.";

const PLUGINS: &str = "\
Lists the configured instances and their plugins: version, plugin-api version, SHA-256 of the file, routes, and whether
they could be loaded.

It reads the files as `pserve check` does and asks no running host: what one serves, its route /plugins says.";

const PLUGINS_EXAMPLES: &str = "\
Examples:
  pserve plugins
  pserve plugins --json | jq -r '.plugins[] | .sha256 + \"  \" + .file'

Exit codes: 0 listed, 1 the configuration cannot be used, 2 a wrong command line.";

const HEALTHCHECK: &str = "\
Asks a running host whether it is ready: whether every plugin and instance is loaded and says that it can serve.

The address is that of the configuration file, or of --address.";

const HEALTHCHECK_EXAMPLES: &str = "\
Examples:
  pserve healthcheck
  pserve healthcheck --live --address 127.0.0.1:6123
  HEALTHCHECK CMD [\"pserve\", \"-i\", \"/etc/pserve/pserve.ini\", \"healthcheck\"]   in a Dockerfile

Exit codes: 0 it is, 1 it is not or does not answer, 2 a wrong command line.";

const GENERATE_EXAMPLES: &str = "\
Examples:
  pserve generate ~/.local/share   for one user; zsh wants ~/.local/share/zsh/site-functions in its fpath
  pserve generate /usr/local/share

Exit codes: 0 written, 1 a file could not be, 2 a wrong command line.";

fn level(text: &str) -> Result<Level, String> {
    config::parse_level(text).ok_or_else(|| "expected error, warn, info, debug or trace".into())
}

/// `-l` was the level once: its name is not taken for that of a file.
fn file(text: &str) -> Result<PathBuf, String> {
    match config::parse_level(text) {
        Some(_) => {
            Err(format!("expected a file; the level is `-v {text}`, and a file of this name `-l ./{text}`"))
        }
        None => Ok(PathBuf::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_spellings() {
        let cli = Cli::parse_from(["pserve", "-i", "a.ini", "-l", "a.log", "-v", "WARN"]);
        assert_eq!((cli.ini_file, cli.log_level), ("a.ini".into(), Some(Level::WARN)));
        assert_eq!(cli.log_file, Some("a.log".into()));
        for words in [
            &["-v"][..],
            &["--verbose"],
            &["--log-level", "debug"],
            &["--level=DEBUG"],
            &["-v", "-i", "b.ini"],
        ] {
            let cli = Cli::parse_from([&["pserve"], words].concat());
            assert_eq!(cli.log_level, Some(Level::DEBUG), "{words:?}");
        }
        assert_eq!(Cli::parse_from(["pserve", "-v", "CRITICAL"]).log_level, Some(Level::ERROR));
        let cli = Cli::parse_from(["pserve"]);
        assert_eq!((cli.ini_file, cli.log_file, cli.log_level), ("pserve.ini".into(), None, None));
        assert!(Cli::try_parse_from(["pserve", "-v", "loud"]).is_err());
        let refused = Cli::try_parse_from(["pserve", "-l", "warn"]).unwrap_err().to_string();
        assert!(refused.contains("the level is `-v warn`"), "{refused}");
    }

    #[test]
    fn the_file_may_be_named_before_and_behind_a_command() {
        for words in [["pserve", "-i", "a.ini", "check"], ["pserve", "check", "-i", "a.ini"]] {
            let cli = Cli::parse_from(words);
            assert_eq!(cli.ini_file, PathBuf::from("a.ini"));
            assert!(matches!(cli.command, Some(Command::Check { json: false })));
        }
        let cli =
            Cli::parse_from(["pserve", "healthcheck", "--live", "--address", "[::1]:80", "--timeout", "9"]);
        let Some(Command::Healthcheck(asked)) = cli.command else { panic!("{cli:?}") };
        assert_eq!((asked.live, asked.address.unwrap().port(), asked.timeout), (true, 80, 9));
    }
}
