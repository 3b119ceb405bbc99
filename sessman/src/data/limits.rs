//! What every store can hold, and the errors for the rest.

/// The deepest nesting of arrays and objects. MongoDB allows 100 levels, of which the record itself is the first.
pub const MAX_NESTING: usize = 99;

/// Why a text or value cannot be data.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DataError {
    /// It is not JSON.
    #[error("not JSON: {0}")]
    Malformed(String),
    /// It is JSON that not every store can hold.
    #[error("{} cannot be stored: {reason}", place(pointer))]
    NotStorable {
        /// Where, as a JSON pointer (RFC 6901); empty for the whole.
        pointer: String,
        /// What is wrong there.
        reason: &'static str,
    },
}

/// Characters of a place that are shown: enough to find it.
const MAX_PLACE: usize = 200;

/// On one line: keys come from the client, and may contain line breaks.
fn place(pointer: &str) -> String {
    if pointer.is_empty() {
        return "the value".into();
    }
    let mut text = "the value at ".to_owned();
    for character in pointer.chars().take(MAX_PLACE) {
        match character.is_control() {
            true => text.extend(character.escape_default()),
            false => text.push(character),
        }
    }
    if pointer.chars().nth(MAX_PLACE).is_some() {
        text.push_str("...");
    }
    text
}
