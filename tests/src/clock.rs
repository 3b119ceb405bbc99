//! The wall clock of one process, moved by libfaketime while the process runs, and times as sessions show them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::http::Client;

/// A wall clock that is away from the machine's by a number of seconds.
///
/// Clocks that count from the start of the machine go on as they are, as they do where a wall clock is set.
pub struct WallClock {
    library: String,
    file: PathBuf,
}

impl WallClock {
    /// A clock `offset` seconds ahead, kept in `file`; `None`, and reported, where there is no libfaketime.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn new(test: &str, file: &Path, offset: i64) -> Option<Self> {
        let Some(library) = libfaketime() else {
            crate::skip(test, "no libfaketime");
            return None;
        };
        let clock = Self { library, file: file.to_owned() };
        clock.set(offset);
        Some(clock)
    }

    /// From now on, or within a second, it is `offset` seconds ahead.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn set(&self, offset: i64) {
        // A reader must never find half of it.
        let part = self.file.with_extension("part");
        fs::write(&part, format!("{offset:+}")).expect("the offset is written");
        fs::rename(&part, &self.file).expect("the offset is put in place");
    }

    /// What a process has in its environment whose clock this is.
    pub fn environment(&self) -> [(&str, &str); 4] {
        [
            ("LD_PRELOAD", &self.library),
            ("FAKETIME_TIMESTAMP_FILE", self.file.to_str().expect("its name is text")),
            ("FAKETIME_CACHE_DURATION", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ]
    }
}

/// Where Debian has it.
fn libfaketime() -> Option<String> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    let candidates = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    candidates.into_iter().find(|path| path.exists()).map(|path| path.display().to_string())
}

/// A time as sessions show it (`2026-01-02T03:04:05.678Z`), in milliseconds since 1970.
///
/// # Panics
/// When it is none.
pub fn millis(text: &str) -> i64 {
    let part = |from: usize, to: usize| -> i64 {
        text.get(from..to).and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no time: {text}"))
    };
    let (year, month, day) = (part(0, 4), part(5, 7), part(8, 10));
    // Years begin in March, so that the day which comes and goes is the last of one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    ((days * 24 + part(11, 13)) * 60 + part(14, 16)) * 60_000 + part(17, 19) * 1_000 + part(20, 23)
}

/// What time the service thinks it is: some moment while this runs. It begins a session, which lives for a moment.
///
/// # Panics
/// When no session can be begun.
pub fn now_of(client: &Client, mount: &str) -> i64 {
    millis(
        &client.post(&format!("/{mount}/new"), json!({ "ttl_seconds": 1 })).expect(201).member("created_at"),
    )
}

/// What time it is on this machine, in milliseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::millis;

    #[test]
    fn times_of_sessions_are_read() {
        assert_eq!(millis("1970-01-01T00:00:00.000Z"), 0);
        assert_eq!(millis("2000-02-28T23:59:59.999Z"), 951_782_399_999);
        assert_eq!(millis("2000-02-29T00:00:00.000Z"), 951_782_400_000);
        assert_eq!(millis("2100-03-01T00:00:00.000Z"), 4_107_542_400_000);
        assert_eq!(millis("9999-12-31T23:59:59.999Z"), 253_402_300_799_999);
    }
}
