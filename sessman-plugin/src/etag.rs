//! Entity tags and conditional requests (RFC 9110, sections 8.8.3 and 13.1).

use sessman::mark::Mark;
use sessman::record::Record;
use sessman::sessions::Precondition;

use crate::problem::Problem;

/// The entity tag of a session: its version, its expiry, and its mark. `If-Match` compares version and mark, so that
/// the tag of a session that has ended does not match a later session with the same id. The expiry is included so that
/// a cached answer is stale after a touch.
pub(crate) fn of(record: &Record) -> String {
    let mut tag = String::with_capacity(56);
    tag.push('"');
    tag.push_str(itoa::Buffer::new().format(record.version));
    tag.push('-');
    tag.push_str(itoa::Buffer::new().format(record.expires_at.as_millis()));
    tag.push('-');
    for byte in record.mark.as_bytes() {
        tag.push(char::from(HEX[usize::from(byte >> 4)]));
        tag.push(char::from(HEX[usize::from(byte & 0xF)]));
    }
    tag.push('"');
    tag
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The version and the mark of a tag; `None` if the tag was not issued here.
fn read(tag: &Tag<'_>) -> Option<(u64, Mark)> {
    let mut parts = tag.opaque.trim_matches('"').splitn(3, '-');
    let (version, _expires_at, mark) = (parts.next()?, parts.next()?, parts.next()?);
    Some((version.parse().ok()?, Mark::parse(mark)?))
}

/// Whether `If-None-Match` contains this tag, so that the client's copy is current. Uses weak comparison.
pub(crate) fn none_match(header: &str, tag: &str) -> Result<bool, Problem> {
    let Some(tags) = parse(header, "If-None-Match")? else { return Ok(true) };
    Ok(tags.iter().any(|candidate| candidate.opaque == tag))
}

/// Parses `If-Match`. Uses strong comparison: weak tags never match.
pub(crate) fn precondition(header: Option<&str>) -> Result<Precondition, Problem> {
    let Some(header) = header else { return Ok(Precondition::None) };
    // `*` matches any existing session, and a change requires one anyway.
    let Some(tags) = parse(header, "If-Match")? else { return Ok(Precondition::Any) };
    Ok(Precondition::Versions(tags.iter().filter(|tag| !tag.weak).filter_map(read).collect()))
}

#[derive(Debug, PartialEq, Eq)]
struct Tag<'a> {
    weak: bool,
    /// Including its quotes.
    opaque: &'a str,
}

/// Parses a list of tags; `None` for `*`.
fn parse<'a>(header: &'a str, name: &str) -> Result<Option<Vec<Tag<'a>>>, Problem> {
    let malformed =
        || Problem::malformed(format!("{name}: expected * or a list of entity tags like \"1-2\""));
    // Only spaces and tabs (RFC 9110, section 5.6.3).
    const BLANK: [char; 2] = [' ', '\t'];
    let mut rest = header.trim_matches(BLANK);
    if rest == "*" {
        return Ok(None);
    }
    let mut tags = Vec::new();
    loop {
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let inner = quoted.strip_prefix('"').ok_or_else(malformed)?;
        let end = inner.find('"').ok_or_else(malformed)?;
        tags.push(Tag { weak, opaque: &quoted[..end + 2] });
        rest = inner[end + 1..].trim_start_matches(BLANK);
        if rest.is_empty() {
            return Ok(Some(tags));
        }
        rest = rest.strip_prefix(',').ok_or_else(malformed)?.trim_start_matches(BLANK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(header: &str) -> Vec<u64> {
        match precondition(Some(header)).unwrap() {
            Precondition::Versions(versions) => versions.into_iter().map(|(version, _)| version).collect(),
            Precondition::None | Precondition::Any => panic!("{header}"),
        }
    }

    #[test]
    fn a_tag_of_an_ended_session_is_not_that_of_the_next() {
        let one = precondition(Some("\"1-1700000000000-0123456789abcdef\"")).unwrap();
        let other = precondition(Some("\"1-1700000000000-0123456789abcdee\"")).unwrap();
        assert_ne!(one, other);
        // A tag without a mark says of no session that it is meant.
        assert!(versions("\"1-1700000000000\"").is_empty());
        let mark = Mark::parse("0123456789abcdef").unwrap();
        assert_eq!(one, Precondition::Versions(vec![(1, mark)]));
    }

    #[test]
    fn if_match_compares_versions_and_never_weak_tags() {
        assert_eq!(versions("\"3-1700000000000-0123456789abcdef\""), [3]);
        assert_eq!(
            versions("\"3-1-0000000000000001\" , W/\"4-1-0000000000000001\",\"5-1-0000000000000001\""),
            [3, 5]
        );
        assert!(versions("\"other\"").is_empty());
        assert_eq!(precondition(Some(" * ")).unwrap(), Precondition::Any);
        assert_eq!(precondition(None).unwrap(), Precondition::None);
    }

    #[test]
    fn if_none_match_compares_the_whole_tag_weakly() {
        assert!(none_match("\"1-2\"", "\"1-2\"").unwrap());
        assert!(none_match("\"0-0\", W/\"1-2\"", "\"1-2\"").unwrap());
        assert!(none_match("*", "\"1-2\"").unwrap());
        assert!(!none_match("\"1-3\"", "\"1-2\"").unwrap());
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused() {
        for bad in ["", "1-2", "\"1-2", "\"1\" \"2\"", "\"1\",", "w/\"1\""] {
            assert!(precondition(Some(bad)).is_err(), "{bad}");
        }
    }
}
