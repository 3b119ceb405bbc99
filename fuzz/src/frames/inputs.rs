//! What a client may send on an HTTP/2 connection, made up, and how it takes what comes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::LONGEST;
use crate::choice::{one_of, optional};

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const WITH_PRIORITY: u8 = 0x20;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    /// So many milliseconds, in which the host does all that it can.
    Wait(u16),
    /// The host is told to end its connections.
    Stop,
}

/// What the client does with what the host writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    AtOnce,
    /// When it has sent all.
    Late,
    Never,
}

#[derive(Debug, Clone)]
pub(super) struct Input {
    /// Whether a request that nothing is wrong with comes first.
    pub(super) asks_first: bool,
    pub(super) steps: Vec<Step>,
    pub(super) reading: Reading,
    /// Bytes that are under way in each direction, at most.
    pub(super) room: usize,
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Text in a header block, not compressed.
fn string(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match text.len() {
        length @ 0..127 => bytes.push(length as u8),
        length => {
            bytes.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                bytes.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            bytes.push(rest as u8);
        }
    }
    bytes.extend_from_slice(text);
    bytes
}

fn field(name: &str, value: &[u8]) -> Vec<u8> {
    [&[0][..], &string(name.as_bytes()), &string(value)].concat()
}

/// `GET` or `POST`.
pub(super) fn request(method: u8, path: &str) -> Vec<u8> {
    [&[method, 0x87, 0x04][..], &string(path.as_bytes()), &[0x01], &string(b"localhost")].concat()
}

pub(super) const GET: u8 = 0x82;
const POST: u8 = 0x83;

const PATHS: &[&str] = &[
    "/made/now",
    "/made/late",
    "/made/never",
    "/made/large",
    "/made/pieces",
    "/made/breaks",
    "/healthz",
    "/metrics",
    "/nothing",
    "*",
    "",
    "made",
    "/made/now?\u{7f}",
    "//x:y@z/",
];

const FIELDS: &[(&str, &str)] = &[
    ("content-length", "0"),
    ("content-length", "5"),
    ("content-length", "18446744073709551616"),
    ("transfer-encoding", "chunked"),
    ("connection", "close"),
    ("te", "trailers"),
    ("te", "gzip"),
    ("expect", "100-continue"),
    ("host", "elsewhere"),
    ("cookie", "a=b"),
    ("Upper", "a"),
    ("", ""),
    (":path", "/made/now"),
    (":method", "HEAD"),
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":status", "200"),
    ("x", "\r\n"),
    ("x-forwarded-for", "10.0.0.1"),
];

/// What a header block is made of: whole fields, indices, sizes of the table, text that is compressed and wrong, numbers that
/// do not end.
const BLOCK: &[&[u8]] = &[
    &[0x82],
    &[0x83],
    &[0x84],
    &[0x87],
    &[0x80],
    &[0xbe],
    &[0xc0],
    &[0xff, 0x00],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0x20],
    &[0x3f, 0xe1, 0x1f],
    &[0x3f, 0xe1, 0xff, 0xff, 0x7f],
    &[0x41, 0x01, b'a'],
    &[0x40, 0x01, b'x', 0x01, b'y'],
    &[0x40, 0x81, 0x1f, 0x81, 0x1f],
    &[0x40, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00],
    &[0x10, 0x01, b'x', 0x7f, 0xff, 0xff, 0x7f],
    &[0x0f],
];

fn id() -> impl Strategy<Value = u32> {
    one_of![
        9 => prop::sample::select(vec![1, 3, 5, 7, 9]),
        2 => prop::sample::select(vec![0, 2, 4, 0x7fff_ffff, 0x8000_0001, u32::MAX]),
        1 => any::<u32>(),
    ]
}

fn block() -> impl Strategy<Value = Vec<u8>> {
    let request = (prop::sample::select(vec![GET, POST]), prop::sample::select(PATHS));
    let piece = one_of![
        4 => prop::sample::select(FIELDS).prop_map(|(name, value)| field(name, value.as_bytes())),
        4 => prop::sample::select(BLOCK).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..6),
        1 => (0..30_000_usize).prop_map(|length| field("x-long", &vec![b'a'; length])),
        1 => (prop::sample::select(BLOCK), 0..2_000_usize).prop_map(|(piece, times)| piece.repeat(times)),
    ];
    let request = one_of![
        9 => request.prop_map(|(method, path)| self::request(method, path)),
        1 => Just(Vec::new()),
    ];
    let pieces = one_of![3 => Just(Vec::new()), 2 => vec(piece, 0..5)];
    (request, pieces).prop_map(|(request, pieces)| [request, pieces.concat()].concat())
}

/// A header block in frames of `size` bytes, each with so much padding; the last may be missing.
fn block_frames(stream: u32, flags: u8, block: &[u8], size: usize, ends: bool) -> Vec<u8> {
    let mut pieces = block.chunks(size.max(1)).peekable();
    let mut kind = HEADERS;
    let mut frames = Vec::new();
    loop {
        let piece = pieces.next().unwrap_or_default();
        let is_last = pieces.peek().is_none();
        let mut payload = Vec::new();
        if kind == HEADERS && flags & PADDED != 0 {
            payload.push(3);
        }
        if kind == HEADERS && flags & WITH_PRIORITY != 0 {
            payload.extend_from_slice(&[0, 0, 0, 7, 1]);
        }
        payload.extend_from_slice(piece);
        if kind == HEADERS && flags & PADDED != 0 {
            payload.extend_from_slice(&[0; 3]);
        }
        let flags = if kind == HEADERS { flags & !END_HEADERS } else { 0 };
        let flags = flags | if is_last && ends { END_HEADERS } else { 0 };
        frames.extend(frame(kind, flags, stream, &payload));
        kind = CONTINUATION;
        if is_last {
            return frames;
        }
    }
}

fn headers() -> impl Strategy<Value = Vec<u8>> {
    let flags = one_of![
        6 => prop::sample::select(vec![0, END_STREAM]),
        1 => prop::sample::select(vec![PADDED, WITH_PRIORITY, END_STREAM | PADDED | WITH_PRIORITY]),
    ];
    let size = one_of![4 => Just(LONGEST - 9), 1 => 1..20_usize, 1 => 1..20_000_usize];
    (id(), flags, block(), size, prop::bool::weighted(0.9))
        .prop_map(|(stream, flags, block, size, ends)| block_frames(stream, flags, &block, size, ends))
}

fn settings() -> impl Strategy<Value = Vec<u8>> {
    let value = prop::sample::select(vec![
        0,
        1,
        2,
        100,
        16_383,
        16_384,
        65_535,
        16_777_215,
        16_777_216,
        0x7fff_ffff,
        0x8000_0000,
        u32::MAX,
    ]);
    let setting = (one_of![9 => 0..10_u16, 1 => any::<u16>()], value);
    let of = |(id, value): (u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    (
        id_of_connection(),
        vec(setting.prop_map(of), 0..5),
        one_of![9 => Just(0), 2 => Just(1), 1 => any::<u8>()],
    )
        .prop_map(|(stream, settings, flags)| frame(SETTINGS, flags, stream, &settings.concat()))
}

/// Mostly 0.
fn id_of_connection() -> impl Strategy<Value = u32> {
    one_of![15 => Just(0), 1 => id()]
}

fn number() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![0, 1, 100, 65_535, 1_000_000, 0x7fff_ffff, 0x8000_0000, u32::MAX])
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    let body = one_of![4 => 0..20_usize, 1 => 0..17_000_usize].prop_map(|length| vec![b'd'; length]);
    let padding = one_of![3 => Just(None), 1 => any::<(u8, u8)>().prop_map(Some)];
    (id(), any::<bool>(), body, padding).prop_map(|(stream, ends, body, padding)| {
        let flags = if ends { END_STREAM } else { 0 };
        match padding {
            None => frame(DATA, flags, stream, &body),
            Some((said, there)) => {
                let payload = [&[said][..], &body, &vec![0; there.into()]].concat();
                frame(DATA, flags | PADDED, stream, &payload)
            }
        }
    })
}

fn other() -> impl Strategy<Value = Vec<u8>> {
    let four = |kind| {
        (id(), number()).prop_map(move |(stream, number)| frame(kind, 0, stream, &number.to_be_bytes()))
    };
    let window = (one_of![id_of_connection(), id()], number())
        .prop_map(|(stream, number)| frame(WINDOW_UPDATE, 0, stream, &number.to_be_bytes()));
    let priority = (id(), id(), any::<u8>()).prop_map(|(stream, parent, weight)| {
        frame(PRIORITY, 0, stream, &[&parent.to_be_bytes()[..], &[weight]].concat())
    });
    let ping = (id_of_connection(), 0..2_u8).prop_map(|(stream, flags)| frame(PING, flags, stream, &[7; 8]));
    let goaway = (id_of_connection(), id(), number(), vec(any::<u8>(), 0..9)).prop_map(
        |(stream, last, code, more)| {
            frame(GOAWAY, 0, stream, &[&last.to_be_bytes()[..], &code.to_be_bytes(), &more].concat())
        },
    );
    let promise = (id(), id(), block()).prop_map(|(stream, promised, block)| {
        frame(PUSH_PROMISE, END_HEADERS, stream, &[&promised.to_be_bytes()[..], &block].concat())
    });
    let any_kind = (any::<u8>(), any::<u8>(), id(), vec(any::<u8>(), 0..20))
        .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload));
    one_of![
        2 => four(RST_STREAM),
        3 => window,
        1 => priority,
        2 => ping,
        1 => goaway,
        1 => promise,
        1 => any_kind,
    ]
}

/// The same many times, on a stream of its own each time where it is about one.
fn storm() -> impl Strategy<Value = Vec<u8>> {
    let times = 1..300_u32;
    let each = |make: fn(u32) -> Vec<u8>, times: u32| (0..times).flat_map(|n| make(2 * n + 1)).collect();
    let make: Vec<fn(u32) -> Vec<u8>> = vec![
        |stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, &request(GET, "/made/now")),
        |stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, &request(GET, "/made/large")),
        |stream| frame(HEADERS, END_HEADERS, stream, &request(POST, "/made/late")),
        |stream| {
            let headers = frame(HEADERS, END_STREAM | END_HEADERS, stream, &request(GET, "/made/never"));
            [headers, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
        },
        |stream| {
            let headers = frame(HEADERS, END_HEADERS, stream, &request(POST, "/made/now"));
            [headers, frame(DATA, END_STREAM, stream, &[b'd'; 1_000])].concat()
        },
        |stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, &[0x82]),
        |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]),
        |_| frame(PING, 0, 0, &[7; 8]),
        |_| frame(CONTINUATION, 0, 1, &field("x", &[b'a'; 300])),
        |_| frame(CONTINUATION, 0, 1, &[]),
        |_| frame(DATA, 0, 1, &[]),
        |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0xff, 0xff]),
        |_| frame(0xfa, 0, 0, &[0; 100]),
    ];
    (prop::sample::select(make), times).prop_map(move |(make, times)| each(make, times))
}

fn step() -> impl Strategy<Value = Step> {
    let frame = one_of![4 => headers(), 2 => settings(), 3 => data(), 4 => other(), 1 => storm()];
    let length = prop::sample::select(vec![0, 1, 4, 8, 9, 16_384, 16_385, 0xff_ffff]);
    // Some say that they are of another length, and some end early.
    let frame = one_of![
        9 => frame,
        1 => (other(), length).prop_map(|(mut frame, length): (Vec<u8>, u32)| {
            frame[..3].copy_from_slice(&length.to_be_bytes()[1..]);
            frame
        }),
        1 => (headers(), any::<prop::sample::Index>())
            .prop_map(|(frame, end)| frame[..end.index(frame.len())].to_vec()),
    ];
    one_of![
        12 => frame.prop_map(Step::Send),
        1 => vec(any::<u8>(), 0..30).prop_map(Step::Send),
        3 => one_of![0..3_u16, 0..10_000_u16].prop_map(Step::Wait),
        1 => Just(Step::Stop),
    ]
}

pub(super) fn input() -> impl Strategy<Value = Input> {
    let begin = one_of![
        12 => Just([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()),
        1 => Just(PREFACE.to_vec()),
        1 => Just(PREFACE[..10].to_vec()),
        1 => Just(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec()),
    ];
    let reading = one_of![4 => Just(Reading::AtOnce), 1 => Just(Reading::Late), 1 => Just(Reading::Never)];
    let room = one_of![3 => Just(1 << 16), 1 => 1..2_000_usize];
    (optional(begin), vec(step(), 0..10), reading, room).prop_map(|(begin, mut steps, reading, room)| {
        // What has no beginning here begins with a request, which is answered.
        let asks_first = begin.is_none();
        if let Some(begin) = begin {
            steps.insert(0, Step::Send(begin));
        }
        let reading = if asks_first { Reading::AtOnce } else { reading };
        Input { asks_first, steps, reading, room }
    })
}
