//! Finds indented lines that became a part of the value above them by mistake.
//!
//! In the grammar, any indented line continues the value. An indented `[auth]` behind `state=state` would become a
//! part of the directory's name, and its key would have no effect.

use super::ini::{Document, Section, SyntaxError};
use super::sections::{PLUGIN_PARMS, section_of};

/// The continuation lines that look like a header or like one of the host's keys.
pub(super) fn find(document: &Document) -> Vec<SyntaxError> {
    document.sections.iter().flat_map(in_section).collect()
}

fn in_section(section: &Section) -> impl Iterator<Item = SyntaxError> {
    section.entries.iter().flat_map(move |entry| {
        let lines: Vec<&str> = entry.value.split('\n').collect();
        let continued = entry.continued.iter().zip(1..).filter_map(|(line, index)| {
            let text = lines.get(index)?;
            // Parameters of an instance may be continued after an `&`.
            let goes_on = section.name == PLUGIN_PARMS
                && (lines[index - 1].trim_end().ends_with('&') || text.starts_with('&'));
            let what = if is_header(text) {
                "a `[section]` header"
            } else if starts_with_key(text) && !goes_on {
                "a key"
            } else {
                return None;
            };
            Some((*line, what))
        });
        let message = |what| {
            format!(
                "it looks like {what}, but it is indented, so that it would be a part of the value of `{}`, line {}; take the \
                 white space in front of it away",
                entry.key, entry.line
            )
        };
        continued.map(|(line, what)| SyntaxError { line, message: message(what) }).collect::<Vec<_>>()
    })
}

/// Not an IPv6 address in brackets: that has colons.
fn is_header(text: &str) -> bool {
    let Some((name, _)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) else { return false };
    let name = name.trim();
    name.starts_with(|c: char| c.is_alphabetic())
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' '))
}

fn starts_with_key(text: &str) -> bool {
    let Some(end) = text.find(['=', ':']) else { return false };
    section_of(&text[..end].trim().to_lowercase()).is_some()
}

#[cfg(test)]
mod tests {
    use super::super::ini::parse;
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let (document, errors) = parse(text);
        assert_eq!(errors, []);
        find(&document).into_iter().map(|error| error.line).collect()
    }

    #[test]
    fn headers_and_keys_that_an_indentation_swallows_are_found() {
        assert_eq!(lines("[paths]\nstate=state\n [auth]\n apikey=k\n"), [3, 4]);
        assert_eq!(lines("[paths]\nstate=state\n\n# comment\n\t[ auth ] # main\n"), [5]);
        assert_eq!(lines("[paths]\nstate=\n\u{a0}[auht]\n"), [3]);
        assert_eq!(lines("[auth]\nallow_query_key=on\n  ApiKey : k\n"), [3]);
        assert_eq!(lines("[auth]\napikey=list:a\n  b\n  bindto=0.0.0.0\n"), [4]);
        assert_eq!(lines("[plugin_parms]\ns=json=s.json\n  [auth]\n"), [3]);
        assert_eq!(lines("[plugin_parms]\ns=json=s.json\n  apikey=k\n"), [3]);
    }

    #[test]
    fn values_of_several_lines_stay_what_they_are() {
        for text in [
            "[proxy]\ntrusted=list:\n  10.0.0.0/8\n  ::1\n  fe80::1\n",
            "[cors]\norigin_url=list:https://a.test\n  https://b.test:8443\n  http://[::1]:80\n",
            "[auth]\napikey=list:a\n  b=c\n  [x\n  d]e\n  []\n",
            "[plugin_parms]\ns=backend=memory&\n  apikey=k&\n  route_path=/a\n",
            "[plugin_parms]\ns=backend=memory\n  &apikey=k\n",
            "[auth]\n  apikey=k\n  allow_query_key=on\n",
        ] {
            assert_eq!(lines(text), [0; 0], "{text}");
        }
    }
}
