//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use pserve::generate::Generate;
use sessman::id::Handle;

use crate::failure::Usage;
use crate::filter::Conditions;
use crate::site::Source;

/// The default configuration file.
const INI_FILE: &str = "pserve.ini";

/// Looks after the sessions of a sessman.
#[derive(Debug, Parser)]
#[command(name = "sessctl", version, about, long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Configuration file of pserve; pserve.ini of this folder where none is named.
    #[arg(short, long, value_name = "FILE", global = true)]
    pub(crate) ini_file: Option<PathBuf>,
    /// Configuration file of the instance alone, where there is no INI file.
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "ini_file")]
    pub(crate) json_file: Option<PathBuf>,
    /// File with variables of the configuration, as systemd reads it (EnvironmentFile=): what `${ENV:..}` and PSERVE_..
    /// are for the service. Its variables win over those of this process.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) env_file: Option<PathBuf>,
    /// The instance of sessman, where several are configured.
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) instance: Option<String>,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Counts sessions, and says how old they are.
    #[command(after_long_help = STATS)]
    Stats {
        #[command(flatten)]
        conditions: Conditions,
        #[command(flatten)]
        at: At,
    },
    /// Lists sessions, without their data.
    #[command(after_long_help = LIST)]
    List(List),
    /// Shows one session with its data.
    #[command(after_long_help = SHOW)]
    Show {
        /// The session's handle, the first 16 characters of its id.
        #[arg(allow_hyphen_values = true)]
        handle: String,
    },
    /// Ends sessions: those with these handles, or those that match.
    #[command(long_about = END_ABOUT, after_long_help = END)]
    End(End),
    /// Ends all sessions of a user.
    #[command(after_long_help = END_USER)]
    EndUser {
        /// The user, as `user_id` of the sessions.
        user: String,
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Removes expired records now.
    #[command(after_long_help = CLEANUP)]
    Cleanup(At),
    /// Writes all live sessions to a file.
    #[command(long_about = BACKUP_ABOUT, after_long_help = BACKUP)]
    Backup {
        /// The file to make; with --keep the folder to make it in.
        file: PathBuf,
        /// Name the file after the instance and the time, and once it is complete remove those made so before, but for the
        /// newest: so many stay.
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        keep: Option<u32>,
    },
    /// Says whether a backup is whole, who wrote it, and what is in it.
    #[command(long_about = VERIFY_ABOUT, after_long_help = VERIFY)]
    Verify {
        /// The file.
        file: PathBuf,
        /// Do not ask for its MAC, nor for a configuration.
        #[arg(long)]
        unsigned: bool,
    },
    /// Puts the sessions of a backup into an empty store.
    #[command(long_about = RESTORE_ABOUT, after_long_help = RESTORE)]
    Restore(Restore),
    /// Copies all sessions into the store of another configuration.
    #[command(long_about = MIGRATE_ABOUT, after_long_help = MIGRATE)]
    Migrate(Migrate),
    /// Asks whether the store can be reached.
    #[command(after_long_help = PING)]
    Ping,
    /// Opens the store's own shell: sqlite3, mongosh or redis-cli.
    #[command(after_long_help = CONNECT)]
    Connect {
        /// What the shell is to do, instead of asking: passed on to it.
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Prints a line a second: how many sessions there are, begin and end.
    #[command(after_long_help = MONITOR)]
    Monitor {
        /// Seconds between two lines.
        #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        interval: u64,
        /// So many lines and no more.
        #[arg(long, value_name = "NUMBER")]
        count: Option<u64>,
    },
    /// Looks for what is wrong with store and configuration.
    #[command(after_long_help = DOCTOR)]
    Doctor,
    /// Writes man pages and shell completions; needs no configuration.
    #[command(after_long_help = GENERATE)]
    Generate(Generate),
}

/// Where a running pserve is.
#[derive(Debug, Args)]
pub(crate) struct At {
    /// Ask the instance of a running pserve at this URL (http://HOST:PORT/sessman), with the `admin_key` of the
    /// configuration.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

/// Whether it is meant.
#[derive(Debug, Args)]
pub(crate) struct Confirmation {
    /// Do not ask whether it is meant.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Which sessions end.
#[derive(Debug, Args)]
pub(crate) struct End {
    /// Their handles. One that begins with - stands behind --, after all options.
    #[arg(required_unless_present = "Conditions", conflicts_with = "Conditions")]
    pub(crate) handles: Vec<String>,
    #[command(flatten)]
    pub(crate) conditions: Conditions,
    /// Say how many match, and which, and end none.
    #[arg(long, requires = "Conditions")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
    #[command(flatten)]
    pub(crate) at: At,
}

/// Which sessions are listed.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) conditions: Conditions,
    /// At most so many.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) limit: u32,
    /// Those behind this handle: the `next` of the page before.
    #[arg(long, value_name = "HANDLE", allow_hyphen_values = true)]
    pub(crate) after: Option<String>,
    /// All of them, page by page.
    #[arg(long, conflicts_with_all = ["limit", "after"])]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

/// What is restored, and into what.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup.
    pub(crate) file: PathBuf,
    /// Into a store that has sessions, too: those stay as they are.
    #[arg(long)]
    pub(crate) merge: bool,
    /// Where there are `encryption_keys`: take a backup that has no MAC, or one by a key that is gone. Whoever could write to the
    /// file may have put sessions into it; they get MACs, and are taken for genuine from then on.
    #[arg(long)]
    pub(crate) unsigned: bool,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
}

/// What is copied, and how.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// The other configuration: an INI file, or a JSON file if its name ends in .json.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// The instance there, where several are configured.
    #[arg(long, value_name = "NAME")]
    pub(crate) to_instance: Option<String>,
    /// Make the other store equal: sessions that differ there are replaced, those that are there alone end.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Into a store without `encryption_keys` although these sessions are encrypted.
    #[arg(long)]
    pub(crate) decrypt: bool,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
}

impl Cli {
    /// The configuration file.
    pub(crate) fn source(&self) -> Source {
        match (&self.json_file, &self.ini_file) {
            (Some(path), _) => Source::Json(path.clone()),
            (None, Some(path)) => Source::Ini(path.clone()),
            (None, None) => Source::Ini(PathBuf::from(INI_FILE)),
        }
    }

    /// The configuration file, if one is named or the default one exists.
    pub(crate) fn source_if_any(&self) -> Option<Source> {
        let is_named = self.json_file.is_some() || self.ini_file.is_some();
        (is_named || Path::new(INI_FILE).exists()).then(|| self.source())
    }
}

/// Parses a handle. Not with clap, whose error would show the text: it may be a whole id, which is a secret.
///
/// # Errors
/// [`Usage`].
pub(crate) fn handle(text: &str) -> Result<Handle, Usage> {
    Handle::parse(text)
        .ok_or_else(|| Usage("expected a handle, the first 16 characters of a session's id".to_owned()))
}

const LONG_ABOUT: &str = "\
Looks after the sessions of a sessman: counts, lists and ends them, backs them up, restores them and moves them to another
store.

It reads the configuration that pserve reads, and works on the same store. A SQLite file has one owner: while pserve runs,
sessctl reads beside it, and what ends or removes sessions it has pserve do, with the admin_key of the configuration.";

const EXAMPLES: &str = "\
Examples:
  sessctl stats                          with pserve.ini of this folder
  sessctl -i /etc/pserve/pserve.ini doctor
  sessctl -i /etc/pserve/pserve.ini --env-file /etc/pserve/environment stats
  sessctl --json-file sessman.json backup sessions.backup

Exit codes: 0 done; 1 it failed, was refused, or found what should not be; 2 the command line or the configuration is
wrong; 3 the store or the running pserve cannot be reached.";

const STATS: &str = "\
Examples:
  sessctl stats
  sessctl stats --label tenant:acme
  sessctl stats --json | jq .active";

const LIST: &str = "\
Examples:
  sessctl list --user ada
  sessctl list --label tenant:acme --label device:phone
  sessctl list --active-before 2026-01-02T03:04:05Z
  sessctl list --limit 1000 --after HANDLE
  sessctl list --all --json > sessions.json";

const SHOW: &str = "\
The id is not shown: nobody but its holder knows it.

Examples:
  sessctl show Jm0PxYb2c4GZQd1k

Exit codes: 1 if there is no such session.";

const END_ABOUT: &str = "\
Ends sessions: those with these handles, or those that match.

What is to match is counted first, and the first sessions are shown. After the question, those end that match and were created
up to the cutoff, the time of the count: none that began since. If more match then than were counted, none ends. Sessions that
cannot be read match nothing; they end by their handles.";

const END: &str = "\
Examples:
  sessctl end Jm0PxYb2c4GZQd1k
  sessctl end -- -m0PxYb2c4GZQd1k
  sessctl end --label tenant:acme --dry-run
  sessctl end --user ada --active-before 2026-01-02T03:04:05Z --yes

Exit codes: 1 if one of the handles did not live, or if it was not confirmed.";

const END_USER: &str = "\
Examples:
  sessctl end-user ada --yes";

const CLEANUP: &str = "\
pserve does this by itself, every cleanup_interval.

Examples:
  sessctl cleanup";

const BACKUP_ABOUT: &str = "\
Writes all live sessions to a file, beside a running pserve too.

The file is compressed and has a checksum, and where there are encryption_keys a MAC, so that nobody without a key can change it.
Sessions are in it as the store has them: encrypted ones stay encrypted, and in place of their secrets are hashes. What cannot be
read is not in it; it is counted, and the exit code is 1. Of SQLite it is the state of one moment; of a server each session is as it was when it was
read.";

const BACKUP: &str = "\
Examples:
  sessctl backup sessions-$(date +%F).backup
  sessctl backup /var/backups/pserve --keep 14

Exit codes: 1 if it failed, or a session could not be read.";

const VERIFY_ABOUT: &str = "\
Says whether a backup is whole, who wrote it, and what is in it.

Where a configuration is named, or pserve.ini is in this folder, and has encryption_keys, the backup must have a MAC that was made with
one of them. Without a configuration its MAC is not checked.";

const VERIFY: &str = "\
Examples:
  sessctl verify sessions.backup
  sessctl verify sessions.backup --json | jq -r .digest

Exit codes: 1 if it is damaged, was changed by somebody without the key, or is not of all sessions.";

const RESTORE_ABOUT: &str = "\
Puts the sessions of a backup into an empty store. The whole file is looked at before anything is written. Sessions whose
time has come are left out. With SQLite, pserve has to be stopped. Where there are encryption_keys, the backup must have a MAC that
was made with one of them; --unsigned takes it without.

With --merge the store may have sessions, which stay as they are. Sessions that ended since the backup live again then, those
that were ended on purpose too.";

const RESTORE: &str = "\
Examples:
  sessctl restore sessions.backup
  sessctl restore sessions.backup --merge --yes";

const MIGRATE_ABOUT: &str = "\
Copies all sessions into the store of another configuration, and compares both at the end. Users stay logged in: ids, times
and data are the same there.

Begun again after it was stopped, it goes on where it was. It may run while pserve serves from the first store; then stop
pserve and run it again with --overwrite, for what changed meanwhile. Encrypted sessions are encrypted with the keys of the
other configuration.";

const MIGRATE: &str = "\
Examples:
  sessctl migrate --to sessman.mongodb.json
  sessctl -i pserve.ini migrate --to new/pserve.ini --overwrite --yes

Exit codes: 1 if the stores are not equal at the end, or sessions could not be read.";

const PING: &str = "\
Examples:
  sessctl ping && echo there

Exit codes: 3 if it cannot.";

const CONNECT: &str = "\
A password is not among its arguments, which others on this machine can see. A SQLite file is opened to read.

Examples:
  sessctl connect
  sessctl connect -- dbsize              with Redis
  sessctl connect -- 'SELECT count(*) FROM sessions'";

const MONITOR: &str = "\
Examples:
  sessctl monitor
  sessctl monitor --interval 60 --json >> sessions.log";

const DOCTOR: &str = "\
It asks whether the store can be reached and is whole, whether its indexes and settings are right, how far its clock is from
this machine's, whether the keys open what is in it, whether every session can be read, and what expired records are still there.

Examples:
  sessctl doctor
  sessctl doctor --json | jq '.findings[] | select(.level != \"good\")'

Exit codes: 1 if it found a fault, 3 if the store cannot be reached; hints are none.";

const GENERATE: &str = "\
Examples:
  sessctl generate ~/.local/share   for one user; zsh wants ~/.local/share/zsh/site-functions in its fpath
  sessctl generate /usr/local/share";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_has_examples() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:\n  sessctl "), "{}", command.get_name());
        }
    }

    #[test]
    fn a_handle_may_begin_with_a_hyphen() {
        let handles = |words: &[&str]| match Cli::try_parse_from(words).unwrap() {
            Cli { command: Command::End(End { handles, .. }), json: true, .. } => handles,
            other => panic!("{other:?}"),
        };
        assert_eq!(handles(&["sessctl", "end", "--json", "--", "-hA", "-i"]), ["-hA", "-i"]);
        for words in [["sessctl", "show", "-rA"], ["sessctl", "list", "--after=-rA"]] {
            Cli::try_parse_from(words).unwrap();
        }
        Cli::try_parse_from(["sessctl", "list", "--after", "-rA"]).unwrap();
    }

    #[test]
    fn an_end_is_of_handles_or_of_those_that_match() {
        let is_accepted =
            |words: &str| Cli::try_parse_from(format!("sessctl end {words}").split_whitespace()).is_ok();
        let accepted = [
            "rA",
            "rA sB",
            "rA --yes",
            "--user ada",
            "--label a:1 --label b:2 --yes",
            "--client-ip ::1 --dry-run",
        ];
        for words in accepted {
            assert!(is_accepted(words), "{words}");
        }
        for words in
            ["", "--yes", "--dry-run", "rA --dry-run", "rA --user ada", "--label a", "--created-before now"]
        {
            assert!(!is_accepted(words), "{words}");
        }
    }

    #[test]
    fn an_id_given_for_a_handle_is_not_repeated() {
        let id = "A".repeat(48);
        let told = handle(&id).unwrap_err().to_string();
        assert!(told.contains("expected a handle") && !told.contains("AAAA"), "{told}");
        assert!(handle(&id[..16]).is_ok());
    }
}
