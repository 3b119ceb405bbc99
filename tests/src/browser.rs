//! A real browser, and a page for it to open that reports what its script found.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::pserve::Site;

/// Longer than a browser takes to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A web server with one page, whose script sends what it found to `/report`.
pub struct Page {
    /// Where it listens.
    pub address: SocketAddr,
    reports: Receiver<Value>,
}

impl Page {
    /// A page with this script.
    pub fn serve(script: &str) -> Self {
        Self::start(format!("<script>{script}</script>"), PathBuf::new())
    }

    /// A page whose script is a module and may import the files of `folder`.
    pub fn serve_module(script: &str, folder: &Path) -> Self {
        Self::start(format!("<script type=\"module\">{script}</script>"), folder.to_owned())
    }

    fn start(script: String, folder: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let (send, reports) = channel();
        // It ends with the test's process: nobody else knows its port.
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (script, folder, send) = (script.clone(), folder.clone(), send.clone());
                thread::spawn(move || {
                    let Some((line, body)) = request(&mut stream) else { return };
                    let path = line.split_whitespace().nth(1).unwrap_or_default();
                    let (kind, content) = match path {
                        "/page" => ("text/html", format!("<!doctype html><title>page</title>{script}")),
                        "/report" => {
                            let _ = send.send(serde_json::from_str(&body).unwrap_or_default());
                            ("text/html", String::new())
                        }
                        file => {
                            let content = fs::read_to_string(folder.join(file.trim_start_matches('/')));
                            ("text/javascript", content.unwrap_or_default())
                        }
                    };
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close");
                    let _ = write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{content}", content.len());
                });
            }
        });
        Self { address, reports }
    }

    /// Its URL, by one of the names of this machine.
    pub fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/page", self.address.port())
    }

    /// What its script found.
    ///
    /// # Panics
    /// When it reports nothing.
    pub fn report(&self) -> Value {
        self.reports.recv_timeout(PATIENCE).expect("the page reports")
    }
}

fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("content-length:")
                    .and_then(|value| value.trim().parse().ok())
            });
            if body.len() >= length.unwrap_or(0) {
                return Some((head.lines().next()?.to_owned(), body.to_owned()));
            }
        }
        match stream.read(&mut buffer) {
            Ok(length) if length > 0 => text.push_str(&String::from_utf8_lossy(&buffer[..length])),
            _ => return None,
        }
    }
}

/// A real browser that has opened a page; killed when it is dropped.
pub struct Browser(Child);

impl Browser {
    /// Opens a page; what the browser keeps is kept in `site`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn open(site: &Site, url: &str) -> Self {
        let mut command = Command::new("chromium");
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", site.path("browser").display()))
            .arg(url);
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(started.expect("chromium starts"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
