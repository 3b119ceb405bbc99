//! The access log, in the Common Log Format.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use httpdate::fmt_http_date;
use plugin_api::{Host, Level};

/// It has the addresses of clients.
const MODE: u32 = 0o640;

/// The file. It is opened for each line, so that it can be moved away at any time.
pub(crate) struct AccessLog {
    path: PathBuf,
    host: Host,
    /// Whether the last line could not be written: told once.
    has_failed: AtomicBool,
}

/// What a line says.
pub(crate) struct Entry<'a> {
    /// `None` on a Unix socket.
    pub(crate) client: Option<IpAddr>,
    pub(crate) method: &'a str,
    /// As received, without the query: that may hold secrets.
    pub(crate) path: &'a str,
    /// `http` or `https`.
    pub(crate) scheme: &'a str,
    pub(crate) status: u16,
    /// Bytes of the file that are to be sent.
    pub(crate) bytes: u64,
}

impl AccessLog {
    pub(crate) fn new(path: PathBuf, host: Host) -> Self {
        Self { path, host, has_failed: AtomicBool::new(false) }
    }

    /// Appends a line.
    pub(crate) fn write(&self, entry: &Entry<'_>) {
        let written = self.append(&line(entry, SystemTime::now()));
        let had_failed = self.has_failed.swap(written.is_err(), Ordering::Relaxed);
        if let Err(error) = written
            && !had_failed
        {
            let message = format!("cannot write the access log {}: {error}", self.path.display());
            self.host.log(Level::Error, &message);
        }
    }

    fn append(&self, line: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).mode(MODE).open(&self.path)?;
        // One write, which the system keeps whole.
        file.write_all(line.as_bytes())
    }
}

fn line(entry: &Entry<'_>, now: SystemTime) -> String {
    let Entry { client, method, path, scheme, status, bytes } = entry;
    let client = client.map_or_else(|| "-".to_owned(), |client| client.to_string());
    // `Sun, 06 Nov 1994 08:49:37 GMT`
    let date = fmt_http_date(now);
    let (day, month, year, time) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
    let (path, protocol) = (escaped(path), scheme.to_ascii_uppercase());
    let bytes = if *bytes == 0 { "-".to_owned() } else { bytes.to_string() };
    format!(
        "{client} - - [{day}/{month}/{year}:{time} +0000] \"{method} {path} {protocol}\" {status} {bytes}\n"
    )
}

/// A path in which nothing ends the quotes or the line.
fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'"' | b'\\' | 0..=b' ' | 0x7f.. => {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "%{byte:02X}");
            }
            byte => escaped.push(char::from(byte)),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_line_is_in_the_common_log_format_and_cannot_be_forged() {
        let mut entry = Entry {
            client: Some([127, 0, 0, 1].into()),
            method: "GET",
            path: "/html/app.html",
            scheme: "https",
            status: 200,
            bytes: 2326,
        };
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(
            line(&entry, now),
            "127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /html/app.html HTTPS\" 200 2326\n"
        );
        (entry.client, entry.path, entry.bytes) = (None, "/a\" 200 1\n\\é", 0);
        assert_eq!(
            line(&entry, now),
            "- - - [06/Nov/1994:08:49:37 +0000] \"GET /a%22%20200%201%0A%5C%C3%A9 HTTPS\" 200 -\n"
        );
    }
}
