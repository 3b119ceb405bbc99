//! Finds a place in JSON text and names it, for error messages.

/// The offset of the first integer literal that an `i64` cannot hold.
pub(super) fn integer_out_of_range(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let end = bytes[at..]
                    .iter()
                    .position(|byte| !matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
                    .map_or(bytes.len(), |length| at + length);
                let literal = &text[at..end];
                let digits = literal.strip_prefix('-').unwrap_or(literal);
                if digits.len() >= 19
                    && digits.bytes().all(|byte| byte.is_ascii_digit())
                    && !digits.starts_with('0')
                    && literal.parse::<i64>().is_err()
                {
                    return Some(at);
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    None
}

/// The JSON pointer (RFC 6901) of the value at `offset`. The text up to there need not be valid.
pub(super) fn pointer_at(text: &str, offset: usize) -> String {
    enum Step<'a> {
        Index(usize),
        /// The literal of the key, quotes included.
        Key(&'a str),
    }
    let bytes = text.as_bytes();
    let mut path: Vec<Step<'_>> = Vec::new();
    let mut at = 0;
    while at < offset.min(bytes.len()) {
        match bytes[at] {
            b'[' => path.push(Step::Index(0)),
            b'{' => path.push(Step::Key("")),
            b']' | b'}' => {
                path.pop();
            }
            b',' => {
                if let Some(Step::Index(index)) = path.last_mut() {
                    *index += 1;
                }
            }
            b'"' => {
                let end = end_of_string(bytes, at);
                let is_key = text[end..].trim_start().starts_with(':');
                if let (true, Some(Step::Key(key))) = (is_key, path.last_mut()) {
                    *key = &text[at..end];
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    path.iter()
        .map(|part| match part {
            Step::Index(index) => format!("/{index}"),
            Step::Key(literal) => step(&serde_json::from_str::<String>(literal).unwrap_or_default()),
        })
        .collect()
}

/// One step of a JSON pointer: `/` and the escaped key.
pub(super) fn step(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The offset after the string that begins at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}
