//! The checks, in the order of a run. A new one is a function and a line in [`STAGES`].

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::process::{end_with_descendants, line_of, succeed};
use crate::report::Tally;
use crate::servers::Servers;
use crate::workspace::Workspace;
use crate::{artifacts, deny, maven, npm, tools, wheels};

/// How long a test command may print nothing; the longest step, compiling the tests or one test, takes a few minutes.
const SILENCE: Duration = Duration::from_secs(600);

/// One check.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// The stage without which this one has nothing to look at.
    pub(crate) needs: Option<&'static str>,
    pub(crate) run: fn(&Checks, &mut Findings) -> Result<()>,
}

const fn stage(
    name: &'static str,
    about: &'static str,
    needs: Option<&'static str>,
    run: fn(&Checks, &mut Findings) -> Result<()>,
) -> Stage {
    Stage { name, about, needs, run }
}

/// Every check: the quick ones first, so that a slip shows early.
pub(crate) const STAGES: &[Stage] = &[
    stage("format", "the code is formatted", None, format),
    stage("deny", "licences, bans and sources of the dependencies", None, dependencies),
    stage("clippy", "lints, warnings denied", None, clippy),
    stage("docs", "the documentation builds without a warning", None, docs),
    stage("build", "what ships, and the plugins that only tests load, in the release profile", None, build),
    stage(
        "unit",
        "tests inside the crates, the conformance of every store and a short run of each fuzz target among them",
        None,
        unit,
    ),
    stage("doctest", "examples in the documentation", None, doctest),
    stage("e2e", "the shipped files end to end", Some("build"), end_to_end),
];

/// What a stage found besides passing or failing.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) tally: Tally,
    /// Tests marked `#[ignore]`, by name and reason.
    pub(crate) ignored: Vec<(String, String)>,
    /// The names of tests that passed, and of the modules that they are in.
    pub(crate) passed: BTreeSet<String>,
    /// Tests that run for over a minute and have not ended.
    slow: BTreeSet<String>,
}

/// What all stages of a run share.
pub(crate) struct Checks {
    pub(crate) workspace: Workspace,
    /// Where tests report that they were skipped; see [`crate::test`].
    pub(crate) skips: PathBuf,
    /// By name, and by that of their module.
    pub(crate) passed: RefCell<BTreeSet<String>>,
    /// Handed to the test binaries: name filters and libtest's own options.
    pub(crate) test_arguments: Vec<String>,
    /// Started by the first stage that needs it, stopped when the run ends.
    servers: OnceCell<Servers>,
}

impl Checks {
    pub(crate) fn new(workspace: Workspace, test_arguments: Vec<String>) -> Self {
        let skips = workspace.tools().join("skips");
        Self { workspace, skips, passed: RefCell::default(), test_arguments, servers: OnceCell::new() }
    }

    /// What could not be had, if a stage has asked for servers: a name and a reason each.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &(&'static str, String)> {
        self.servers.get().into_iter().flat_map(Servers::missing)
    }

    /// Runs `cargo test` for the targets that `selection` names, in all members at once: unit and end to end tests are
    /// told apart by target, not by package, so that every stage uses the same features and compiles nothing twice.
    fn tests(&self, selection: &[&str], findings: &mut Findings) -> Result<()> {
        // By itself, as a compiler may be silent for as long as it likes. Those of the documentation cannot be built so.
        if selection != ["--doc"] {
            let mut build = self.workspace.cargo();
            succeed(build.args(["test", "--workspace", "--no-run"]).args(selection))?;
        }
        let mut cargo = self.workspace.cargo();
        cargo
            .args(["test", "--workspace", "--no-fail-fast"])
            .args(selection)
            .arg("--")
            .args(&self.test_arguments);
        cargo.env("E2E_SKIPS", &self.skips).env("E2E_ARTIFACTS", self.workspace.release());
        let servers = self.servers.get_or_init(|| Servers::provide(&self.workspace));
        if let (Some((name, reason)), Some(_)) = (self.missing().next(), std::env::var_os("CI")) {
            // A developer without Java may test the rest; where nobody looks, a run that lost a store must not pass.
            bail!("{name}: {reason}");
        }
        servers.describe_to(&mut cargo);
        follow(&mut cargo, SILENCE, findings)
    }
}

fn format(checks: &Checks, _: &mut Findings) -> Result<()> {
    succeed(checks.workspace.cargo().args(["fmt", "--all", "--check"])).context("run `cargo fmt --all`")
}

fn dependencies(checks: &Checks, _: &mut Findings) -> Result<()> {
    deny::check(&checks.workspace)
}

fn clippy(checks: &Checks, _: &mut Findings) -> Result<()> {
    // The feature is the program that only `cargo xtask fuzz` builds, and links C++.
    tools::ensure(&[tools::CPP])?;
    let all = ["clippy", "--workspace", "--all-targets", "--features", "fuzz/guided", "--", "-D", "warnings"];
    succeed(checks.workspace.cargo().args(all))?;
    // The embedded store alone, without what the others depend on.
    let alone = [
        "clippy",
        "--package",
        "sessman-plugin",
        "--no-default-features",
        "--features",
        "sqlite",
        "--",
        "-D",
        "warnings",
    ];
    succeed(checks.workspace.cargo().args(alone)).context("the plugin with SQLite alone")
}

fn docs(checks: &Checks, _: &mut Findings) -> Result<()> {
    let mut cargo = checks.workspace.cargo();
    succeed(cargo.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--no-deps"]))
}

fn build(checks: &Checks, _: &mut Findings) -> Result<()> {
    artifacts::build_shipped(&checks.workspace)?;
    artifacts::build_fixtures(&checks.workspace)
}

fn unit(checks: &Checks, findings: &mut Findings) -> Result<()> {
    checks.tests(&["--lib", "--bins", "--examples"], findings)
}

fn doctest(checks: &Checks, findings: &mut Findings) -> Result<()> {
    checks.tests(&["--doc"], findings)
}

fn end_to_end(checks: &Checks, findings: &mut Findings) -> Result<()> {
    tools::ensure(tools::END_TO_END)?;
    wheels::install_all(&checks.workspace.tools());
    npm::install_for_tests(&checks.workspace);
    maven::install_for_tests(&checks.workspace);
    // The tests that want it say so where it is missing.
    if let Err(error) = tools::unpack("prometheus", &checks.workspace.tools().join("promtool")) {
        println!("no promtool: {error:#}");
    }
    checks.tests(&["--test", "*"], findings)
}

/// Runs a test command, passing its output on line by line while counting. One that stays silent for `silence` is ended
/// with all that it started, so that a test that hangs does not cost the report of all others.
fn follow(command: &mut Command, silence: Duration, findings: &mut Findings) -> Result<()> {
    let line = line_of(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start `{line}`"))?;
    let mut output = BufReader::new(child.stdout.take().context("a piped output is missing")?);
    let (sender, lines) = channel();
    let reader = thread::spawn(move || -> std::io::Result<()> {
        loop {
            // By bytes, not `lines()`: a test may print what is not UTF-8.
            let mut bytes = Vec::new();
            if output.read_until(b'\n', &mut bytes)? == 0 || sender.send(bytes).is_err() {
                return Ok(());
            }
        }
    });
    loop {
        match lines.recv_timeout(silence) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                print!("{text}");
                findings.note(text.trim_end());
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                end_with_descendants(child.id());
                child.wait()?;
                bail!(
                    "`{line}` printed nothing for {} s; slow or hanging: {:?}",
                    silence.as_secs(),
                    findings.slow
                );
            }
        }
    }
    reader.join().map_err(|_| anyhow!("the output of `{line}` could not be read"))??;
    let status = child.wait()?;
    ensure!(status.success(), "`{line}` failed ({status})");
    Ok(())
}

impl Findings {
    fn note(&mut self, line: &str) {
        if let Some(tally) = Tally::from_result_line(line) {
            self.tally.add(tally);
        } else if let Some((name, reason)) = ignored(line) {
            self.ignored.push((name.to_owned(), reason.to_owned()));
        } else if let Some((name, _)) =
            test_line(line).and_then(|line| line.split_once(" has been running for over"))
        {
            self.slow.insert(name.to_owned());
        } else if let Some((name, outcome)) = test_line(line).and_then(|line| line.split_once(" ... ")) {
            self.slow.remove(name);
            if outcome == "ok" {
                self.passed.extend(name.split("::").map(str::to_owned));
            }
        }
    }
}

fn test_line(line: &str) -> Option<&str> {
    line.strip_prefix("test ")
}

/// Reads libtest's line for a test marked `#[ignore]` or `#[ignore = "reason"]`.
fn ignored(line: &str) -> Option<(&str, &str)> {
    let (name, outcome) = test_line(line)?.split_once(" ... ignored")?;
    Some((name, outcome.strip_prefix(", ").unwrap_or("marked as ignored")))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::{Findings, SILENCE, STAGES, follow, ignored};
    use crate::report::Tally;

    #[test]
    fn every_stage_has_one_name_and_needs_an_earlier_one() {
        for (at, stage) in STAGES.iter().enumerate() {
            assert!(STAGES[..at].iter().all(|earlier| earlier.name != stage.name), "{} twice", stage.name);
            let needed =
                stage.needs.is_none_or(|needs| STAGES[..at].iter().any(|earlier| earlier.name == needs));
            assert!(needed, "{} needs a stage that does not come before it", stage.name);
        }
    }

    #[test]
    fn ignored_tests_are_named_with_their_reason() {
        assert_eq!(ignored("test soak ... ignored, takes an hour"), Some(("soak", "takes an hour")));
        assert_eq!(ignored("test soak ... ignored"), Some(("soak", "marked as ignored")));
        assert_eq!(ignored("test soak ... ok"), None);
    }

    #[test]
    fn all_binaries_of_a_command_are_counted_whatever_else_it_prints() {
        let script = r"printf 'noise \377\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\n'
            printf 'test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured\n'; exit 101";
        let mut findings = Findings::default();
        let error =
            follow(Command::new("sh").args(["-c", script]), SILENCE, &mut findings).unwrap_err().to_string();
        assert_eq!(findings.tally, Tally { passed: 3, failed: 1, skipped: 0 });
        assert!(error.contains("101"), "{error}");
    }

    #[test]
    fn a_test_that_hangs_is_ended_and_named() {
        let script = r"echo 'test slow has been running for over 60 seconds'
            echo 'test late has been running for over 60 seconds'; echo 'test late ... ok'
            echo 'test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured'
            exec sleep 600";
        let mut findings = Findings::default();
        let silence = Duration::from_secs(1);
        let error =
            follow(Command::new("sh").args(["-c", script]), silence, &mut findings).unwrap_err().to_string();
        assert!(error.ends_with(r#"{"slow"}"#), "{error}");
        assert_eq!(findings.tally.passed, 2);
    }
}
