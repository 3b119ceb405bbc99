//! Certificates for tests, and connections that check them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::pserve::Site;

/// Makes a key and a certificate of its own for this machine, `<name>.key` and `<name>.pem`.
///
/// # Panics
/// When `openssl` does not.
pub fn make_pair(site: &Site, name: &str) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout"])
        .arg(site.path(&format!("{name}.key")))
        .arg("-out")
        .arg(site.path(&format!("{name}.pem")))
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{made:?}");
}

/// Calls `curl`, trusting the certificate.
///
/// # Panics
/// When it cannot be started.
pub fn curl(certificate: &Path, arguments: &[&str]) -> Output {
    Command::new("curl")
        .args(["-sS", "--max-time", "60", "--cacert"])
        .arg(certificate)
        .args(arguments)
        .output()
        .expect("curl runs")
}

/// `openssl s_client` at an address.
pub fn s_client(address: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", address]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A TLS connection to speak HTTP/2 on, frame by frame, as no well-behaved client would.
pub struct Frames(Child);

impl Frames {
    /// Connects and says the preface, with these settings as they are on the wire.
    ///
    /// # Panics
    /// When there is no connection.
    pub fn connect(address: &str, settings: &[u8]) -> Self {
        let mut command = s_client(address, &["-alpn", "h2", "-quiet"]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut this = Self(child.expect("openssl runs"));
        assert!(this.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") && this.send(&frame(4, 0, 0, settings)));
        this
    }

    /// Sends bytes; says whether there was still a connection.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        let input = self.0.stdin.as_mut().expect("its input is piped");
        input.write_all(bytes).and_then(|()| input.flush()).is_ok()
    }

    /// Whether the connection has ended.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An HTTP/2 frame.
pub fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A header block for `GET path`, of literals alone.
pub fn get(path: &str) -> Vec<u8> {
    let literal = |name: u8, text: &str| {
        let length = u8::try_from(text.len()).expect("a short text");
        [&[name, length], text.as_bytes()].concat()
    };
    [&[0x82, 0x87][..], &literal(0x44, path), &literal(0x41, "localhost")].concat()
}
