//! A MongoDB stand-in of a test's own, to take away and bring back.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::pserve::send_signal;

/// A running stand-in; killed when it is dropped.
pub struct StandIn {
    child: Child,
    port: u16,
}

impl StandIn {
    /// Starts one on `port` (0: a free one); `None`, and reported, where it cannot be had.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(test: &str, port: u16) -> Option<Self> {
        let Ok(command) = env::var("E2E_MONGO_STANDIN") else {
            crate::skip(test, "no MongoDB stand-in: E2E_MONGO_STANDIN is not set");
            return None;
        };
        let command: Vec<String> =
            serde_json::from_str(&command).expect("E2E_MONGO_STANDIN is a list of strings");
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .arg(port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the stand-in starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output is piped"))
            .read_line(&mut line)
            .expect("its port");
        let port = line
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("the stand-in printed {line:?} instead of its port"));
        Some(Self { child, port })
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it is not there.
    pub fn signal(&self, signal: Signal) {
        send_signal(&self.child, signal);
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
