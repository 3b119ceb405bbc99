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
        Self::connect_with(address, settings, Stdio::null())
    }

    /// As [`connect`](Self::connect), and takes nothing that comes, once the pipe of the one who would is full.
    ///
    /// # Panics
    /// As [`connect`](Self::connect).
    pub fn connect_and_read_nothing(address: &str, settings: &[u8]) -> Self {
        Self::connect_with(address, settings, Stdio::piped())
    }

    fn connect_with(address: &str, settings: &[u8], reader: Stdio) -> Self {
        let mut command = s_client(address, &["-alpn", "h2", "-quiet"]);
        let child = command.stdin(Stdio::piped()).stdout(reader).stderr(Stdio::null()).spawn();
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

/// The frames of a request with a header block of any length; with `ends` it has no body.
pub fn request(stream: u8, block: &[u8], ends: bool) -> Vec<u8> {
    let mut pieces = block.chunks(16 * 1024).peekable();
    let mut frames = Vec::new();
    let mut kind = 1;
    while let Some(piece) = pieces.next() {
        let end_headers = if pieces.peek().is_none() { 4 } else { 0 };
        frames.extend(frame(kind, end_headers | u8::from(ends && kind == 1), stream, piece));
        kind = 9;
    }
    frames
}

/// Another header for a block, of any length.
pub fn header(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &length(name.len()), name.as_bytes(), &length(value.len()), value.as_bytes()].concat()
}

/// As HPACK writes numbers, without Huffman's code.
fn length(length: usize) -> Vec<u8> {
    let Some(mut rest) = length.checked_sub(127) else {
        return vec![u8::try_from(length).expect("a short one")];
    };
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).expect("seven bits") | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).expect("seven bits"));
    bytes
}

/// A header block for `GET path`, of literals alone.
pub fn get(path: &str) -> Vec<u8> {
    let literal = |name: u8, text: &str| {
        let length = u8::try_from(text.len()).expect("a short text");
        [&[name, length], text.as_bytes()].concat()
    };
    [&[0x82, 0x87][..], &literal(0x44, path), &literal(0x41, "localhost")].concat()
}

/// The same for `POST path`.
pub fn post(path: &str) -> Vec<u8> {
    let mut block = get(path);
    block[0] = 0x83;
    block
}
