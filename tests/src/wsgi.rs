//! A WSGI application behind a proxy: it answers every request with its environment, as JSON.
//!
//! WSGI knows headers by other names, in which a dash and an underscore are the same, and puts together what is there twice.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::pages;

/// With Python's own server, which takes nothing away.
const APPLICATION: &str = r#"
import json, socketserver
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass

def application(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    environ["wsgi.input"].read(length)
    body = json.dumps({name: value for name, value in environ.items() if isinstance(value, str)}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]

server = make_server("127.0.0.1", 0, application, Server, Quiet)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// A running application; killed when it is dropped.
pub struct Wsgi {
    child: Child,
    /// `host:port`.
    pub address: String,
}

impl Wsgi {
    /// Starts it on a free port.
    ///
    /// # Panics
    /// When it does not serve.
    pub fn start() -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", APPLICATION]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 starts");
        let mut port = String::new();
        let output = child.stdout.take().expect("its output is piped");
        BufReader::new(output).read_line(&mut port).expect("it says its port");
        Self { child, address: format!("127.0.0.1:{}", port.trim_end()) }
    }
}

impl Drop for Wsgi {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whom the function of docs/network.md takes for the user by these headers.
///
/// # Panics
/// When it fails.
pub fn back_end(headers: &Value, key: &str) -> Option<String> {
    let page = pages::Page { path: "docs/network.md".into(), text: pages::read("docs/network.md") };
    let blocks = page.blocks();
    let function = blocks.iter().find(|block| block.language == "python").expect("a block of Python");
    let call = "import json, sys\nprint(json.dumps(signed_user(json.loads(sys.argv[1]), sys.argv[2])))";
    let mut python = Command::new("python3");
    python.args(["-c", &format!("{}\n{call}", function.text), &headers.to_string(), key]);
    let output = python.output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let user: Value = serde_json::from_slice(&output.stdout).expect("what it says");
    user.as_str().map(str::to_owned)
}
