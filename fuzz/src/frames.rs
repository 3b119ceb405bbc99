//! What a client sends on a connection that speaks HTTP/2.

mod inputs;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, Once};
use std::time::Duration;

use futures_util::stream;
use plugin_api::{Class, Plugin, Request, Response, Route};
use pserve::fuzzing::{Host, Taken};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use self::inputs::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, Input, PING, PREFACE, RST_STREAM,
    Reading, SETTINGS, Step, WINDOW_UPDATE, frame, input, request,
};
use crate::door::{Door, door};

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

/// Whether the client ends in the middle of a frame.
fn breaks_off(steps: &[Step]) -> bool {
    let sent: Vec<u8> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Send(bytes) => Some(bytes.as_slice()),
            Step::Wait(_) | Step::Stop => None,
        })
        .flatten()
        .copied()
        .collect();
    let Some(mut frames) = sent.strip_prefix(PREFACE) else { return true };
    while let Some((&[high, middle, low, ..], rest)) = frames.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        match rest.get(length..) {
            Some(rest) => frames = rest,
            None => return true,
        }
    }
    !frames.is_empty()
}

/// What holds for all that a host writes. It comes back by the streams that it was written to. Not all of the last frame is
/// there if the client read too late, or broke the connection off: then it `may_be_cut`.
fn are_frames(mut output: &[u8], may_be_cut: bool) -> HashMap<u32, Vec<u8>> {
    let mut streams: HashMap<u32, Vec<u8>> = HashMap::new();
    let mut ended: HashMap<u32, u8> = HashMap::new();
    let mut open = None;
    let mut is_first = true;
    while !output.is_empty() {
        let Some((head, rest)) = output.split_first_chunk::<9>() else {
            assert!(may_be_cut, "a frame begins and is not whole");
            break;
        };
        let [high, middle, low, kind, flags, id @ ..] = *head;
        let (length, stream) = (u32::from_be_bytes([0, high, middle, low]) as usize, u32::from_be_bytes(id));
        assert!(length <= LONGEST, "a frame of {length} bytes");
        let Some((payload, rest)) = rest.split_at_checked(length) else {
            assert!(may_be_cut, "a frame is not whole");
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
            // Also for the second time: a frame that comes behind a reset is answered by another (RFC 9113, section 5.1).
            RST_STREAM => _ = ended.insert(stream, RST_STREAM),
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
    let streams = are_frames(&output, input.reading != Reading::AtOnce || breaks_off(&input.steps));
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
