//! What a Redis server answers.

use proptest::collection::vec;
use proptest::prelude::*;
use redis::Value;
use sessman::store::redis::replies::{Answer, DEPTH, NotRedis, Reader};

use crate::choice::{nested, one_of};
use crate::door::{Door, door};

/// Inputs that are read byte by byte, too.
const SHORT: usize = 256;
/// Pieces that a long one is read in, at most: who waits for the end of a line looks at all of it each time.
const PIECES_OF_LONG: usize = 50;
/// Values that a list has room for when it begins.
const RESERVED: usize = 1_024;
/// Bytes that a part of an answer has at the least.
const LEAST: usize = 3;

const PIECES: &[&str] = &[
    "+OK\r\n",
    "+",
    "-",
    ":",
    "$",
    "*",
    "*-1\r\n",
    "$-1\r\n",
    "*0\r\n",
    "*1\r\n",
    "*2\r\n",
    "$0\r\n\r\n",
    "$3\r\na\r\n\r\n",
    ":7\r\n",
    "-MOVED 3999 127.0.0.1:6381\r\n",
    "-ERR Error running script (call to f_4): @user_script:1: @user_script: 1: -READONLY no\r\n",
    "-ERR max number of clients reached\r\n",
    "\r\n",
    "\r",
    "\n",
    "-1",
    "0",
    "1",
    "12",
    "+1",
    "00",
    " ",
    "$999999999\r\n",
    "*99999999\r\n",
    "$18446744073709551615\r\n",
    "$18446744073709551613\r\n",
    "*18446744073709551615\r\n",
    ":-9223372036854775808\r\n",
    ":9223372036854775808\r\n",
    "%1\r\n",
    "~1\r\n",
    ">2\r\n",
    "_\r\n",
    "#t\r\n",
    ",1.5\r\n",
    "=7\r\ntxt:abc\r\n",
    "!5\r\nERR a\r\n",
    "\u{fc}",
];

#[derive(Debug, Clone)]
enum Input {
    /// What a server may answer.
    Whole(Vec<Value>),
    /// Anything at all.
    Any(Vec<u8>),
}

/// Pieces in which it comes, by their lengths; these again and again.
type Cuts = Vec<u16>;

fn value() -> impl Strategy<Value = Value> {
    let text = one_of![
        6 => vec(any::<u8>(), 0..12),
        2 => Just(b"a\r\n".to_vec()),
        1 => (0..40_000_usize).prop_map(|length| vec![b'\r'; length]),
    ];
    let line = one_of![
        6 => "[ -~]{0,12}",
        2 => Just("OK".to_owned()),
        1 => (0..16_000_usize).prop_map(|length| "x".repeat(length)),
    ];
    let simple = |line: String| if line == "OK" { Value::Okay } else { Value::SimpleString(line) };
    let scalar = one_of![
        4 => text.prop_map(Value::BulkString),
        2 => any::<i64>().prop_map(Value::Int),
        1 => line.prop_map(simple),
        1 => Just(Value::Nil),
    ];
    let list = |inner| one_of![30 => vec(inner, 0..4), 1 => (0..2_000_usize).prop_map(|length| vec![Value::Nil; length])];
    nested(scalar.boxed(), DEPTH, move |inner| list(inner).prop_map(Value::Array).boxed())
}

fn input() -> impl Strategy<Value = Input> {
    let piece = one_of![
        12 => prop::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
        1 => (prop::sample::select(PIECES), 0..40_usize).prop_map(|(piece, times)| piece.repeat(times).into_bytes()),
        1 => (0..20_000_usize).prop_map(|length| vec![b'a'; length]),
        2 => value().prop_map(|value| written(&[value])),
    ];
    one_of![
        1 => vec(value(), 0..4).prop_map(Input::Whole),
        2 => vec(piece, 0..16).prop_map(|pieces| Input::Any(pieces.concat())),
    ]
}

/// As a server writes it.
fn written(values: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        let line = match value {
            Value::Nil => "$-1".to_owned(),
            Value::Okay => "+OK".to_owned(),
            Value::Int(number) => format!(":{number}"),
            Value::SimpleString(line) => format!("+{line}"),
            Value::BulkString(text) => format!("${}", text.len()),
            Value::Array(items) => format!("*{}", items.len()),
            other => panic!("no answer in this version of RESP: {other:?}"),
        };
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        match value {
            Value::BulkString(text) => bytes.extend([&text[..], b"\r\n"].concat()),
            Value::Array(items) => bytes.extend(written(items)),
            _ => {}
        }
    }
    bytes
}

/// What was read of bytes: the answers, with the bytes that each ended at, and whether what comes then is none.
#[derive(Debug, PartialEq)]
struct Seen {
    answers: Vec<(Answer, usize)>,
    error: Option<NotRedis>,
}

/// Reads pieces as they come, with what was not read of those before.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Seen {
    let mut reader = Reader::default();
    let mut seen = Seen { answers: Vec::new(), error: None };
    let (mut unread, mut came) = (Vec::new(), 0);
    for piece in pieces {
        unread.extend_from_slice(piece);
        came += piece.len();
        let mut bytes = &unread[..];
        loop {
            let next = reader.next(&mut bytes);
            // A vector that grows has room for twice as many.
            let room = DEPTH * RESERVED + 2 * came / LEAST;
            assert!(reader.room() <= room, "room for {} values after {came} bytes", reader.room());
            match next {
                Ok(Some(answer)) => seen.answers.push((answer, came - bytes.len())),
                Ok(None) => break,
                Err(error) => {
                    seen.error = Some(error);
                    return seen;
                }
            }
        }
        let read = unread.len() - bytes.len();
        unread.drain(..read);
    }
    seen
}

/// How deep it is, and the bytes and places that it has room for.
fn measure(value: &Value) -> (usize, usize, usize) {
    match value {
        Value::BulkString(text) => (0, text.capacity(), 0),
        Value::SimpleString(text) => (0, text.capacity(), 0),
        Value::Array(items) => {
            let (depth, bytes, places) = items
                .iter()
                .map(measure)
                .fold((0, 0, 0), |all, one| (all.0.max(one.0), all.1 + one.1, all.2 + one.2));
            (depth + 1, bytes, places + items.capacity())
        }
        _ => (0, 0, 0),
    }
}

/// What holds for an answer, which these bytes are.
fn is_an_answer(answer: &Answer, bytes: &[u8]) {
    let value = match answer {
        Ok(value) => value,
        Err((code, place)) => {
            let is_word = code.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_'));
            assert!(is_word, "{code:?} goes into the log");
            assert!(code.len() + place.as_ref().map_or(0, String::len) <= 3 * bytes.len().max(10));
            return;
        }
    };
    let (depth, room, places) = measure(value);
    assert!(depth <= DEPTH + 1 && room <= bytes.len() && places <= 2 * bytes.len() / LEAST + 4);
    match redis::parse_redis_value(bytes) {
        Ok(other) => assert_eq!(*value, other, "another reader reads something else"),
        Err(error) => panic!("another reader says {error} to {value:?}"),
    }
}

fn check(input: &Input, cuts: &[u16]) {
    let bytes = match input {
        Input::Whole(values) => written(values),
        Input::Any(bytes) => bytes.clone(),
    };
    let whole = read([&bytes[..]].into_iter());
    if let Input::Whole(values) = input {
        let expected: Vec<_> = values.iter().cloned().map(Ok).collect();
        let read: Vec<_> = whole.answers.iter().map(|(answer, _)| answer.clone()).collect();
        assert_eq!((read, whole.error), (expected, None));
    }
    let mut start = 0;
    for (answer, end) in &whole.answers {
        is_an_answer(answer, &bytes[start..*end]);
        start = *end;
    }
    if bytes.len() <= SHORT {
        assert_eq!(read(bytes.chunks(1)), whole, "byte by byte");
    }
    let mut rest = &bytes[..];
    let mut lengths = cuts.iter().cycle();
    let pieces = std::iter::from_fn(|| {
        let length = usize::from(*lengths.next().unwrap_or(&1)).max(bytes.len() / PIECES_OF_LONG);
        let length = length.clamp(1, rest.len().max(1));
        let piece = rest.split_off(..length);
        piece.filter(|piece| !piece.is_empty())
    });
    assert_eq!(read(pieces), whole, "in pieces");
}

pub(crate) fn open() -> Box<dyn Door> {
    let cuts = vec(one_of![1..20_u16, any::<u16>()], 1..6);
    let seeds: &[&[u8]] = &[
        b"+OK\r\n$5\r\na\r\nbc\r\n:-7\r\n-MOVED 3 b:1\r\n*3\r\n*0\r\n*1\r\n$0\r\n\r\n$-1\r\n+QUEUED\r\n*-1\r\n",
        b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
        b"$999999999\r\nabc",
        b"*99999999\r\n:1\r\n",
    ];
    let read = |bytes: &[u8]| (Input::Any(bytes.to_vec()), vec![7, 1, 100]);
    let check = |(input, cuts): (Input, Cuts)| check(&input, &cuts);
    Box::new(door((input(), cuts), check).raw(read, seeds).words(&[
        "\r\n",
        "+OK\r\n",
        "$-1\r\n",
        "*1\r\n",
        "$1\r\n",
        "-MOVED ",
        "-ASK ",
        "ERR Error running script (call to ",
        "): ",
        "@user_script:",
        "*99999999\r\n",
        "18446744073709551615",
    ]))
}
