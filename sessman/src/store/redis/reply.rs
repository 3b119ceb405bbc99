//! The parser of replies: RESP, version 2.

use redis::Value;

use super::failure::Refusal;

/// The deepest nesting of lists; no reply to our commands has more.
pub(super) const DEPTH: usize = 8;

/// The longest line in bytes; a longer one is an error.
const LINE: usize = 16 * 1_024;

/// The most capacity reserved for a list in advance, as the announced length may be false.
const RESERVED: usize = 1_024;

/// A reply, including error replies.
pub(super) type Answer = Result<Value, Refusal>;

/// The bytes are not the Redis protocol.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// An incremental parser: bytes arrive piece by piece.
#[derive(Default)]
pub(super) struct Replies {
    /// Incomplete lists, from the outside in: the length of each, and its items so far.
    lists: Vec<(usize, Vec<Value>)>,
}

/// A token of a reply.
enum Part {
    Whole(Answer),
    /// The start of a list with this many items.
    List(usize),
}

impl Replies {
    /// The next reply, once it is complete; parsed bytes are removed from the beginning of `bytes`.
    ///
    /// # Errors
    /// [`Malformed`], after which the parser cannot continue.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Answer>, Malformed> {
        while let Some((part, rest)) = part(bytes)? {
            *bytes = rest;
            match part {
                Part::List(count) if count > 0 => {
                    if self.lists.len() == DEPTH {
                        return Err(Malformed);
                    }
                    self.lists.push((count, Vec::with_capacity(count.min(RESERVED))));
                }
                Part::List(_) => {
                    if let Some(answer) = self.put(Value::Array(Vec::new())) {
                        return Ok(Some(Ok(answer)));
                    }
                }
                Part::Whole(Ok(value)) => {
                    if let Some(answer) = self.put(value) {
                        return Ok(Some(Ok(answer)));
                    }
                }
                // No list in a reply to our commands contains an error.
                Part::Whole(Err(_)) if !self.lists.is_empty() => return Err(Malformed),
                Part::Whole(refused) => return Ok(Some(refused)),
            }
        }
        Ok(None)
    }

    /// Capacity reserved in incomplete lists, in values.
    #[cfg(feature = "fuzzing")]
    pub(super) fn room(&self) -> usize {
        self.lists.iter().map(|(_, items)| items.capacity()).sum()
    }

    /// Adds a value to the innermost list; returns the reply if this completes it.
    fn put(&mut self, mut value: Value) -> Option<Value> {
        while let Some((count, mut items)) = self.lists.pop() {
            items.push(value);
            if items.len() < count {
                self.lists.push((count, items));
                return None;
            }
            value = Value::Array(items);
        }
        Some(value)
    }
}

/// The first token of `bytes`, and the rest; `None` if it is incomplete.
fn part(bytes: &[u8]) -> Result<Option<(Part, &[u8])>, Malformed> {
    let Some(end) = bytes.windows(2).take(LINE).position(|pair| pair == b"\r\n") else {
        return if bytes.len() > LINE { Err(Malformed) } else { Ok(None) };
    };
    let (line, rest) = (&bytes[..end], &bytes[end + 2..]);
    let (kind, line) = line.split_first().ok_or(Malformed)?;
    if *kind == b'-' {
        // It may repeat bytes that were sent, which may not be UTF-8.
        return Ok(Some((Part::Whole(Err(Refusal::read(&String::from_utf8_lossy(line)))), rest)));
    }
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let whole = |value| Ok(Some((Part::Whole(Ok(value)), rest)));
    match kind {
        b'+' if line == "OK" => whole(Value::Okay),
        b'+' => whole(Value::SimpleString(line.to_owned())),
        b':' => whole(Value::Int(number(line)?)),
        b'$' | b'*' if line == "-1" => whole(Value::Nil),
        b'$' => {
            let length: usize = number(line)?;
            let all = length.checked_add(2).ok_or(Malformed)?;
            let Some((text, rest)) = rest.split_at_checked(all) else { return Ok(None) };
            let text = text.strip_suffix(b"\r\n").ok_or(Malformed)?;
            Ok(Some((Part::Whole(Ok(Value::BulkString(text.to_vec()))), rest)))
        }
        b'*' => Ok(Some((Part::List(number(line)?), rest))),
        _ => Err(Malformed),
    }
}

fn number<T: std::str::FromStr>(line: &str) -> Result<T, Malformed> {
    line.parse().map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::redis::failure::Server;

    fn all(replies: &mut Replies, mut bytes: &[u8]) -> Result<(Vec<Answer>, usize), Malformed> {
        let mut answers = Vec::new();
        while let Some(answer) = replies.next(&mut bytes)? {
            answers.push(answer);
        }
        Ok((answers, bytes.len()))
    }

    #[test]
    fn answers_are_read_wherever_they_are_cut() {
        let text = |text: &str| Value::BulkString(text.into());
        let bytes = b"+OK\r\n$5\r\na\r\nbc\r\n:-7\r\n-MOVED 3 b:1\r\n*3\r\n*0\r\n*1\r\n$0\r\n\r\n$-1\r\n+QUEUED\r\n*-1\r\n";
        let expected = [
            Ok(Value::Okay),
            Ok(text("a\r\nbc")),
            Ok(Value::Int(-7)),
            Err(Refusal { code: "MOVED".into(), place: Some("b:1".into()), server: Server::default() }),
            Ok(Value::Array(vec![Value::Array(vec![]), Value::Array(vec![text("")]), Value::Nil])),
            Ok(Value::SimpleString("QUEUED".into())),
            Ok(Value::Nil),
        ];
        for cut in 0..=bytes.len() {
            let mut replies = Replies::default();
            let (mut answers, left) = all(&mut replies, &bytes[..cut]).unwrap();
            let (more, left) = all(&mut replies, &bytes[cut - left..]).unwrap();
            answers.extend(more);
            assert_eq!((answers.as_slice(), left), (expected.as_slice(), 0), "cut at {cut}");
        }
    }

    #[test]
    fn an_error_may_repeat_what_is_no_text() {
        let bytes = b"-ERR unknown command '\xff\x00'\r\n-\xff\x1b[2J\r\n:1\r\n";
        let refused = |code: &str| Err(Refusal { code: code.into(), place: None, server: Server::default() });
        let answers = all(&mut Replies::default(), bytes).unwrap().0;
        assert_eq!(answers, [refused("ERR"), refused("UNKNOWN"), Ok(Value::Int(1))]);
    }

    #[test]
    fn what_no_redis_sends_is_refused() {
        let deep = "*1\r\n".repeat(DEPTH + 1);
        for bytes in [
            "HTTP/1.1 400\r\n",
            "\r\n",
            "$x\r\n",
            "$-2\r\n",
            "*-7\r\n",
            ":\r\n",
            "$1\r\nabc",
            "*1\r\n-ERR\r\n",
            &deep,
        ] {
            assert_eq!(all(&mut Replies::default(), bytes.as_bytes()), Err(Malformed), "{bytes:?}");
        }
        for bytes in [format!("${}\r\n", usize::MAX), "+".repeat(LINE + 1)] {
            assert_eq!(all(&mut Replies::default(), bytes.as_bytes()), Err(Malformed));
        }
    }

    proptest::proptest! {
        /// Pieces of answers, and anything else.
        #[test]
        fn what_is_read_does_not_depend_on_where_it_is_cut(
            bytes in "([-+:$*][-0-9]{0,2}(\r\n)?|[a-z\r\n]{0,4}){0,12}",
            cut in 0_usize..40,
        ) {
            let whole = all(&mut Replies::default(), bytes.as_bytes());
            let mut replies = Replies::default();
            let in_two = all(&mut replies, &bytes.as_bytes()[..cut.min(bytes.len())]).and_then(|(mut answers, left)| {
                let (more, left) = all(&mut replies, &bytes.as_bytes()[cut.min(bytes.len()) - left..])?;
                answers.extend(more);
                Ok((answers, left))
            });
            proptest::prop_assert_eq!(in_two, whole);
        }
    }
}
