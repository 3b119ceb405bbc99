//! `cargo xtask planted`: each test that docs/security.md names fails without the thing that it shows.
//!
//! In a copy of the workspace, one after the other, the faults of `tests/planted` are put into the source, what they touch is
//! built in the debug profile, and the tests that they name are run. Without any fault all of them have to pass.

mod copy;
mod fault;
mod outcome;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::artifacts;
use crate::process::end_with_descendants;
use crate::servers::Servers;
use crate::tools;
use crate::wheels;
use crate::workspace::{Workspace, cargo_in};
use fault::{Fault, Test};
use outcome::{Outcome, Ran};

/// How long the tests of one package may take; without what they test, some wait for it until they give up.
const LIMIT: Duration = Duration::from_secs(900);
/// How often it is looked whether a command has ended.
const LOOK: Duration = Duration::from_millis(50);
/// What plugins the end to end tests load besides what ships.
const FIXTURES: [&str; 3] = ["hello", "visits", "caller"];

/// The host hashes each plugin at its start, and one of the debug profile is large: that is not to take seconds.
const QUICK_START: [&str; 2] = ["--config", "profile.dev.package.sha2.opt-level=3"];

/// `cargo xtask planted [NAME]...`
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these faults of `tests/planted`; none: all.
    names: Vec<String>,
    /// Looks at the stores that need no server, and nothing is installed.
    #[arg(long)]
    local: bool,
}

/// Plants one fault after the other; good if every test that is named failed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let faults = chosen(fault::all(&workspace)?, &options.names)?;
    let garden = Garden::lay_out(&workspace, options.local)?;

    let mut all: Vec<Test> = faults.iter().flat_map(|fault| fault.tests.clone()).collect();
    all.sort_unstable();
    all.dedup();
    println!("without any of them: all tests pass");
    let outcomes = garden.outcomes("without", &all)?;
    let mut lines: Vec<[String; 3]> = Vec::new();
    let mut is_good = true;
    for (test, outcome) in &outcomes {
        // Where a server or a browser is missing the table says so at each fault.
        if !matches!(outcome, Outcome::Passed(_) | Outcome::Skipped(_)) {
            is_good = false;
            println!("  {} WRONG: {outcome}", test.name);
            lines.push(["(none)".to_owned(), test.name.clone(), format!("WRONG: {outcome}")]);
        }
    }
    for fault in &faults {
        println!("{}: {}", fault.name, fault.what);
        let was = fault.plant(&garden.root)?;
        let outcomes = garden.outcomes(&fault.name, &fault.tests);
        for (file, text) in was {
            fs::write(garden.root.join(&file), text).with_context(|| format!("could not restore {file}"))?;
        }
        for (test, outcome) in outcomes? {
            let is_right = matches!(outcome, Outcome::Failed(_) | Outcome::Skipped(_));
            is_good &= is_right;
            let word = if is_right { "" } else { "WRONG: " };
            println!("  {} {word}{outcome}", test.name);
            lines.push([fault.name.clone(), test.name, format!("{word}{outcome}")]);
        }
    }
    print_table(&lines);
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Those of these names, in their order.
fn chosen(mut faults: Vec<Fault>, names: &[String]) -> Result<Vec<Fault>> {
    if names.is_empty() {
        return Ok(faults);
    }
    let take = |name: &String| {
        let at = faults.iter().position(|fault| fault.name == *name);
        at.map(|at| faults.swap_remove(at)).with_context(|| format!("there is no tests/planted/{name}.fault"))
    };
    names.iter().map(take).collect()
}

fn print_table(lines: &[[String; 3]]) {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1)];
    println!();
    for [fault, test, outcome] in lines {
        println!("{fault:0$}  {test:1$}  {outcome}", widths[0], widths[1]);
    }
}

/// The copy that faults are planted in.
struct Garden {
    root: PathBuf,
    /// Its own target folder: no other build is to take a file of it for a good one.
    target: PathBuf,
    logs: PathBuf,
    servers: Option<Servers>,
}

impl Garden {
    fn lay_out(workspace: &Workspace, is_local: bool) -> Result<Self> {
        let folder = workspace.target.join("planted");
        let this = |servers| Self {
            root: folder.join("workspace"),
            target: folder.join("target"),
            logs: folder.join("logs"),
            servers,
        };
        let this = if is_local {
            this(None)
        } else {
            wheels::install_all(&workspace.tools());
            tools::ensure(tools::END_TO_END)?;
            let servers = Servers::provide(workspace);
            for (name, reason) in servers.missing() {
                println!("MISSING: {name}: {reason}");
            }
            this(Some(servers))
        };
        copy::bring_up_to_date(workspace, &this.root)?;
        for folder in [&this.target, &this.logs, &workspace.tools()] {
            fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
        }
        // Tests look for what was installed beside what was built.
        let tools = this.target.join("tools");
        if !tools.exists() {
            std::os::unix::fs::symlink(workspace.tools(), &tools).context("could not link the tools")?;
        }
        Ok(this)
    }

    fn cargo(&self) -> Command {
        let mut cargo = cargo_in(&self.root);
        cargo.env("CARGO_TARGET_DIR", &self.target).args(QUICK_START);
        cargo
    }

    /// What becomes of the tests with what is planted now; `name` is that of the fault.
    fn outcomes(&self, name: &str, tests: &[Test]) -> Result<Vec<(Test, Outcome)>> {
        let mut packages: BTreeMap<&str, Vec<&Test>> = BTreeMap::new();
        for test in tests {
            packages.entry(&test.package).or_default().push(test);
        }
        let mut outcomes = Vec::new();
        for (package, tests) in packages {
            let ran = self.run(name, package, &tests)?;
            outcomes.extend(tests.into_iter().map(|test| (test.clone(), ran.outcome(test))));
        }
        Ok(outcomes)
    }

    fn run(&self, name: &str, package: &str, tests: &[&Test]) -> Result<Ran> {
        let log = self.logs.join(format!("{name}-{package}"));
        let skips = self.logs.join("skips");
        let target: &[&str] = match package {
            "e2e" => &["--test", "e2e"],
            // It has no library.
            "sessctl" => &["--bins"],
            _ => &["--lib"],
        };
        let mut builds = vec![self.cargo()];
        builds[0].args(["test", "--package", package, "--no-run"]).args(target);
        if package == "e2e" {
            let mut build = self.cargo();
            build.arg("build").args(artifacts::package_arguments());
            build.args(FIXTURES.iter().flat_map(|name| ["--package", name]));
            builds.push(build);
        }
        for mut build in builds {
            if !self.ends_well(&mut build, &log)? {
                return Ok(Ran::NotBuilt);
            }
        }
        fs::write(&skips, "").context("could not write the list of skipped tests")?;
        let mut cargo = self.cargo();
        cargo.args(["test", "--package", package, "--no-fail-fast"]).args(target).arg("--");
        cargo.args(tests.iter().map(|test| &test.name));
        cargo.env("E2E_SKIPS", &skips).env("E2E_ARTIFACTS", self.target.join("debug"));
        if let Some(servers) = &self.servers {
            servers.describe_to(&mut cargo);
        }
        self.ends_well(&mut cargo, &log)?;
        let read = |path| fs::read(path).map(|text| String::from_utf8_lossy(&text).into_owned());
        Ok(Ran::read(&read(&log)?, &read(&skips)?))
    }

    /// Runs a command, what it says going into `log`; whether it ended well, and in time.
    fn ends_well(&self, command: &mut Command, log: &PathBuf) -> Result<bool> {
        let file = File::create(log).with_context(|| format!("could not write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let mut child = command.spawn().context("cargo could not be started")?;
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status.success());
            }
            if started.elapsed() > LIMIT {
                end_with_descendants(child.id());
                child.wait()?;
                return Ok(false);
            }
            std::thread::sleep(LOOK);
        }
    }
}
