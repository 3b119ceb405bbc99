//! A real browser, and a page for it to open that reports what its script found.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::pserve::{Pserve, Site, send_signal};

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
        Self::start(format!("<script>{script}</script>"), PathBuf::new(), None)
    }

    /// As [`serve`](Self::serve); requests for `/sessman/` go to the host, so that page and sessions are of one origin.
    pub fn serve_before(script: &str, pserve: &Pserve) -> Self {
        Self::start(format!("<script>{script}</script>"), PathBuf::new(), Some(pserve.address().to_owned()))
    }

    /// A page whose script is a module and may import the files of `folder`.
    pub fn serve_module(script: &str, folder: &Path) -> Self {
        Self::start(format!("<script type=\"module\">{script}</script>"), folder.to_owned(), None)
    }

    fn start(script: String, folder: PathBuf, upstream: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let (send, reports) = channel();
        // It ends with the test's process: nobody else knows its port.
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (script, folder, send) = (script.clone(), folder.clone(), send.clone());
                let upstream = upstream.clone();
                thread::spawn(move || {
                    let Some((head, body)) = request(&mut stream) else { return };
                    let path = head.split_whitespace().nth(1).unwrap_or_default();
                    if let Some(upstream) = upstream.filter(|_| path.starts_with("/sessman/")) {
                        let _ = pass_on(&head, &body, &upstream, &mut stream);
                        return;
                    }
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
                return Some((head.to_owned(), body.to_owned()));
            }
        }
        match stream.read(&mut buffer) {
            Ok(length) if length > 0 => text.push_str(&String::from_utf8_lossy(&buffer[..length])),
            _ => return None,
        }
    }
}

/// Passes a request on, and what is answered back, on a connection for it alone.
fn pass_on(head: &str, body: &str, upstream: &str, client: &mut TcpStream) -> io::Result<u64> {
    let mut server = TcpStream::connect(upstream)?;
    let head = head.replace("Connection: keep-alive", "Connection: close");
    write!(server, "{head}\r\n\r\n{body}")?;
    io::copy(&mut server, client)
}

/// A real browser that has opened a page; killed when it is dropped.
pub struct Browser(Child);

impl Browser {
    /// Opens a page; what the browser keeps is kept in `site`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn open(site: &Site, url: &str) -> Self {
        Self::open_with(site, url, &[])
    }

    /// As [`open`](Self::open), with more arguments.
    ///
    /// # Panics
    /// As [`open`](Self::open).
    pub fn open_with(site: &Site, url: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("chromium");
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", site.path("browser").display()))
            .args(arguments)
            .arg(url);
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(started.expect("chromium starts"))
    }

    /// Whether the browser that is opened next blocks the cookies of third parties. What it does by default differs between
    /// builds and versions, so it is a setting of its profile, as the one that a user makes.
    ///
    /// # Panics
    /// When there is a profile already.
    pub fn block_third_party_cookies(site: &Site, blocks: bool) {
        fs::create_dir(site.path("browser")).expect("a folder for the browser");
        fs::create_dir(site.path("browser/Default")).expect("a folder for its profile");
        let profile =
            json!({ "cookie_controls_mode": u8::from(blocks), "block_third_party_cookies": blocks });
        site.write("browser/Default/Preferences", json!({ "profile": profile }).to_string());
    }

    /// Asks it to end, as its user does, and waits until it has, with its cookies on the disk.
    ///
    /// # Panics
    /// When it does not end.
    pub fn close(mut self) {
        // The script `chromium` is replaced by what it starts, so this is the browser itself. SIGTERM would be a shutdown of
        // the machine to it, at which it loses the cookies of the last half minute.
        send_signal(&self.0, Signal::INT);
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.0.try_wait(), Ok(None)) {
            assert!(Instant::now() < deadline, "chromium does not end");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
