//! The environment in which the configuration is read: that of this process, overridden by a file that systemd reads for the
//! service (`EnvironmentFile=`).

use std::ffi::OsString;
use std::path::Path;

use pserve::config;

use crate::failure::Usage;

/// Names and values of variables. No `Debug` on purpose: values may be secrets.
#[derive(Clone)]
pub(crate) struct Environment {
    variables: Vec<(OsString, OsString)>,
}

impl Environment {
    /// The variables of this process, and those of `file`, which win.
    ///
    /// # Errors
    /// [`Usage`] with the line that is wrong. No line is quoted: it may hold a secret.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, Usage> {
        let mut variables: Vec<_> = std::env::vars_os().collect();
        if let Some(path) = file {
            let usage = |why: String| Usage(format!("--env-file {}{why}", path.display()));
            let bytes = config::read_file(path).map_err(|error| usage(format!(": {error}")))?;
            let text = String::from_utf8(bytes).map_err(|_| usage(": it is not UTF-8".to_owned()))?;
            let read = parse(&text).map_err(|(line, why)| usage(format!(":{line}: {why}")))?;
            for (name, value) in read {
                variables.retain(|(other, _)| *other != *name);
                variables.push((name.into(), value.into()));
            }
        }
        Ok(Self { variables })
    }

    /// All of them.
    pub(crate) fn variables(&self) -> Vec<(OsString, OsString)> {
        self.variables.clone()
    }

    /// The value of one, if it is set and UTF-8.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let found = self.variables.iter().find(|(variable, _)| *variable == *name);
        found.and_then(|(_, value)| value.to_str().map(str::to_owned))
    }
}

/// A variable.
type Variable = (String, String);

/// The number of a line, counted from 1, and what is wrong with it.
type Wrong = (usize, &'static str);

const NO_VARIABLE: &str = "expected NAME=VALUE, without `export`; a name has letters, digits and `_`";
const OPEN_QUOTE: &str = "the quote that begins here does not end";
const CONTINUED_COMMENT: &str =
    "a comment that ends with a backslash: some versions of systemd take the next line for a part of it";
const NUL: &str = "a NUL byte";

/// Parses the syntax of systemd.exec(5), `EnvironmentFile=`. What systemd would skip with a line in its log is an error.
fn parse(text: &str) -> Result<Vec<Variable>, Wrong> {
    let mut reader = Reader { rest: text.chars(), line: 1 };
    let mut variables: Vec<Variable> = Vec::new();
    while let Some(first) = reader.skip_blanks() {
        match first {
            '#' | ';' => reader.comment()?,
            first => {
                let name = reader.name(first)?;
                variables.push((name, reader.value()?));
            }
        }
    }
    Ok(variables)
}

struct Reader<'a> {
    rest: std::str::Chars<'a>,
    line: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<Option<char>, Wrong> {
        let next = self.rest.next();
        match next {
            Some('\0') => return Err((self.line, NUL)),
            Some('\n') => self.line += 1,
            _ => {}
        }
        Ok(next)
    }

    /// The first character that is not white space.
    fn skip_blanks(&mut self) -> Option<char> {
        loop {
            match self.rest.next()? {
                '\n' => self.line += 1,
                blank if is_blank(blank) => {}
                other => return Some(other),
            }
        }
    }

    fn comment(&mut self) -> Result<(), Wrong> {
        let line = self.line;
        let mut last = '#';
        while let Some(next) = self.next()? {
            match next {
                end if is_line_end(end) && last == '\\' => return Err((line, CONTINUED_COMMENT)),
                end if is_line_end(end) => return Ok(()),
                _ => last = next,
            }
        }
        Ok(())
    }

    fn name(&mut self, first: char) -> Result<String, Wrong> {
        let line = self.line;
        let mut name = String::from(first);
        loop {
            match self.next()? {
                Some('=') => break,
                Some(next) if !is_line_end(next) => name.push(next),
                _ => return Err((line, NO_VARIABLE)),
            }
        }
        let name = name.trim_end_matches(is_blank);
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        if is_name { Ok(name.to_owned()) } else { Err((line, NO_VARIABLE)) }
    }

    /// A value up to its end of line: quoted parts, which may have line breaks in them, and then what is not quoted.
    fn value(&mut self) -> Result<String, Wrong> {
        let mut value = String::new();
        loop {
            match self.next()? {
                None | Some('\n' | '\r') => return Ok(value),
                Some('\'') => self.single_quoted(&mut value)?,
                Some('"') => self.double_quoted(&mut value)?,
                Some(blank) if is_blank(blank) => {}
                Some(first) => {
                    self.unquoted(first, &mut value)?;
                    return Ok(value);
                }
            }
        }
    }

    fn single_quoted(&mut self, value: &mut String) -> Result<(), Wrong> {
        let line = self.line;
        loop {
            match self.next()?.ok_or((line, OPEN_QUOTE))? {
                '\'' => return Ok(()),
                next => value.push(next),
            }
        }
    }

    fn double_quoted(&mut self, value: &mut String) -> Result<(), Wrong> {
        let line = self.line;
        loop {
            match self.next()?.ok_or((line, OPEN_QUOTE))? {
                '"' => return Ok(()),
                '\\' => match self.next()?.ok_or((line, OPEN_QUOTE))? {
                    '\n' => {}
                    escaped @ ('"' | '\\' | '`' | '$') => value.push(escaped),
                    other => value.extend(['\\', other]),
                },
                next => value.push(next),
            }
        }
    }

    /// Without the white space at its end. A quote, `#` and `;` are characters like any other.
    fn unquoted(&mut self, first: char, value: &mut String) -> Result<(), Wrong> {
        // What was written as `\ ` stays.
        let mut keep = value.len();
        let mut next = Some(first);
        while let Some(character) = next.filter(|next| !is_line_end(*next)) {
            if character == '\\' {
                if let Some(escaped) = self.next()?.filter(|escaped| !is_line_end(*escaped)) {
                    value.push(escaped);
                }
                keep = value.len();
            } else {
                value.push(character);
            }
            next = self.next()?;
        }
        let end = value.trim_end_matches(is_blank).len().max(keep);
        value.truncate(end);
        Ok(())
    }
}

/// White space, as systemd has it.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t') || is_line_end(character)
}

/// The end of a line, as systemd has it.
fn is_line_end(character: char) -> bool {
    matches!(character, '\r' | '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, usize> {
        parse(text).map_err(|(line, _)| line)
    }

    fn value(text: &str) -> String {
        let read = read(&format!("A={text}")).unwrap_or_else(|line| panic!("line {line} of {text:?}"));
        let [(_, value)] = &read[..] else { panic!("{read:?}") };
        value.clone()
    }

    #[test]
    fn values_are_those_that_systemd_reads() {
        for (text, expected) in [
            ("b", "b"),
            ("", ""),
            ("  b c \t", "b c"),
            ("b # no comment ; nor this", "b # no comment ; nor this"),
            ("it's \"so\"", "it's \"so\""),
            ("'single $x \\n \"'", "single $x \\n \""),
            ("\"double \\\" \\\\ \\$ \\` \\n '\"", "double \" \\ $ ` \\n '"),
            ("'two\nlines'", "two\nlines"),
            ("\"joined \\\nlines\"", "joined lines"),
            ("joined\\\nlines", "joinedlines"),
            ("a\\\\b\\$\\ ", "a\\b$ "),
            ("'a' \"b\" c'", "abc'"),
            ("'  a  '  ", "  a  "),
            ("b\r\n", "b"),
            ("$HOME ${ENV:HOME}", "$HOME ${ENV:HOME}"),
            ("b=c", "b=c"),
        ] {
            assert_eq!(value(text), expected, "{text:?}");
        }
    }

    #[test]
    fn comments_and_empty_lines_are_skipped_and_all_variables_read() {
        let text = "# one\n; two\n\n \t# three\nA=1\n  B = 2 \r\n\nA='3'\n_C9=\n";
        let pairs = [("A", "1"), ("B", "2"), ("A", "3"), ("_C9", "")];
        assert_eq!(read(text), Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()));
        assert_eq!(read(""), Ok(vec![]));
    }

    #[test]
    fn what_is_no_variable_is_an_error_with_its_line() {
        assert_eq!(read("A=1\r\nB=2\rC=3").unwrap().len(), 3);
        for (text, line) in [
            ("A=1\nexport B=2\n", 2),
            ("A=1\n\nhidden\n", 3),
            ("9A=1", 1),
            ("=1", 1),
            ("A-B=1", 1),
            ("A='1\n2\n", 1),
            ("A=1\nB=\"2\n3\\\"", 2),
            ("# hidden \\\nA=1", 1),
            ("A='1\n'\nB=\0", 3),
            ("\u{feff}A=1", 1),
        ] {
            assert_eq!(read(text), Err(line), "{text:?}");
        }
    }

    #[test]
    fn the_file_wins_over_the_process_and_is_not_quoted_in_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("environment");
        std::fs::write(&path, "PATH=/of/the/service\nNEW_VARIABLE='a b'\nNEW_VARIABLE=last\n").unwrap();
        let environment = Environment::load(Some(&path)).unwrap();
        assert_eq!(environment.get("PATH").as_deref(), Some("/of/the/service"));
        assert_eq!(environment.get("NEW_VARIABLE").as_deref(), Some("last"));
        let names = environment.variables().into_iter().filter(|(name, _)| name == "PATH");
        assert_eq!(names.count(), 1);
        assert!(Environment::load(None).unwrap().get("NEW_VARIABLE").is_none());

        for wrong in ["A=1\nexport KEY=hidden", "KEY='hidden", "hidden\\\n"] {
            std::fs::write(&path, wrong).unwrap();
            let message = Environment::load(Some(&path)).err().unwrap().to_string();
            assert!(message.contains("environment:") && !message.contains("hidden"), "{message}");
        }
        let missing = Environment::load(Some(&folder.path().join("none"))).err().unwrap().to_string();
        assert!(missing.contains("--env-file") && missing.contains("No such file"), "{missing}");
    }
}
