//! Answers that are given before the body was read: whoever sends it sees them. The soak `clients` asks more often.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use e2e::early::{CLIENTS, Stand, WRONG_KEY, answers};
use e2e::http::status;
use e2e::pserve::{Pserve, Site};
use e2e::tls::{Frames, frame, get, make_pair};

fn each_client_sees_each_early_answer(is_tls: bool) {
    let stand = Stand::start(is_tls);
    stand.use_up_the_free_attempts();
    let mut wrong = Vec::new();
    for client in CLIENTS {
        for size in [60_000, 5_000_000] {
            wrong.extend(stand.ask(client, &answers(client, size), size));
        }
        wrong.extend(stand.ask(client, &[WRONG_KEY], 1_200_000));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_client_sees_each_early_answer_without_tls() {
    each_client_sees_each_early_answer(false);
}

#[test]
fn each_client_sees_each_early_answer_over_tls() {
    each_client_sees_each_early_answer(true);
}

fn start() -> (Site, Pserve) {
    let site = Site::new();
    site.ini("[auth]\napikey=right\n[plugin_parms]\nsessman=backend=memory&allow_open_login=true");
    let pserve = site.start();
    (site, pserve)
}

/// What comes for a request on a connection of its own until it is closed, or until nothing more comes.
fn said(pserve: &Pserve, request: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(pserve.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let is_closed = stream.read_to_end(&mut answer).is_ok();
    (String::from_utf8_lossy(&answer).to_lowercase(), is_closed)
}

#[test]
fn verify_does_not_wait_for_a_body_that_is_announced_and_does_not_come() {
    let (_site, pserve) = start();
    let head = "GET /sessman/verify HTTP/1.1\r\nHost: localhost\r\n";
    for length in ["Content-Length: 5", "Content-Length: 3000000", "Transfer-Encoding: chunked"] {
        let started = Instant::now();
        let (answer, is_closed) = said(&pserve, &format!("{head}{length}\r\n\r\n"));
        // Less than request_timeout, by far.
        assert!(started.elapsed() < Duration::from_secs(20), "{length}: {:?}", started.elapsed());
        assert!(is_closed && answer.starts_with("http/1.1 401"), "{length}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{length}: {answer}");
    }
    // A body that is there keeps nothing from going on.
    let (answer, is_closed) = said(&pserve, &format!("{head}Content-Length: 5\r\n\r\nhello{head}\r\n"));
    assert_eq!((answer.matches("http/1.1 401").count(), is_closed), (2, false), "{answer}");
}

#[test]
fn a_small_rest_is_read_so_that_the_connection_goes_on() {
    let (_site, pserve) = start();
    let request = |length: usize| {
        format!(
            "POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{}",
            "x".repeat(length)
        )
    };
    for length in [1, 1_000, 60_000] {
        let (answer, is_closed) = said(&pserve, &request(length).repeat(2));
        assert_eq!((answer.matches("http/1.1 404").count(), is_closed), (2, false), "{length}: {answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    // In two packets, as some clients send.
    let mut stream = TcpStream::connect(pserve.address()).unwrap();
    stream.set_nodelay(true).unwrap();
    for part in ["POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n", "hello"].repeat(2) {
        stream.write_all(part.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer.matches("HTTP/1.1 404").count(), 2, "{answer}");
    // What is larger ends the connection, and is told.
    let (answer, is_closed) = said(&pserve, &request(70_000));
    assert!(is_closed && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(status(&answer.to_uppercase()), Some(404));
}

#[test]
fn nobody_is_told_to_continue_with_a_body_that_is_not_read() {
    let (_site, pserve) = start();
    for (target, refused) in [("/none", "404"), ("/reload/all", "401")] {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        );
        let (answer, is_closed) = said(&pserve, &head);
        assert!(is_closed && answer.starts_with(&format!("http/1.1 {refused}")), "{answer}");
    }
}

#[test]
fn a_client_that_goes_on_sending_delays_no_stop() {
    let (_site, pserve) = start();
    let mut stream = TcpStream::connect(pserve.address()).unwrap();
    stream
        .write_all(b"POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000000\r\n\r\n")
        .unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(first, *b"HTTP/1.1 404");
    let sending = std::thread::spawn(move || {
        // Enough for it to be listened to.
        while stream.write_all(&[b'x'; 65_536]).is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let asked = Instant::now();
    assert!(pserve.stop().success());
    // It would be listened to for 10 s.
    assert!(asked.elapsed() < Duration::from_secs(7), "{:?}", asked.elapsed());
    sending.join().unwrap();
}

#[test]
fn a_client_that_answers_no_ping_delays_no_stop() {
    let site = Site::new();
    make_pair(&site, "a");
    site.ini("[ssl]\nenabled=true\ncertfile=a.pem\nkeyfile=a.key\n[log]\naccess=true\n[plugin_parms]\nsessman=backend=memory");
    let pserve = site.start();
    let mut idle = Frames::connect(pserve.address(), &[]);
    assert!(idle.send(&frame(1, 5, 1, &get("/sessman/get"))));
    pserve.wait_for_log("route=\"/sessman/get\"");
    let asked = Instant::now();
    assert!(pserve.stop().success());
    // It would be waited for as long as shutdown_grace, 10 s.
    assert!(asked.elapsed() < Duration::from_secs(7), "{:?}", asked.elapsed());
    drop(idle);
}

#[test]
fn a_client_that_never_stops_sending_is_left_after_a_while() {
    let (_site, pserve) = start();
    let mut stream = TcpStream::connect(pserve.address()).unwrap();
    let started = Instant::now();
    stream
        .write_all(b"POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000000\r\n\r\n")
        .unwrap();
    let mut sent = 0;
    while let Ok(length) = stream.write(&[b'x'; 65_536]) {
        sent += length;
        assert!(sent < 1 << 30, "{sent} bytes were taken");
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    // One that sends a byte now and then is left sooner.
    let mut slow = TcpStream::connect(pserve.address()).unwrap();
    slow.write_all(b"POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000000\r\n\r\n").unwrap();
    let started = Instant::now();
    while slow.write_all(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(100));
        assert!(started.elapsed() < Duration::from_secs(60), "it is listened to for ever");
    }
}
