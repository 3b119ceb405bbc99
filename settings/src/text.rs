//! What no text of a configuration should hold, because nobody sees it in a file: mostly what came with it when it was pasted
//! or read from another file.

/// What is wrong with a path, an address, a name or a key; `None` if nothing is. The words never hold the text.
pub fn flaw(text: &str) -> Option<&'static str> {
    if let Some(unseen) = unseen(text) {
        return Some(unseen);
    }
    // Joiners and marks of direction: what is shown is not what is there.
    let is_hidden =
        |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}');
    if text.contains(is_hidden) {
        return Some("a character in it that cannot be seen; write it anew");
    }
    (text.trim() != text).then_some("white space around it; write it without")
}

/// What is in a password that cannot be meant. It may have blanks around it, and an emoji has joiners in it.
pub fn unseen(text: &str) -> Option<&'static str> {
    text.chars().find_map(|c| match c {
        '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some("a line break in it; write it on one line"),
        '\t' => Some("a tab in it; write it without"),
        '\u{feff}' => Some("a byte order mark in it; write it without"),
        c if c.is_control() => Some("a control character in it; write it anew"),
        _ => None,
    })
}

/// What is behind the scheme of a URL, which may be written in any case (RFC 3986).
pub fn strip_scheme<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = url.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_found_in_any_case() {
        assert_eq!(strip_scheme("Redis://H", "redis://"), Some("H"));
        for other in ["redis:/", "rediss://h", "", "\u{fc}\u{fc}\u{fc}\u{fc}"] {
            assert_eq!(strip_scheme(other, "redis://"), None, "{other}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_found_and_named() {
        for (text, named) in [
            ("a\n", "line break"),
            ("\r\na", "line break"),
            ("a\u{85}b", "line break"),
            ("a\u{2028}b", "line break"),
            ("a\tb", "tab"),
            ("\u{feff}a", "byte order mark"),
            ("a\0", "control character"),
            ("\u{1b}[0m", "control character"),
            ("a\u{200b}b", "cannot be seen"),
            ("a\u{202e}b", "cannot be seen"),
            (" a", "white space"),
            ("a\u{a0}", "white space"),
        ] {
            assert!(flaw(text).is_some_and(|flaw| flaw.contains(named)), "{text:?}: {:?}", flaw(text));
        }
        for fine in ["", "a", "a b", "\u{fc} \u{1f600}", "pa$$ w%0Ard", "/var/lib/p s"] {
            assert_eq!(flaw(fine), None, "{fine}");
        }
        assert_eq!((unseen(" a\u{200d}b "), unseen("a\n").is_some()), (None, true));
    }
}
