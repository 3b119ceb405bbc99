//! The MongoDB that tests run against, and how they learn of it.
//!
//! One server is chosen for a whole run: `MONGODB_URI` if it is set, else a `mongod` on PATH, started for the run with
//! an empty folder, else the stand-in of `tests/standin`. Tests read:
//!
//! - `E2E_MONGODB_URI`: where the server is. Tests share it, so each takes a database name of its own.
//! - `E2E_MONGODB_KIND`: `real` or `standin`. What only a real one can show, a test reports as skipped (see
//!   [`crate::test`]) on the other. A real one may be a single server without accounts: a test of authentication or of a
//!   replica set has to ask it.
//! - `E2E_MONGO_STANDIN`: a JSON array of strings, the command that starts a stand-in once a port is appended to it as
//!   the last argument (`0`: any). It binds 127.0.0.1, then prints its port as one line; killing it is the way to stop
//!   it, the same port may then be bound again, its data is gone, and it ends by itself when its starter is gone. This
//!   is for tests that take the server away and bring it back, whatever server the others run against.
//!
//! `MONGODB_URI` itself is taken away from the tests: it is also the product's own default, and a test of that default
//! must not reach, and write to, the server somebody named for the suite.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{Server, on_path, wait_for_port};
use crate::standin::StandIn;
use crate::workspace::Workspace;

const START_LIMIT: Duration = Duration::from_secs(60);

/// What a run of tests is told, and the server that it is told of, which stops with this value.
#[derive(Default)]
pub(crate) struct MongoDb {
    environment: Vec<(&'static str, OsString)>,
    /// What is missing, and why: a name and a reason.
    pub(crate) missing: Vec<(&'static str, String)>,
    _server: Option<Server>,
}

impl MongoDb {
    /// Finds or starts a server and prepares the stand-in. What cannot be had is in `missing`, not an error: the other
    /// tests are worth running.
    pub(crate) fn provide(workspace: &Workspace) -> Self {
        let mut this = Self::default();
        let logs = workspace.tools();
        let standin = StandIn::prepare(workspace);
        match &standin {
            Ok(standin) => {
                let command = serde_json::Value::from(standin.command.clone()).to_string();
                this.environment.push(("E2E_MONGO_STANDIN", command.into()));
            }
            Err(error) => this.missing.push(("MongoDB going away and coming back", format!("{error:#}"))),
        }

        let server = if let Some(uri) = std::env::var_os("MONGODB_URI") {
            println!("MongoDB: the server that MONGODB_URI names");
            Ok(("real", uri, None))
        } else if on_path("mongod") {
            println!("MongoDB: a mongod of this machine");
            start_mongod(&logs).map(|(server, port)| ("real", uri(port), Some(server)))
        } else {
            println!("MongoDB: the stand-in");
            let started = standin.and_then(|standin| standin.start(&logs.join("standin.log")));
            started.map(|(server, port)| ("standin", uri(port), Some(server)))
        };
        match server {
            Ok((kind, uri, server)) => {
                this.environment.push(("E2E_MONGODB_KIND", kind.into()));
                this.environment.push(("E2E_MONGODB_URI", uri));
                this._server = server;
            }
            Err(error) => this.missing.push(("MongoDB", format!("{error:#}"))),
        }
        this
    }

    /// Hands the description to a command that runs tests.
    pub(crate) fn describe_to(&self, command: &mut Command) {
        command.env_remove("MONGODB_URI");
        for (name, value) in &self.environment {
            command.env(name, value);
        }
    }
}

fn uri(port: u16) -> OsString {
    format!("mongodb://127.0.0.1:{port}/").into()
}

fn start_mongod(logs: &Path) -> Result<(Server, u16)> {
    let folder = logs.join("mongod");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("could not remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
    // mongod takes no port 0. Between our letting go of a free one and its taking it somebody else may: that shows
    // as a mongod that ends, with the reason in its log.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr())?.port();
    let log = folder.join("log");
    let mut command = Command::new("mongod");
    command.args(["--bind_ip", "127.0.0.1", "--nounixsocket", "--port", &port.to_string(), "--dbpath"]);
    command.arg(&folder).arg("--logpath").arg(&log).stdin(Stdio::null()).stdout(Stdio::null());
    let mut server = Server(command.spawn().context("mongod could not be started")?);
    wait_for_port(&mut server.0, port, START_LIMIT)
        .with_context(|| format!("mongod does not serve; see {}", log.display()))?;
    Ok((server, port))
}
