//! TLS and HTTP/2, seen with curl and openssl.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use e2e::pserve::{Pserve, Site, eventually};
use e2e::tls::{Frames, curl, frame, get, make_pair, s_client};
use serde_json::Value;

const LINE: &str = "[plugin_parms]\nsessman=backend=memory&auth_type=none\n";

fn ini(rest: &str) -> String {
    format!("[auth]\napikey=k\n[ssl]\nenabled=true\ncertfile=a.pem\nkeyfile=a.key\n{rest}\n{LINE}")
}

fn start(rest: &str) -> (Site, Pserve) {
    let site = Site::new();
    make_pair(&site, "a");
    site.ini(&ini(rest));
    let pserve = site.start();
    (site, pserve)
}

/// Status, protocol version and the rest of the answer, headers included.
fn request(site: &Site, pserve: &Pserve, arguments: &[&str], path: &str) -> (u16, String, String) {
    let url = format!("https://{}{path}", pserve.address());
    let asked = [arguments, &["-i", "-w", "\n%{http_code} %{http_version}", &url]].concat();
    let output = curl(&site.path("a.pem"), &asked);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (answer, summary) = text.rsplit_once('\n').unwrap_or_else(|| panic!("{output:?}"));
    let (status, version) = summary.split_once(' ').unwrap_or_else(|| panic!("{output:?}"));
    (status.parse().unwrap(), version.to_owned(), answer.to_owned())
}

fn body(answer: &str) -> Value {
    let text = answer.replace('\r', "");
    serde_json::from_str(text.rsplit("\n\n").next().unwrap_or_default()).unwrap_or(Value::Null)
}

#[test]
fn curl_gets_the_protocol_that_it_asks_for_and_plugins_learn_that_it_is_https() {
    let (site, pserve) = start("");
    for (flag, expected) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let (status, version, answer) = request(&site, &pserve, &[flag, "-d", "{}"], "/sessman/new");
        assert_eq!((status, version.as_str()), (201, expected), "{answer}");
        let cookie = answer.lines().find(|line| line.to_lowercase().starts_with("set-cookie:")).unwrap();
        assert!(cookie.contains("; Secure"), "{cookie}");
        let id = body(&answer)["session_id"].as_str().unwrap().to_owned();
        let (status, _, answer) = request(&site, &pserve, &[flag], &format!("/sessman/get?session_id={id}"));
        assert_eq!(status, 200, "{answer}");
        // A page of the same origin, as the browser names it.
        let own = format!("Origin: https://{}", pserve.address());
        assert_eq!(request(&site, &pserve, &[flag, "-H", &own, "-d", "{}"], "/sessman/new").0, 201);
        let (status, _, head) = request(&site, &pserve, &[flag, "--head"], "/healthz");
        assert!(status == 200 && head.to_lowercase().contains("content-length: 15\r\n"), "{head}");
        let other = format!("Origin: http://{}", pserve.address());
        assert_eq!(request(&site, &pserve, &[flag, "-H", &other, "-d", "{}"], "/sessman/new").0, 403);
    }
    // Without TLS there is no answer that could be taken for one.
    let plain =
        e2e::http::exchange(pserve.address(), b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", false);
    assert!(!plain.contains("HTTP"), "{plain}");
    let healthcheck = |arguments: &[&str]| {
        let mut command = std::process::Command::new(e2e::artifacts().join("pserve"));
        command.args(["healthcheck", "--timeout", "30", "--address", pserve.address()]).args(arguments);
        command.output().unwrap().status.success()
    };
    assert!(healthcheck(&["--tls"]) && !healthcheck(&[]));
    // Many at a time on one connection.
    let url = format!("https://{}/healthz?[1-300]", pserve.address());
    let arguments =
        ["--http2", "--parallel", "--parallel-max", "150", "-o", "/dev/null", "-w", "%{http_code}\n", &url];
    let output = String::from_utf8(curl(&site.path("a.pem"), &arguments).stdout).unwrap();
    assert_eq!(output.matches("200").count(), 300, "{output}");
    assert!(pserve.stop().success());
}

#[test]
fn versions_below_the_minimum_are_refused() {
    let shakes = |pserve: &Pserve, version: &str| {
        let arguments = [version, "-cipher", "ALL:@SECLEVEL=0"];
        let output = s_client(pserve.address(), &arguments).output().expect("openssl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("CONNECTED"), "{output:?}");
        output.status.success() && !text.contains("Cipher is (NONE)")
    };
    let (_site, pserve) = start("");
    assert_eq!(
        ["-tls1", "-tls1_1", "-tls1_2", "-tls1_3"].map(|version| shakes(&pserve, version)),
        [false, false, true, true]
    );
    let (_site, pserve) = start("min_version=1.3");
    assert_eq!(
        ["-tls1_1", "-tls1_2", "-tls1_3"].map(|version| shakes(&pserve, version)),
        [false, false, true]
    );
}

#[test]
fn answers_say_that_nothing_is_to_be_guessed_and_over_tls_that_it_is_https_alone() {
    let told = |ssl: &str| {
        let (site, pserve) = start(ssl);
        ["/healthz", "/sessman/get", "/none"].map(|path| {
            let url = format!("https://{}{path}", pserve.address());
            let output = curl(&site.path("a.pem"), &["-D", "-", "-o", "/dev/null", "--http1.1", &url]);
            let answer = String::from_utf8(output.stdout).unwrap();
            assert!(answer.contains("\r\nx-content-type-options: nosniff\r\n"), "{answer}");
            let strict = answer.lines().find_map(|line| line.strip_prefix("strict-transport-security: "));
            strict.map(str::to_owned)
        })
    };
    assert_eq!(told(""), [0; 3].map(|_| Some("max-age=31536000".to_owned())));
    assert_eq!(told("hsts_seconds=60"), [0; 3].map(|_| Some("max-age=60".to_owned())));
    assert_eq!(told("hsts_seconds=0"), [None, None, None]);
    let site = Site::new();
    let plain = site.start().client().get("/healthz").expect(200);
    assert_eq!(plain.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(plain.header("strict-transport-security"), None);
}

/// The certificate that a client is shown.
fn shown(pserve: &Pserve) -> String {
    let output = s_client(pserve.address(), &["-showcerts"]).output().expect("openssl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let begin = text.find("-----BEGIN").unwrap_or_else(|| panic!("{output:?}"));
    let end = text.find("-----END").unwrap();
    text[begin..end].to_owned()
}

#[test]
fn a_certificate_is_swapped_by_a_reload_and_a_broken_one_is_not() {
    let (site, pserve) = start("");
    let file = |name: &str| fs::read_to_string(site.path(name)).unwrap();
    let before = shown(&pserve);
    assert!(file("a.pem").contains(&before));
    make_pair(&site, "b");
    let reload = |trusted: &str| {
        let url = format!("https://{}/reload/all", pserve.address());
        let arguments = ["-X", "POST", "-H", "X-Custom-Auth: k", &url];
        String::from_utf8(curl(&site.path(trusted), &arguments).stdout).unwrap()
    };
    // The key of another certificate.
    let good = file("a.key");
    fs::copy(site.path("b.key"), site.path("a.key")).unwrap();
    let refused = reload("a.pem");
    assert!(refused.contains("nothing was changed") && refused.contains("a.key"), "{refused}");
    assert!(!refused.contains("BEGIN"), "{refused}");
    assert_eq!(shown(&pserve), before);
    fs::write(site.path("a.key"), good).unwrap();

    fs::copy(site.path("a.pem"), site.path("old.pem")).unwrap();
    fs::copy(site.path("b.pem"), site.path("a.pem")).unwrap();
    fs::copy(site.path("b.key"), site.path("a.key")).unwrap();
    let done = reload("old.pem");
    assert!(done.contains("kept"), "{done}");
    assert!(file("b.pem").contains(&shown(&pserve)));
    // TLS itself can be switched off in the same way.
    site.ini(&format!("[auth]\napikey=k\n{LINE}"));
    reload("b.pem");
    pserve.client().get("/healthz").expect(200);
}

#[test]
fn a_missing_or_broken_pair_is_named_and_not_printed() {
    let site = Site::new();
    make_pair(&site, "a");
    site.ini(&ini(""));
    let key = fs::read_to_string(site.path("a.key")).unwrap();
    let secret = key.lines().nth(1).unwrap().to_owned();
    for (name, content) in [("a.pem", "nothing"), ("a.key", "nothing")] {
        let before = fs::read(site.path(name)).unwrap();
        site.write(name, content);
        let log = site.try_start().err().expect("it does not start");
        assert!(log.contains(name) && log.contains("[ssl]") && !log.contains(&secret), "{log}");
        fs::remove_file(site.path(name)).unwrap();
        let log = site.try_start().err().expect("it does not start");
        assert!(log.contains("cannot read") && !log.contains(&secret), "{log}");
        site.write(name, before);
    }
    site.write("a.key", key.replace("-----END", "*----END"));
    let log = site.try_start().err().expect("it does not start");
    assert!(log.contains("a.key") && !log.contains(&secret), "{log}");
}

#[test]
fn limits_hold_for_http_2_and_say_so_in_problem_bodies() {
    let (site, pserve) = start("[limits]\nmax_body=1000\nrequest_timeout=1\n[log]\naccess=true");
    // curl itself sends no header block that is much longer.
    site.write("many", (100..1000).map(|n| format!("x-{n}: {}\n", "x".repeat(40))).collect::<String>());
    let many = format!("@{}", site.path("many").display());
    let (status, version, answer) = request(&site, &pserve, &["--http2", "-H", &many], "/healthz");
    assert_eq!((status, version.as_str(), &body(&answer)["status"]), (431, "2", &431.into()), "{answer}");
    let large = "x".repeat(2_000);
    let (status, _, answer) = request(&site, &pserve, &["--http2", "-d", &large], "/sessman/new");
    assert_eq!((status, &body(&answer)["status"]), (413, &413.into()), "{answer}");
    // A body that is announced and does not come.
    let mut curl = std::process::Command::new("curl")
        .args(["-sS", "--http2", "--cacert"])
        .arg(site.path("a.pem"))
        .args(["-T", "-", "-X", "POST", "-w", "%{http_code}"])
        .arg(format!("https://{}/sessman/new", pserve.address()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // curl itself ends only when there is no more to send.
    let input = curl.stdin.take();
    pserve.wait_for_log("status=408");
    drop(input);
    let answer = String::from_utf8(curl.wait_with_output().unwrap().stdout).unwrap();
    assert!(answer.ends_with("408"), "{answer}");
}

#[test]
fn a_client_that_does_not_get_on_is_left_on_http_2_too() {
    let (_site, pserve) = start("[limits]\nheader_timeout=2\nkeepalive_timeout=3\nrequest_timeout=4");
    let address = pserve.address();
    let block = get("/sessman/openapi.json");
    let wait = |what: &str, connection: &mut Frames| eventually(what, || connection.has_ended());

    // No handshake, no request, headers a byte at a time: within header_timeout.
    let silent = e2e::http::exchange(address, b"", false);
    assert_eq!(silent, "");
    wait("a connection without a request ends", &mut Frames::connect(address, &[]));
    let mut slow = Frames::connect(address, &[]);
    for byte in frame(1, 0, 1, &block[..4]) {
        slow.send(&[byte]);
    }
    eventually("headers a byte at a time end", || {
        // A continuation of one byte, and no end of it.
        slow.send(&frame(9, 0, 1, &[0x82]));
        std::thread::sleep(Duration::from_millis(100));
        slow.has_ended()
    });

    // After a request, pings do not keep it: keepalive_timeout.
    let mut idle = Frames::connect(address, &[]);
    idle.send(&frame(1, 5, 1, &block));
    eventually("an idle connection ends", || {
        idle.send(&frame(6, 0, 0, &[0; 8]));
        std::thread::sleep(Duration::from_millis(100));
        idle.has_ended()
    });

    // No window for the answer, and other requests meanwhile: request_timeout.
    let no_window = [0, 4, 0, 0, 0, 0];
    let mut full = Frames::connect(address, &no_window);
    let mut stream = 1;
    eventually("a client that takes no answer is left", || {
        if stream < 199 {
            full.send(&frame(1, 5, stream, &get("/healthz")));
            stream += 2;
        }
        std::thread::sleep(Duration::from_millis(100));
        full.has_ended()
    });
    pserve.wait_for_log("listening");
}

#[test]
fn floods_of_resets_and_of_continuations_end_their_connection_alone() {
    // Nothing here is for want of time.
    let (site, pserve) = start("[limits]\nheader_timeout=600\nkeepalive_timeout=600\nrequest_timeout=600");
    let get = get("/healthz");
    let mut resets = Frames::connect(pserve.address(), &[]);
    let each = |stream| [frame(1, 5, stream, &get), frame(3, 0, stream, &[0, 0, 0, 8])].concat();
    let mut few = Frames::connect(pserve.address(), &[]);
    few.send(&(1..=9).step_by(2).flat_map(each).collect::<Vec<u8>>());
    resets.send(&(1..=253).step_by(2).flat_map(each).collect::<Vec<u8>>());
    eventually("a flood of resets ends", || resets.has_ended());

    let mut headers = Frames::connect(pserve.address(), &[]);
    headers.send(&frame(1, 0, 1, &get));
    eventually("a flood of continuations ends", || {
        headers.send(&frame(9, 0, 1, &[0x82]));
        headers.has_ended()
    });
    let (status, version, _) = request(&site, &pserve, &["--http2"], "/healthz");
    assert_eq!((status, version.as_str()), (200, "2"));
    assert!(!few.has_ended());
}
