//! Labels: names and values by which sessions are found, beside their user.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// The most labels of a session.
pub const MAX_LABELS: usize = 8;
/// The most characters of a label's name, which are a-z, 0-9 and _, a letter first.
pub const MAX_NAME: usize = 32;
/// The most characters of a label's value.
pub const MAX_VALUE: usize = 128;

/// The labels of a session, in the order of their names. A store keeps them as they are: they are not encrypted.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Labels(Option<Arc<[Label]>>);

/// One label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    name: Box<str>,
    value: Box<str>,
}

/// A change of labels: each name with its new value, or with `None` for a label to remove.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelPatch(BTreeMap<String, Option<String>>);

/// Why a text is no label, or there are too many.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LabelError {
    /// The name.
    #[error("expected names of 1 to {MAX_NAME} characters: a-z, 0-9 and _, a letter first")]
    Name,
    /// The value.
    #[error(
        "expected values of 1 to {MAX_VALUE} characters, without control characters, no space at either end"
    )]
    Value,
    /// The number of labels.
    #[error("expected at most {MAX_LABELS} labels")]
    TooMany,
}

impl Label {
    /// A label of this name and value.
    ///
    /// # Errors
    /// One of them is not well-formed.
    pub fn new(name: &str, value: &str) -> Result<Self, LabelError> {
        if !is_name(name) {
            return Err(LabelError::Name);
        }
        if !is_value(value) {
            return Err(LabelError::Value);
        }
        Ok(Self { name: name.into(), value: value.into() })
    }

    /// Parses `name:value`.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn parse(text: &str) -> Result<Self, LabelError> {
        let (name, value) = text.split_once(':').ok_or(LabelError::Name)?;
        Self::new(name, value)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.name, self.value)
    }
}

fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.len() <= MAX_NAME
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(is_part)
}

fn is_value(text: &str) -> bool {
    let length = text.chars().count();
    (1..=MAX_VALUE).contains(&length) && text.trim() == text && !text.chars().any(char::is_control)
}

impl LabelPatch {
    /// Adds a change; the last one of a name counts.
    ///
    /// # Errors
    /// The name or the value is not well-formed, or there are too many.
    pub fn put(&mut self, name: &str, value: Option<&str>) -> Result<(), LabelError> {
        if !is_name(name) {
            return Err(LabelError::Name);
        }
        if !value.is_none_or(is_value) {
            return Err(LabelError::Value);
        }
        self.0.insert(name.to_owned(), value.map(str::to_owned));
        // A patch may replace all of them: remove as many as it sets.
        if self.0.len() > 2 * MAX_LABELS { Err(LabelError::TooMany) } else { Ok(()) }
    }
}

impl Labels {
    /// No labels.
    pub fn none() -> Self {
        Self::default()
    }

    /// Labels from a list in any order, each name once.
    ///
    /// # Errors
    /// There are too many, or two of one name.
    pub fn from_list(mut labels: Vec<Label>) -> Result<Self, LabelError> {
        labels.sort_unstable();
        if labels.len() > MAX_LABELS {
            return Err(LabelError::TooMany);
        }
        if labels.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return Err(LabelError::Name);
        }
        Ok(if labels.is_empty() { Self(None) } else { Self(Some(labels.into())) })
    }

    /// These labels after `patch`.
    ///
    /// # Errors
    /// There would be too many.
    pub fn patched(&self, patch: &LabelPatch) -> Result<Self, LabelError> {
        let mut labels: BTreeMap<&str, &str> =
            self.iter().map(|label| (label.name(), label.value())).collect();
        for (name, value) in &patch.0 {
            match value {
                Some(value) => _ = labels.insert(name, value),
                None => _ = labels.remove(name.as_str()),
            }
        }
        Self::from_list(
            labels
                .into_iter()
                .map(|(name, value)| Label { name: name.into(), value: value.into() })
                .collect(),
        )
    }

    /// Each label.
    pub fn iter(&self) -> impl Iterator<Item = &Label> {
        self.0.iter().flat_map(|labels| labels.iter())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether this label is among them.
    pub fn has(&self, label: &Label) -> bool {
        self.iter().any(|own| own == label)
    }

    /// Approximate memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.iter().map(|label| size_of::<Label>() + label.name.len() + label.value.len()).sum()
    }

    /// Writes them as a JSON object.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, label) in self.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            // Texts always serialise, and writing to a Vec does not fail.
            let _ = serde_json::to_writer(&mut *out, label.name());
            out.push(b':');
            let _ = serde_json::to_writer(&mut *out, label.value());
        }
        out.push(b'}');
    }

    /// As bytes: for each label the length of its name (1 byte), the name, the length of its value (2 bytes, big endian),
    /// the value.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for Label { name, value } in self.iter() {
            // Neither is longer than its length can say: a character has at most four bytes.
            bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            bytes.extend(name.as_bytes());
            bytes.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend(value.as_bytes());
        }
        bytes
    }

    /// Parses what [`to_bytes`](Self::to_bytes) wrote.
    #[cfg(any(feature = "redis", feature = "sqlite"))]
    pub(crate) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut labels = Vec::new();
        while let Some((length, rest)) = bytes.split_first() {
            let (name, rest) = rest.split_at_checked(usize::from(*length))?;
            let (length, rest) = rest.split_first_chunk::<2>()?;
            let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            labels.push(Label::new(std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?).ok()?);
            bytes = rest;
        }
        Self::from_list(labels).ok()
    }
}

impl std::fmt::Debug for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for label in self.iter() {
            let _ = write!(text, "{}{label}", if text.is_empty() { "" } else { ", " });
        }
        write!(f, "Labels({text})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_list(pairs.iter().map(|(name, value)| Label::new(name, value).unwrap()).collect())
            .unwrap()
    }

    #[test]
    fn labels_are_ordered_and_each_name_counts_once() {
        let both = labels(&[("tenant", "acme"), ("device", "Ada's phone")]);
        assert_eq!(both, labels(&[("device", "Ada's phone"), ("tenant", "acme")]));
        let twice = vec![Label::new("a", "1").unwrap(), Label::new("a", "2").unwrap()];
        assert_eq!(Labels::from_list(twice), Err(LabelError::Name));
        let mut json = Vec::new();
        both.write_json(&mut json);
        assert_eq!(json, br#"{"device":"Ada's phone","tenant":"acme"}"#);
        assert!(both.has(&Label::parse("tenant:acme").unwrap()));
        assert!(!both.has(&Label::parse("tenant:acm").unwrap()));
    }

    #[test]
    fn a_patch_sets_and_removes() {
        let mut patch = LabelPatch::default();
        patch.put("tenant", Some("other")).unwrap();
        patch.put("device", None).unwrap();
        patch.put("nothing", None).unwrap();
        let patched = labels(&[("tenant", "acme"), ("device", "x")]).patched(&patch).unwrap();
        assert_eq!(patched, labels(&[("tenant", "other")]));
        let mut full = LabelPatch::default();
        for index in 0..MAX_LABELS {
            full.put(&format!("l{index}"), Some("1")).unwrap();
        }
        assert_eq!(patched.patched(&full), Err(LabelError::TooMany));
        assert!(Labels::none().patched(&full).is_ok());
    }

    #[test]
    fn what_is_no_label_is_refused() {
        let (long, longest) = ("a".repeat(33), "é".repeat(128));
        for name in ["", "A", "1a", "_a", "a-b", "a:b", "a b", "é", long.as_str()] {
            assert_eq!(Label::new(name, "1"), Err(LabelError::Name), "{name}");
        }
        for value in ["", " a", "a ", "a\n", "\u{7f}", "\u{85}", &format!("{longest}é")] {
            assert_eq!(Label::new("a", value), Err(LabelError::Value), "{value:?}");
        }
        assert_eq!(Label::parse("a:b:c").map(|label| label.value().to_owned()), Ok("b:c".into()));
        assert!(Label::new("a", &longest).is_ok());
    }

    #[cfg(any(feature = "redis", feature = "sqlite"))]
    #[test]
    fn bytes_are_read_as_they_were_written() {
        for labels in [Labels::none(), labels(&[("a", &"é".repeat(128)), ("b_9", "1 2")])] {
            let bytes = labels.to_bytes();
            assert_eq!(Labels::from_bytes(&bytes), Some(labels.clone()));
            if !bytes.is_empty() {
                assert_eq!(Labels::from_bytes(&bytes[..bytes.len() - 1]), None);
            }
        }
    }
}
