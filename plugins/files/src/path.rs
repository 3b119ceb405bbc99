//! From the path of a request to the names of folders and a file.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use percent_encoding::percent_decode;

/// A path that names nothing that could be served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PathError {
    /// It is no path: a percent sign without two hexadecimal digits, or a NUL.
    Malformed,
    /// No file has such a name here: it leads out of the folder, is hidden, or has a slash or a control character in it.
    NoName,
}

/// Reads a path below the mount, as received. The result is relative to the folder that is served, and empty for the
/// folder itself; none of its names is `.`, `..` or hidden.
///
/// # Errors
/// It names no file.
pub(crate) fn read(path: &str) -> Result<PathBuf, PathError> {
    let names = path.strip_suffix('/').unwrap_or(path);
    if names.is_empty() {
        return Ok(PathBuf::new());
    }
    // Split before decoding: an encoded slash is a character of a name, and no file has it.
    names.split('/').map(name).collect()
}

fn name(raw: &str) -> Result<OsString, PathError> {
    let bytes = raw.as_bytes();
    let is_encoded =
        |at: usize| bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if (0..bytes.len()).any(|at| bytes[at] == b'%' && !is_encoded(at)) {
        return Err(PathError::Malformed);
    }
    let name: Vec<u8> = percent_decode(bytes).collect();
    if name.contains(&0) {
        return Err(PathError::Malformed);
    }
    // A name that begins with a dot is hidden; `.` and `..` are among them.
    let is_hidden = name.is_empty() || name.starts_with(b".");
    if is_hidden || name.contains(&b'/') || name.iter().any(u8::is_ascii_control) {
        return Err(PathError::NoName);
    }
    Ok(OsString::from_vec(name))
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    fn names(path: &str) -> String {
        read(path).unwrap().to_string_lossy().into_owned()
    }

    #[test]
    fn names_are_decoded_one_by_one() {
        assert_eq!(names(""), "");
        assert_eq!(names("/"), "");
        assert_eq!(names("a.html"), "a.html");
        assert_eq!(names("a/b/"), "a/b");
        assert_eq!(names("f%C3%BCr%20alle/a%2Bb+c"), "für alle/a+b+c");
        assert_eq!(names("a%25b"), "a%b");
        assert_eq!(names("a..b"), "a..b");
    }

    #[test]
    fn what_leads_elsewhere_or_is_hidden_is_no_name() {
        for path in [
            "..",
            "../x",
            "a/../b",
            "a/..",
            "a/../",
            "%2e%2e/x",
            "%2E%2e",
            "a/%2e./b",
            ".",
            "./a",
            "a/./b",
            "..%2fx",
            "a%2fb",
            "a%2Fb",
            ".git/config",
            ".env",
            "a/.htaccess",
            "%2egit",
            "a//b",
            "//",
            "//etc/passwd",
            "a%0Ab",
            "%7f",
        ] {
            assert_eq!(read(path), Err(PathError::NoName), "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_told_apart() {
        for path in ["%", "a%2", "%zz", "a%00b", "%00", "%%32", "a%+1"] {
            assert_eq!(read(path), Err(PathError::Malformed), "{path}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_is_below_the_folder(path in "(([a.%/ 2eEfF0]|\\.\\.|%2e|%2f|%00){0,12})") {
            if let Ok(found) = read(&path) {
                prop_assert!(found.is_relative());
                for part in found.components() {
                    let Component::Normal(name) = part else { panic!("{path}: {part:?}") };
                    prop_assert!(!name.to_string_lossy().starts_with('.'), "{}", path);
                }
            }
        }
    }
}
