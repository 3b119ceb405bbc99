//! `${section:key}`, `${key}`, `${ENV:VAR}`, `${ENV:VAR:-text}`, `${FILE:/path}` in values.
//!
//! The syntax has two dialects. In the INI file a dollar sign must always begin `${..}` or `$$`. In a JSON file any
//! password must be writable as it is, so only a well-formed `${ENV:..}`, `${FILE:/..}` or `${section:key}` is
//! replaced, and any other `$` is kept; `$${` is an escaped `${` there.

/// A piece of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Literal text.
    Text(String),
    /// `${section:key}`, or `${key}` without a section; in lower case.
    Reference { section: Option<String>, key: String },
    /// `${ENV:VAR}` or `${ENV:VAR:-text}`.
    Variable { name: String, default: Option<String> },
    /// `${FILE:/path}`.
    File(String),
}

/// Parses an INI value.
///
/// # Errors
/// What is wrong with a `$` in it; the text itself is not quoted.
pub(crate) fn ini_pieces(value: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = value;
    while let Some(start) = rest.find('$') {
        push_text(&mut pieces, &rest[..start]);
        let after = &rest[start + 1..];
        if let Some(next) = after.strip_prefix('$') {
            push_text(&mut pieces, "$");
            rest = next;
        } else if let Some(body) = after.strip_prefix('{') {
            let end = body.find('}').ok_or("a `${` without its `}`")?;
            let piece = reference(&body[..end]).ok_or(
                "a `${..}` that is none of `${key}`, `${section:key}`, `${ENV:VAR}`, `${ENV:VAR:-text}`, `${FILE:/path}`",
            )?;
            pieces.push(piece);
            rest = &body[end + 1..];
        } else {
            return Err("a `$` alone: write `$$` for a dollar sign".into());
        }
    }
    push_text(&mut pieces, rest);
    Ok(pieces)
}

/// Parses a string of a JSON file; every text is valid.
pub(crate) fn json_pieces(value: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = value;
    while let Some(start) = rest.find('$') {
        push_text(&mut pieces, &rest[..start]);
        let from = &rest[start..];
        if let Some(next) = from.strip_prefix("$${") {
            push_text(&mut pieces, "${");
            rest = next;
            continue;
        }
        let found = from.strip_prefix("${").and_then(|body| {
            let end = body.find('}')?;
            match reference(&body[..end])? {
                Piece::Reference { section: None, .. } => None,
                piece => Some((piece, &body[end + 1..])),
            }
        });
        if let Some((piece, next)) = found {
            pieces.push(piece);
            rest = next;
        } else {
            push_text(&mut pieces, "$");
            rest = &from[1..];
        }
    }
    push_text(&mut pieces, rest);
    pieces
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if text.is_empty() {
        return;
    }
    if let Some(Piece::Text(last)) = pieces.last_mut() {
        last.push_str(text);
    } else {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// Parses the text between `${` and `}`, if it is well-formed.
fn reference(body: &str) -> Option<Piece> {
    let Some((section, key)) = body.split_once(':') else {
        return is_name(body).then(|| Piece::Reference { section: None, key: body.to_lowercase() });
    };
    if section.eq_ignore_ascii_case("env") {
        let (name, default) = match key.split_once(":-") {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (key, None),
        };
        let first_is_digit = name.starts_with(|c: char| c.is_ascii_digit());
        let well_formed = !name.is_empty()
            && !first_is_digit
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        return well_formed.then(|| Piece::Variable { name: name.to_owned(), default });
    }
    if section.eq_ignore_ascii_case("file") {
        let well_formed = key.starts_with('/') && !key.chars().any(char::is_control);
        return well_formed.then(|| Piece::File(key.to_owned()));
    }
    (is_name(section) && is_name(key))
        .then(|| Piece::Reference { section: Some(section.to_lowercase()), key: key.to_lowercase() })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    fn reference(section: Option<&str>, key: &str) -> Piece {
        Piece::Reference { section: section.map(Into::into), key: key.into() }
    }

    fn variable(name: &str, default: Option<&str>) -> Piece {
        Piece::Variable { name: name.into(), default: default.map(Into::into) }
    }

    #[test]
    fn the_four_forms() {
        assert_eq!(
            ini_pieces("a${Network:Port}b${key}${ENV:HOME}${ENV:X_1:-d:-e}$$c").unwrap(),
            [
                text("a"),
                reference(Some("network"), "port"),
                text("b"),
                reference(None, "key"),
                variable("HOME", None),
                variable("X_1", Some("d:-e")),
                text("$c"),
            ]
        );
    }

    #[test]
    fn a_file_is_named_by_its_whole_path() {
        let file = |path: &str| Piece::File(path.into());
        assert_eq!(
            ini_pieces("list:${FILE:/run/secrets/new} ${file:/a b}").unwrap(),
            [text("list:"), file("/run/secrets/new"), text(" "), file("/a b")]
        );
        assert_eq!(json_pieces("${FILE:/run/secrets/key}"), [file("/run/secrets/key")]);
        for value in ["${FILE:}", "${FILE:secrets/key}", "${FILE:key}"] {
            assert!(ini_pieces(value).is_err(), "{value}");
            assert_eq!(json_pieces(value), [text(value)]);
        }
    }

    #[test]
    fn a_default_may_be_empty() {
        assert_eq!(ini_pieces("${ENV:X:-}").unwrap(), [variable("X", Some(""))]);
    }

    #[test]
    fn dollars_escape_themselves_in_pairs() {
        assert_eq!(ini_pieces("$$${a}$$$$").unwrap(), [text("$"), reference(None, "a"), text("$$")]);
        assert_eq!(ini_pieces("$${a}").unwrap(), [text("${a}")]);
    }

    #[test]
    fn malformed_dollars_are_errors_that_do_not_quote_the_value() {
        for value in ["pass$word", "${", "${a b}", "${}", "${ENV:}", "${ENV:1X}", "end$"] {
            let message = ini_pieces(value).unwrap_err();
            assert!(!message.contains("word") && !message.contains("1X"), "{message}");
        }
    }

    #[test]
    fn json_replaces_only_what_is_well_formed() {
        assert_eq!(json_pieces("${ENV:PW}@${auth:apikey}").len(), 3);
        for value in ["p$ss", "$$", "$1", "${", "${key}", "${a b:c}", "$", "a$$b", "${ENV:1}", "${x:y"] {
            assert_eq!(json_pieces(value), [text(value)], "{value}");
        }
    }

    #[test]
    fn json_escapes_a_reference_with_a_dollar() {
        assert_eq!(json_pieces("$${ENV:PW}"), [text("${ENV:PW}")]);
        assert_eq!(json_pieces("$$${ENV:PW}"), [text("$${ENV:PW}")]);
    }
}
