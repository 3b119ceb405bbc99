//! Values in replies: strings, lists of them, timestamps, and errors about foreign keys.

use redis::Value;

use super::failure::Trouble;
use super::reply::Answer;
use crate::time::Timestamp;

/// Errors about a key that holds a value of another type or layout.
pub(super) const NOT_OURS: [&str; 2] = ["WRONGTYPE", "SESSMAN_LAYOUT"];

/// The bytes of a string.
pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

/// The strings of a list.
pub(super) fn texts(value: Value) -> Option<Vec<Vec<u8>>> {
    let Value::Array(items) = value else { return None };
    items.into_iter().map(bytes).collect()
}

/// The reply about a key that a scan found; `None` for a value of another type, which is not ours.
pub(super) fn of_ours(answer: Answer) -> Result<Option<Value>, Trouble> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(refusal) if NOT_OURS.contains(&refusal.code.as_str()) => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}

/// Parses the reply to `TIME`: seconds and microseconds.
pub(super) fn moment(answer: Value) -> Option<Timestamp> {
    let parts = texts(answer)?;
    let mut parts = parts.iter().map(|part| std::str::from_utf8(part).ok()?.parse::<i64>().ok());
    let (seconds, micros) = (parts.next()??, parts.next()??);
    Some(Timestamp::from_millis(seconds.checked_mul(1_000)?.checked_add(micros / 1_000)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_clock_is_read() {
        let text = |text: &str| Value::BulkString(text.into());
        let answer = Value::Array(vec![text("1700000000"), text("123999")]);
        assert_eq!(moment(answer), Some(Timestamp::from_millis(1_700_000_000_123)));
        assert_eq!(moment(Value::Array(vec![text("x"), text("1")])), None);
        assert_eq!(moment(Value::Nil), None);
    }
}
