//! `${FILE:/path}`: a secret in a file of its own, as provided by container engines and service managers.

use std::io::{ErrorKind, Read as _};
use std::path::Path;

use crate::trust::{self, Content};

/// Limit of the file's size, in bytes.
const MAX_LENGTH: u64 = 64 << 10;

/// The file's content without its last line break, which editors and `echo` append.
///
/// # Errors
/// Why it cannot be used. Its content is not quoted.
pub(super) fn read(path: &str) -> Result<String, String> {
    let unreadable = |error: std::io::Error| {
        let is_denied = error.kind() == ErrorKind::PermissionDenied && error.raw_os_error().is_some();
        let mend = if is_denied { "; let the user that pserve runs as read it" } else { "" };
        format!("the file {path} cannot be read: {error}{mend}")
    };
    let file = trust::open(Path::new(path), Content::Secret).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_LENGTH + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_LENGTH {
        return Err(format!("the file {path} is longer than {MAX_LENGTH} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("the file {path} is not UTF-8"))?;
    let secret =
        text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_last_line_break_is_no_part_of_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret").display().to_string();
        for (content, secret) in [
            ("s3cret", "s3cret"),
            ("s3cret\n", "s3cret"),
            ("s3cret\r\n", "s3cret"),
            ("s3cret\n\n", "s3cret\n"),
            (" a b ", " a b "),
            ("", ""),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(read(&path).as_deref(), Ok(secret), "{content:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_secret_is_told_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("binary"), b"s3cret\xff").unwrap();
        fs::write(path("large"), "s3cret ".repeat(10_000)).unwrap();
        for (name, why) in [
            ("none", "cannot be read"),
            (".", "it is no file"),
            ("binary", "is not UTF-8"),
            ("large", "longer than"),
        ] {
            let message = read(&path(name)).unwrap_err();
            assert!(message.contains(why) && !message.contains("s3cret"), "{message}");
        }
    }
}
