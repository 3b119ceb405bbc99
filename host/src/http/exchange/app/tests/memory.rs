//! What bodies and answers take, and of whom.

use tokio::time::Instant;

use super::*;
use crate::budget::SMALL;
use crate::http::exchange::completion::WITHOUT_ANSWER;
use crate::http::message::untaken::Untaken;

/// The least that a configuration may have: strangers have some two MiB of it, and one of them half of that.
const LITTLE: &str = "[limits]\nmax_memory=67108864\nrequest_timeout=3\n";

fn spaces(count: usize) -> String {
    " ".repeat(count)
}

#[tokio::test]
async fn a_larger_body_needs_its_key_in_a_header() {
    let app = app(KEYED).await;
    let (small, large) = (spaces(SMALL), spaces(SMALL + 1));
    for path in ["open", "service", "session"] {
        let path = format!("POST /probe/{path}");
        let refused = send(&app, &path, &[], &large).await;
        assert!(refused.status == 413 && refused.text.contains("X-Custom-Auth"), "{}", refused.text);
        assert_eq!(send(&app, &path, &[BEARER], &large).await.status, 200);
    }
    assert_eq!(send(&app, "POST /probe/open", &[], &small).await.status, 200);
    // A key that comes with it counts up to there.
    let with_key = |length: usize| format!("{{\"apikey\":\"k1\",\"a\":\"{}\"}}", "x".repeat(length - 22));
    assert_eq!(send(&app, "POST /probe/service", &[], &with_key(SMALL)).await.status, 200);
    assert_eq!(send(&app, "POST /probe/service", &[], &with_key(SMALL + 1)).await.status, 413);
    assert_eq!(app.budget().taken(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_with_a_large_body_is_one_that_was_tried() {
    let app = app(KEYED).await;
    let wrong = [("x-custom-auth", "no")];
    for _ in 0..10 {
        assert_eq!(send(&app, "POST /probe/service", &wrong, &spaces(SMALL + 1)).await.status, 413);
    }
    assert_eq!(send(&app, "POST /probe/service", &wrong, "").await.status, 429);
}

#[tokio::test]
async fn a_live_session_lets_a_larger_body_in() {
    let large = spaces(SMALL + 1);
    let guarded = app(GUARDED).await;
    let live = [("x-session-id", "live")];
    for (path, app) in [
        ("POST /probe/open", &guarded),
        ("POST /keeper", &app("[auth]\napikey=k1\n[plugin_parms]\nkeeper=\n").await),
    ] {
        assert!(send(app, path, &live, &large).await.status < 300, "{path}");
        assert_eq!(send(app, path, &[("x-session-id", "away")], &large).await.status, 503, "{path}");
        let dead = send(app, path, &[("x-session-id", "dead")], &large).await;
        assert_eq!(dead.status, if path == "POST /keeper" { 413 } else { 401 }, "{}", dead.text);
    }
}

#[tokio::test]
async fn what_is_open_takes_large_bodies_of_everybody() {
    assert_eq!(send(&app("").await, "POST /probe/open", &[], &spaces(1 << 20)).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn bodies_of_requests_that_wait_for_a_replacement_count() {
    let app = app(LITTLE).await;
    let instance = Arc::clone(app.snapshot().instances().next().unwrap());
    instance.suspend();
    let large = spaces(300_000);
    let mut waiting = Box::pin(send(&app, "POST /probe/open", &[], &large));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let refused = send(&app, "POST /probe/open", &[], &large).await;
    assert!(refused.status == 503 && refused.text.contains("max_memory"), "{}", refused.text);
    assert_eq!(refused.headers["retry-after"], "1");
    let mut empty = Box::pin(send(&app, "GET /probe/open", &[], ""));
    assert!(futures_util::poll!(&mut empty).is_pending(), "it needs no room");
    instance.resume();
    assert_eq!(waiting.await.status, 200);
    assert_eq!(empty.await.status, 200);
    for _ in 0..3 {
        assert_eq!(send(&app, "POST /probe/open", &[], &large).await.status, 200);
    }
    assert_eq!(app.budget().taken(), 0);
}

#[tokio::test(start_paused = true)]
async fn answers_count_until_they_were_taken() {
    let app = app(&format!("{KEYED}{LITTLE}")).await;
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = Request::builder().uri("/probe/open?".to_owned() + &"x".repeat(50_000));
        for (name, value) in [("host", "localhost")].iter().chain(headers) {
            request = request.header(*name, *value);
        }
        app.answer(request.body(Full::new(Bytes::new())).unwrap(), LOCAL).await
    };
    let (mut untaken, start) = (Vec::new(), Instant::now());
    let refused = loop {
        let answer = ask(&[]).await;
        if answer.status() != 200 {
            break answer;
        }
        untaken.push(answer);
    };
    assert_eq!((refused.status().as_u16(), start.elapsed()), (503, WITHOUT_ANSWER));
    assert!((5..100).contains(&untaken.len()), "{}", untaken.len());
    // Nobody with a key is held up by them.
    assert_eq!(ask(&[BEARER]).await.status(), 200);
    // Taken over by the connection, and still there.
    let mut frames = Vec::new();
    for answer in &mut untaken {
        frames.push(futures_util::poll!(answer.body_mut().frame()));
    }
    drop(untaken);
    assert!(app.budget().taken() > 500_000);
    drop(frames);
    assert_eq!(app.budget().taken(), 0);
    assert_eq!(ask(&[]).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_on_a_connection_of_many_is_soon_asked_nothing_more_for() {
    let app = app("").await;
    let untaken = Untaken::default();
    let ask = async || {
        let uri = "/probe/open?".to_owned() + &"x".repeat(50_000);
        let request = Request::builder().uri(uri).header("host", "localhost").extension(untaken.clone());
        app.answer(request.body(Full::new(Bytes::new())).unwrap(), LOCAL).await
    };
    let mut answers = Vec::new();
    for _ in 0..200 {
        answers.push(ask().await);
    }
    let taken = answers.iter().filter(|answer| answer.status() == 200).count();
    assert!((25..70).contains(&taken), "{taken}");
    assert_eq!(app.snapshot().instances().next().unwrap().requests.get(), taken as u64);
    drop(answers);
    assert_eq!(ask().await.status(), 200);
}
