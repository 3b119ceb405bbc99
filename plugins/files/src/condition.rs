//! Conditional requests (RFC 9110): whether a client has the file already, or another one.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::{fmt_http_date, parse_http_date};
use plugin_api::Request;

/// The headers by which a client says what it has.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    if_match: Option<Vec<u8>>,
    if_none_match: Option<Vec<u8>>,
    if_modified_since: Option<Vec<u8>>,
    if_unmodified_since: Option<Vec<u8>>,
    if_range: Option<Vec<u8>>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The file is sent.
    Send,
    /// The client has it: 304.
    NotModified,
    /// The client means another one: 412.
    Failed,
}

/// What a file is told apart by from its earlier and later states.
#[derive(Debug)]
pub(crate) struct Validators {
    /// A strong entity tag, in its quotes.
    pub(crate) etag: String,
    /// Whole seconds.
    modified: SystemTime,
}

impl Validators {
    /// Of a file: its time of modification, to the nanosecond, and its length.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
        Self {
            etag: format!("\"{:x}.{:x}-{:x}\"", seconds, metadata.mtime_nsec(), metadata.len()),
            modified: UNIX_EPOCH + Duration::from_secs(seconds),
        }
    }

    /// The value of `Last-Modified`.
    pub(crate) fn last_modified(&self) -> String {
        fmt_http_date(self.modified)
    }
}

impl Conditions {
    /// Those of a request.
    pub(crate) fn of(request: &Request<'_>) -> Self {
        let list = |name: &str| {
            let lines: Vec<&[u8]> = request.header_all(name).collect();
            (!lines.is_empty()).then(|| lines.join(&b", "[..]))
        };
        let single = |name| request.header(name).map(<[u8]>::to_vec);
        Self {
            if_match: list("if-match"),
            if_none_match: list("if-none-match"),
            if_modified_since: single("if-modified-since"),
            if_unmodified_since: single("if-unmodified-since"),
            if_range: single("if-range"),
        }
    }

    /// Checks them against a file, in the order of RFC 9110, section 13.2.2.
    pub(crate) fn check(&self, file: &Validators) -> Verdict {
        let modified = file.modified;
        let is_failed = match (&self.if_match, date(self.if_unmodified_since.as_deref())) {
            (Some(tags), _) => !has(tags, &file.etag, false),
            (None, Some(date)) => modified > date,
            (None, None) => false,
        };
        if is_failed {
            return Verdict::Failed;
        }
        let is_known = match (&self.if_none_match, date(self.if_modified_since.as_deref())) {
            (Some(tags), _) => has(tags, &file.etag, true),
            (None, Some(date)) => modified <= date,
            (None, None) => false,
        };
        if is_known { Verdict::NotModified } else { Verdict::Send }
    }

    /// Whether a range may be sent: the client has a part of this very file.
    pub(crate) fn allow_range(&self, file: &Validators) -> bool {
        match &self.if_range {
            None => true,
            Some(value) if value.starts_with(b"\"") => value == file.etag.as_bytes(),
            Some(value) => date(Some(value)) == Some(file.modified),
        }
    }
}

/// Whether a list of entity tags has this one. With `weak`, a weak tag is as good as a strong one.
fn has(list: &[u8], etag: &str, weak: bool) -> bool {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(|tag| match tag.strip_prefix(b"W/") {
        Some(tag) => weak && tag == etag.as_bytes(),
        None => tag == b"*" || tag == etag.as_bytes(),
    })
}

fn date(value: Option<&[u8]>) -> Option<SystemTime> {
    parse_http_date(std::str::from_utf8(value?).ok()?.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 784111777 seconds: Sun, 06 Nov 1994 08:49:37 GMT.
    fn file() -> Validators {
        Validators { etag: "\"a-1\"".into(), modified: UNIX_EPOCH + Duration::from_secs(784_111_777) }
    }

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn check(set: impl Fn(&mut Conditions)) -> Verdict {
        let mut conditions = Conditions::default();
        set(&mut conditions);
        conditions.check(&file())
    }

    fn some(text: &str) -> Option<Vec<u8>> {
        Some(text.into())
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        for tags in ["\"a-1\"", "W/\"a-1\"", "*", "\"b\", \"a-1\"", "\"b\",W/\"a-1\" "] {
            assert_eq!(check(|of| of.if_none_match = some(tags)), Verdict::NotModified, "{tags}");
        }
        for tags in ["\"b\"", "a-1", "", "W/*"] {
            assert_eq!(check(|of| of.if_none_match = some(tags)), Verdict::Send, "{tags}");
        }
        assert_eq!(check(|of| of.if_modified_since = some(SAME)), Verdict::NotModified);
        assert_eq!(check(|of| of.if_modified_since = some(BEFORE)), Verdict::Send);
        assert_eq!(check(|of| of.if_modified_since = some("yesterday")), Verdict::Send);
        // The tag counts, where there is one.
        let both = |of: &mut Conditions| {
            (of.if_none_match, of.if_modified_since) = (some("\"b\""), some(SAME));
        };
        assert_eq!(check(both), Verdict::Send);
    }

    #[test]
    fn what_the_client_means_must_be_this() {
        assert_eq!(check(|of| of.if_match = some("\"a-1\"")), Verdict::Send);
        assert_eq!(check(|of| of.if_match = some("*")), Verdict::Send);
        assert_eq!(check(|of| of.if_match = some("\"b\"")), Verdict::Failed);
        assert_eq!(check(|of| of.if_match = some("W/\"a-1\"")), Verdict::Failed);
        assert_eq!(check(|of| of.if_unmodified_since = some(BEFORE)), Verdict::Failed);
        assert_eq!(check(|of| of.if_unmodified_since = some(SAME)), Verdict::Send);
    }

    #[test]
    fn a_range_is_of_the_file_that_the_client_knows() {
        let allowed =
            |value: &str| Conditions { if_range: some(value), ..Conditions::default() }.allow_range(&file());
        assert!(Conditions::default().allow_range(&file()) && allowed("\"a-1\"") && allowed(SAME));
        for value in ["\"b\"", "W/\"a-1\"", BEFORE, "", "*"] {
            assert!(!allowed(value), "{value}");
        }
    }
}
