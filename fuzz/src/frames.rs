//! What a client sends on a connection that speaks HTTP/2.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, Once};
use std::time::Duration;

use futures_util::stream;
use plugin_api::{Class, Plugin, Request, Response, Route};
use proptest::collection::vec;
use proptest::prelude::*;
use pserve::fuzzing::{Host, Taken};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::choice::{one_of, optional};
use crate::door::{Door, door};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 0x20;

/// Bytes of the longest frame that is written: nobody has to take more.
const LONGEST: usize = 16_384;

/// In which everything has ended that a connection began: the longest time that the rest of a body is taken, and some.
const END: Duration = Duration::from_secs(4);
/// In which the client can have sent all, whatever the host waits for.
const SENDING: Duration = Duration::from_secs(3_600);

const INI: &str = "\
    [limits]\nmax_memory=67108864\nmax_body=65536\nmax_in_flight=40\nheader_timeout=2\nrequest_timeout=3\n\
    keepalive_timeout=5\n[log]\naccess=false\n[plugin_parms]\nmade=auth_type=none\n";

/// Answers in the ways that there are.
struct Made;

impl Plugin for Made {
    const NAME: &'static str = "made";
    const VERSION: &'static str = "1";
    const ANSWERS_NOW: bool = true;

    fn prepare(_: plugin_api::Host) -> Result<Self, String> {
        Ok(Self)
    }

    fn routes(&self) -> Vec<Route> {
        let route = |path| Route::new(path, &["GET", "POST"], Class::Public);
        ["now", "late", "never", "large", "pieces", "breaks"].map(route).into()
    }

    fn handle_now(&self, request: Request<'_>) -> Option<Response> {
        (request.route() == 0).then(|| Response::text(200, "now"))
    }

    async fn handle(&self, request: Request<'_>) -> Response {
        match request.route() {
            1 => sleep(Duration::from_millis(1_500)).await,
            2 => std::future::pending().await,
            3 => return Response::text(200, "x".repeat(200_000)),
            4 => return Response::stream(200, stream::iter((0..40).map(|_| Ok(vec![b'x'; 5_000])))),
            5 => {
                return Response::stream(
                    200,
                    stream::iter([Ok(vec![b'x'; 10]), Err("it breaks".to_owned())]),
                );
            }
            _ => {}
        }
        Response::new(200).with_body(request.body())
    }
}

#[derive(Debug, Clone)]
enum Step {
    Send(Vec<u8>),
    /// So many milliseconds, in which the host does all that it can.
    Wait(u16),
    /// The host is told to end its connections.
    Stop,
}

/// What the client does with what the host writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    AtOnce,
    /// When it has sent all.
    Late,
    Never,
}

#[derive(Debug, Clone)]
struct Input {
    /// Whether a request that nothing is wrong with comes first.
    asks_first: bool,
    steps: Vec<Step>,
    reading: Reading,
    /// Bytes that are under way in each direction, at most.
    room: usize,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
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
fn request(method: u8, path: &str) -> Vec<u8> {
    [&[method, 0x87, 0x04][..], &string(path.as_bytes()), &[0x01], &string(b"localhost")].concat()
}

const GET: u8 = 0x82;
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

fn input() -> impl Strategy<Value = Input> {
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

thread_local! {
    /// Panics in tasks are caught there.
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// Counts them.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            before(panic);
        }));
    });
}

/// A host, in a time that passes when there is nothing else to do.
struct Bench {
    runtime: Runtime,
    host: Arc<Host>,
    taken: Taken,
    tasks: usize,
}

impl Bench {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime starts");
        let host = Arc::new(runtime.block_on(Host::start::<Made>(INI)));
        let (taken, tasks) = (host.taken(), runtime.metrics().num_alive_tasks());
        Self { runtime, host, taken, tasks }
    }

    /// What the host writes to a client, when all has ended that the client began.
    fn serve(&self, input: &Input) -> Vec<u8> {
        self.runtime.block_on(async {
            let (client, stream) = duplex(input.room);
            let host = Arc::clone(&self.host);
            let serving = tokio::spawn(async move { host.http2(stream).await });
            let output = self.speak(client, input).await;
            let served = timeout(END, serving).await.expect("the connection goes on without the client");
            // Why it ended early is the client's to know.
            let _ = served.expect("a connection does not panic");
            let left = || (self.host.taken(), tokio::runtime::Handle::current().metrics().num_alive_tasks());
            let ended = timeout(END, async {
                while left() != (self.taken, self.tasks) {
                    sleep(Duration::from_millis(100)).await;
                }
            });
            if ended.await.is_err() {
                panic!("{:?} after the connection; before it {:?}", left(), (self.taken, self.tasks));
            }
            output
        })
    }

    async fn speak(&self, client: DuplexStream, input: &Input) -> Vec<u8> {
        let (mut from, mut to) = split(client);
        let (sent, all_sent) = oneshot::channel();
        let send = async {
            for step in &input.steps {
                match step {
                    // One that has ended takes nothing more.
                    Step::Send(bytes) => drop(to.write_all(bytes).await),
                    Step::Wait(time) => sleep(Duration::from_millis((*time).into())).await,
                    Step::Stop => self.host.stop(),
                }
            }
            let _ = to.shutdown().await;
            let _ = sent.send(());
        };
        let receive = async {
            let mut output = Vec::new();
            if input.reading == Reading::Late {
                let _ = all_sent.await;
            }
            if input.reading != Reading::Never {
                let _ = from.read_to_end(&mut output).await;
            }
            output
        };
        let both = async { tokio::join!(timeout(SENDING, send), receive) };
        let (sent, output) = timeout(SENDING + END, both).await.expect("the connection does not end");
        sent.expect("the connection takes nothing and does not end");
        output
    }
}

/// What holds for all that a host writes. It comes back by the streams that it was written to. Not all of the last frame is
/// there if the client `was_late`.
fn are_frames(mut output: &[u8], was_late: bool) -> HashMap<u32, Vec<u8>> {
    let mut streams: HashMap<u32, Vec<u8>> = HashMap::new();
    let mut ended: HashMap<u32, u8> = HashMap::new();
    let mut open = None;
    let mut is_first = true;
    while !output.is_empty() {
        let Some((head, rest)) = output.split_first_chunk::<9>() else {
            assert!(was_late, "a frame begins and is not whole");
            break;
        };
        let [high, middle, low, kind, flags, id @ ..] = *head;
        let (length, stream) = (u32::from_be_bytes([0, high, middle, low]) as usize, u32::from_be_bytes(id));
        assert!(length <= LONGEST, "a frame of {length} bytes");
        let Some((payload, rest)) = rest.split_at_checked(length) else {
            assert!(was_late, "a frame is not whole");
            break;
        };
        output = rest;
        assert!(!is_first || (kind, flags) == (SETTINGS, 0), "the first frame is of the kind {kind}");
        is_first = false;
        assert!(open.is_none() || (kind, Some(stream)) == (CONTINUATION, open), "in a header block: {kind}");
        let is_about_stream = match (kind, length) {
            (DATA | HEADERS | CONTINUATION, _) | (RST_STREAM, 4) => Some(true),
            (SETTINGS, _) if length.is_multiple_of(6) => Some(false),
            (PING, 8) | (GOAWAY, 8..) => Some(false),
            (WINDOW_UPDATE, 4) => None,
            _ => panic!("a frame of the kind {kind} with {length} bytes"),
        };
        assert!(
            is_about_stream.is_none_or(|is| is == (stream != 0)),
            "the kind {kind} on the stream {stream}"
        );
        let before = ended.get(&stream);
        match kind {
            DATA | HEADERS => {
                assert!(before.is_none(), "the kind {kind} behind the end of the stream {stream}");
                assert!(stream % 2 == 1, "an answer on the stream {stream}, which is no client's");
                assert!(kind == HEADERS || streams.contains_key(&stream), "a body without headers");
                streams.entry(stream).or_default().extend_from_slice(payload);
                if flags & END_STREAM != 0 {
                    ended.insert(stream, kind);
                }
                open = (kind == HEADERS && flags & END_HEADERS == 0).then_some(stream);
            }
            CONTINUATION => open = (flags & END_HEADERS == 0).then_some(stream),
            RST_STREAM => {
                assert_ne!(before, Some(&RST_STREAM), "the stream {stream} is reset twice");
                ended.insert(stream, RST_STREAM);
            }
            _ => {}
        }
    }
    streams
}

fn check(input: &Input, bench: &RefCell<Option<Bench>>) {
    count_panics();
    let before = PANICS.get();
    // One in which something did not hold is not used again.
    let used = bench.take().unwrap_or_else(Bench::new);
    let mut input = input.clone();
    if input.asks_first {
        let headers = frame(HEADERS, END_STREAM | END_HEADERS, 1, &request(GET, "/made/now"));
        let first = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &headers].concat();
        input.steps.splice(0..0, [Step::Send(first), Step::Wait(1)]);
    }
    let output = used.serve(&input);
    assert_eq!(PANICS.get(), before, "a panic");
    let streams = are_frames(&output, input.reading != Reading::AtOnce);
    if input.asks_first {
        let answer = streams.get(&1).expect("the first request has no answer");
        // The status 200 is in the table of those that every side knows.
        assert!(answer.starts_with(&[0x88]) && answer.ends_with(b"now"), "{}", answer.escape_ascii());
    }
    bench.replace(Some(used));
}

pub(crate) fn open() -> Box<dyn Door> {
    let bench = RefCell::new(None);
    let read = |bytes: &[u8]| Input {
        asks_first: false,
        steps: vec![Step::Send(bytes.to_vec()), Step::Wait(1)],
        reading: Reading::AtOnce,
        room: 1 << 16,
    };
    let seeds: &[&[u8]] = &[
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x19\x01\x05\0\0\0\x01\
          \x82\x87\x04\x0a/made/late\x01\x09localhost",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x1a\x01\x04\0\0\0\x01\
          \x83\x87\x04\x0b/made/large\x01\x09localhost\0\0\x03\0\x01\0\0\0\x01abc",
    ];
    Box::new(door(input(), move |input: Input| check(&input, &bench)).raw(read, seeds).words(&[
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "/made/now",
        "/made/large",
        "/made/pieces",
        "content-length",
    ]))
}
