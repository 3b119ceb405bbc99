use futures_util::FutureExt as _;
use redis::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{sleep, timeout};

use super::*;
use crate::store::redis::failure::{Refusal, Server};

/// So long other tasks have their turns.
const PAUSE: Duration = Duration::from_millis(20);

/// A connection, and its other end, with so much room in between.
fn wire(room: usize) -> (Arc<Wire>, DuplexStream) {
    let (near, far) = duplex(room);
    (Arc::new(Wire::new(Box::new(near))), far)
}

/// A call in a task of its own.
fn call(wire: &Arc<Wire>, name: &str) -> JoinHandle<Outcome> {
    let (wire, command, deadline) = (Arc::clone(wire), redis::cmd(name), soon());
    tokio::spawn(async move { wire.send(&command, deadline).await })
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn packed(names: &[&str]) -> Vec<u8> {
    names.iter().flat_map(|name| redis::cmd(name).get_packed_command()).collect()
}

/// What arrives, once it is as long as these commands.
async fn assert_arrives(far: &mut DuplexStream, names: &[&str]) {
    let expected = packed(names);
    let mut bytes = vec![0; expected.len()];
    timeout(Duration::from_secs(5), far.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(bytes, expected);
}

fn number(number: i64) -> Outcome {
    Ok(Ok(Value::Int(number)))
}

#[tokio::test]
async fn calls_of_one_thread_leave_together_and_get_their_answers_in_order() {
    let (wire, mut far) = wire(1_024);
    let calls: Vec<_> = ["A", "B", "C"].iter().map(|name| call(&wire, name)).collect();
    let mut bytes = [0; 1_024];
    let count = far.read(&mut bytes).await.unwrap();
    assert_eq!(bytes[..count], packed(&["A", "B", "C"]), "in one piece");
    far.write_all(b":1\r\n-ERR no\r\n:3").await.unwrap();
    far.write_all(b"\r\n").await.unwrap();
    let refused = Ok(Err(Refusal { code: "ERR".into(), place: None, server: Server::default() }));
    for (call, expected) in calls.into_iter().zip([number(1), refused, number(3)]) {
        assert_eq!(call.await.unwrap(), expected);
    }
}

#[tokio::test]
async fn what_a_call_that_went_away_was_to_send_is_sent() {
    let (wire, mut far) = wire(1_024);
    let (first, second) = (redis::cmd("A"), redis::cmd("B"));
    let mut leader = Box::pin(wire.send(&first, soon()));
    let mut follower = Box::pin(wire.send(&second, soon()));
    assert_eq!((&mut leader).now_or_never(), None);
    assert_eq!((&mut follower).now_or_never(), None);
    drop(leader);
    assert_arrives(&mut far, &["A", "B"]).await;
    far.write_all(b":1\r\n:2\r\n").await.unwrap();
    assert_eq!(follower.await, number(2));
}

#[tokio::test]
async fn what_the_connection_does_not_take_at_once_the_task_sends() {
    let (wire, mut far) = wire(4);
    let calls: Vec<_> = ["A", "B", "C"].iter().map(|name| call(&wire, name)).collect();
    assert_arrives(&mut far, &["A", "B", "C"]).await;
    let another = call(&wire, "D");
    assert_arrives(&mut far, &["D"]).await;
    far.write_all(b":0\r\n:1\r\n:2\r\n:3\r\n").await.unwrap();
    for (call, expected) in calls.into_iter().chain([another]).zip(0..) {
        assert_eq!(call.await.unwrap(), number(expected));
    }
}

#[tokio::test]
async fn who_goes_away_with_an_answer_wakes_the_others() {
    let (wire, mut far) = wire(1_024);
    let command = redis::cmd("A");
    let mut first = Box::pin(wire.send(&command, soon()));
    assert_eq!([(&mut first).now_or_never(), (&mut first).now_or_never()], [None, None]);
    let others = [call(&wire, "B"), call(&wire, "C")];
    sleep(PAUSE).await;
    assert_eq!((&mut first).now_or_never(), None);
    assert_arrives(&mut far, &["A", "B", "C"]).await;
    far.write_all(b":1\r\n:2\r\n:3\r\n").await.unwrap();
    yield_now().await;
    drop(first);
    for (call, expected) in others.into_iter().zip(2..) {
        assert_eq!(call.await.unwrap(), number(expected));
    }
}

#[tokio::test]
async fn who_stands_still_holds_up_nobody_for_long() {
    let (wire, mut far) = wire(1_024);
    let command = redis::cmd("A");
    let mut first = Box::pin(wire.send(&command, soon()));
    assert_eq!((&mut first).now_or_never(), None);
    let second = call(&wire, "B");
    assert_arrives(&mut far, &["A", "B"]).await;
    far.write_all(b":1\r\n:2\r\n").await.unwrap();
    assert_eq!(timeout(Duration::from_secs(1), second).await.unwrap().unwrap(), number(2));
    assert_eq!(first.await, number(1));
}

#[tokio::test]
async fn several_commands_get_their_answers_whoever_is_woken_first() {
    let (wire, mut far) = wire(1_024);
    let before = call(&wire, "A");
    let several = tokio::spawn(async move {
        let commands = ["B", "C", "D"].map(redis::cmd);
        wire.send_all(&commands.each_ref(), soon()).await
    });
    assert_arrives(&mut far, &["A", "B", "C", "D"]).await;
    far.write_all(b":1\r\n:2\r\n").await.unwrap();
    assert_eq!(before.await.unwrap(), number(1));
    far.write_all(b":3\r\n:4\r\n").await.unwrap();
    assert_eq!(several.await.unwrap(), Ok([2, 3, 4].map(|number| Ok(Value::Int(number))).into()));
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told_so_and_the_next_answer_is_not_theirs() {
    let (wire, mut far) = wire(1_024);
    let began = Instant::now();
    let send = async |name: &str, seconds| {
        let answer = wire.send(&redis::cmd(name), began + Duration::from_secs(seconds)).await;
        (answer, began.elapsed().as_secs())
    };
    let late = async {
        let sooner = tokio::join!(send("A", 4), send("B", 2), send("C", 3));
        assert_eq!(sooner, ((Err(Lost::Late), 4), (Err(Lost::Late), 2), (Err(Lost::Late), 3)));
        far.write_all(b":1\r\n:2\r\n:3\r\n:4\r\n").await.unwrap();
    };
    let ((), (last, _)) = tokio::join!(late, send("D", 9));
    assert_eq!(last, number(4));
}

#[tokio::test]
async fn a_connection_that_ends_ends_its_calls() {
    for (bytes, end) in [("", Lost::Broken), ("HTTP/1.1 400\r\n", Lost::Malformed)] {
        let (wire, mut far) = wire(1_024);
        let calls = [call(&wire, "A"), call(&wire, "B")];
        assert_arrives(&mut far, &["A", "B"]).await;
        far.write_all(bytes.as_bytes()).await.unwrap();
        drop(far);
        for call in calls {
            assert_eq!(call.await.unwrap(), Err(end));
        }
        assert!(!wire.is_open());
        assert_eq!(wire.send(&redis::cmd("C"), soon()).await, Err(end));
    }
}

#[tokio::test]
async fn what_comes_before_the_end_is_an_answer_and_one_that_nobody_asked_for_is_the_end() {
    for (bytes, end) in [(":1\r\n:2\r\n", Lost::Broken), (":1\r\nHTTP\r\n", Lost::Malformed)] {
        let (wire, mut far) = wire(1_024);
        let asked = call(&wire, "A");
        assert_arrives(&mut far, &["A"]).await;
        far.write_all(bytes.as_bytes()).await.unwrap();
        assert_eq!(asked.await.unwrap(), number(1));
        sleep(PAUSE).await;
        assert_eq!(wire.send(&redis::cmd("B"), soon()).await, Err(end));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_answers_is_given_up_though_nobody_waits_any_more() {
    let (wire, _far) = wire(1_024);
    let command = redis::cmd("B");
    assert_eq!(wire.send(&command, soon()).now_or_never(), None);
    assert!(wire.is_open());
    sleep(Duration::from_secs(6)).await;
    assert!(!wire.is_open());
}

#[tokio::test]
async fn an_answer_may_be_longer_than_the_room_for_it() {
    let (wire, mut far) = wire(1_024);
    let long = call(&wire, "A");
    assert_arrives(&mut far, &["A"]).await;
    let text = "x".repeat(5 * ROOM);
    far.write_all(format!("${}\r\n{text}\r\n", text.len()).as_bytes()).await.unwrap();
    assert_eq!(long.await.unwrap(), Ok(Ok(Value::BulkString(text.into()))));
}
