//! What Chromium makes of the session cookie: remember me, a frame of another site, `__Host-`, `Clear-Site-Data`; and
//! answers that race a rotation, whose cookie must not bring the old id back.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::browser::{Browser, Page};
use e2e::http::{Answer, Client};
use e2e::on_every_store;
use e2e::proxy::{Proxy, Weather};
use e2e::pserve::{Pserve, Site, eventually};
use e2e::redis::Redis;
use e2e::store::Store;
use serde_json::{Value, json};

on_every_store!(no_answer_brings_the_id_before_a_rotation_back);

/// What all pages use. `ask` says the status, and whose session it is.
const TOOLS: &str = r##"
const report = (found) => fetch("/report", { method: "POST", body: JSON.stringify(found) });
const ask = async (route, body) => {
    const init = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
    const answer = await fetch("/sessman/" + route, init);
    return [answer.status, (await answer.json()).user_id ?? null];
};
"##;

/// A site whose sessions are in memory and have this cookie, and a page of the same origin.
fn page(cookie: &Value, script: &str) -> (Site, Pserve, Page) {
    let site = Site::new();
    site.write("sessman.json", json!({ "backend": "memory", "cookie": cookie }).to_string());
    // Said to be open, as a host without a key takes no other name of this machine than localhost.
    site.ini("[plugin_parms]\nsessman=json=sessman.json&auth_type=none");
    let pserve = site.start();
    let page = Page::serve_before(&format!("{TOOLS}{script}"), &pserve);
    (site, pserve, page)
}

/// The visitor logs in, closes the browser, and opens the page again.
const REMEMBER: &str = r##"
(async () => {
    if (location.hash !== "#again") for (const [route, body] of STEPS) await ask(route, body);
    report(await ask("get"));
})();
"##;

/// Whether a visitor whose page took these steps still has the session in a browser that was closed and opened again.
fn is_remembered(cookie: &Value, steps: &Value) -> bool {
    let (site, _pserve, page) = page(cookie, &REMEMBER.replace("STEPS", &steps.to_string()));
    let url = page.url("app.site.localhost");
    let browser = Browser::open(&site, &url);
    assert_eq!(page.report(), json!([200, "ada"]), "{steps}");
    browser.close();
    let _browser = Browser::open(&site, &format!("{url}#again"));
    let report = page.report();
    assert!(report == json!([200, "ada"]) || report == json!([401, null]), "{steps}: {report}");
    report[0] == 200
}

#[test]
fn a_persistent_session_outlives_the_browser_and_another_one_does_not_in_chromium() {
    for persistent in [true, false] {
        let steps = json!([["new", { "user_id": "ada", "persistent": persistent }]]);
        assert_eq!(is_remembered(&json!({}), &steps), persistent);
    }
}

#[test]
fn a_login_that_makes_a_session_persistent_outlives_the_browser_in_chromium() {
    let steps = json!([["new", {}], ["rotate", { "user_id": "ada", "persistent": true }]]);
    assert!(is_remembered(&json!({}), &steps));
}

#[test]
fn a_touch_that_makes_a_session_persistent_outlives_the_browser_in_chromium() {
    let steps = json!([["new", { "user_id": "ada" }], ["touch", { "persistent": true }]]);
    assert!(is_remembered(&json!({}), &steps));
}

#[test]
fn a_rotation_that_forgets_ends_with_the_browser_in_chromium() {
    let steps =
        json!([["new", { "user_id": "ada", "persistent": true }], ["rotate", { "persistent": false }]]);
    assert!(!is_remembered(&json!({}), &steps));
}

#[test]
fn with_a_persistent_cookie_all_sessions_outlive_the_browser_in_chromium() {
    // A session that says nothing, and one that says no: the operator decides.
    for body in [json!({ "user_id": "ada" }), json!({ "user_id": "ada", "persistent": false })] {
        assert!(is_remembered(&json!({ "persistent": true }), &json!([["new", body]])));
    }
}

/// A visitor goes to two.localhost, to three.localhost and back to two.localhost, which embed app.one.localhost, and then to
/// that one itself. The frame begins a session where it has none; in three.localhost it ends the one that it has then.
const EMBED: &str = r##"
const go = (host, step) => location.href = `http://${host}.localhost:${location.port}/page#${step}`;
const next = { "": ["three", "other"], "#other": ["two", "back"], "#back": ["app.one", "itself"] };
if (window !== window.top) (async () => {
    const before = await ask("get");
    if (before[0] === 401) await ask("new", { user_id: location.hash });
    const after = await ask("get");
    if (location.hash === "#three") await ask("end", {});
    await report([before, after, await ask("get")]);
    parent.postMessage("done", "*");
})();
else if (location.hash === "#itself") (async () => report(await ask("get")))();
else {
    addEventListener("message", () => go(...next[location.hash]));
    const frame = document.createElement("iframe");
    const embedder = location.hostname.split(".")[0];
    frame.src = `http://app.one.localhost:${location.port}/page#${embedder}`;
    document.documentElement.append(frame);
}
"##;

/// What the frame found in two.localhost, three.localhost and two.localhost again, and what its site has itself.
fn embedded(partitioned: bool, blocks: bool) -> [Value; 4] {
    let (site, _pserve, page) =
        page(&json!({ "partitioned": partitioned, "same_site": "None", "name": "auto" }), EMBED);
    Browser::block_third_party_cookies(&site, blocks);
    let _browser = Browser::open(&site, &page.url("two.localhost"));
    [(); 4].map(|()| page.report())
}

fn is_one_for_each_site(blocks: bool) {
    let (none, two, three) = (json!([401, null]), json!([200, "#two"]), json!([200, "#three"]));
    let found = embedded(true, blocks);
    assert_eq!(found[0], json!([none, two, two]), "{found:?}");
    // The end is that of the session in this frame alone.
    assert_eq!(found[1], json!([none, three, none]), "{found:?}");
    assert_eq!(found[2], json!([two, two, two]), "{found:?}");
    assert_eq!(found[3], none, "{found:?}");
}

#[test]
fn a_partitioned_cookie_is_one_for_each_site_that_embeds_the_frame_in_chromium() {
    is_one_for_each_site(false);
}

#[test]
fn a_partitioned_cookie_is_not_one_of_the_third_party_cookies_that_chromium_blocks() {
    is_one_for_each_site(true);
}

#[test]
fn a_cookie_without_partitions_is_the_same_in_all_frames_in_chromium() {
    let (none, two) = (json!([401, null]), json!([200, "#two"]));
    let found = embedded(false, false);
    assert_eq!(found[0], json!([none, two, two]), "{found:?}");
    // It sees the session of the other frame, and ends it.
    assert_eq!(found[1], json!([two, two, none]), "{found:?}");
    assert_eq!(found[2], json!([none, two, two]), "{found:?}");
    assert_eq!(found[3], two, "{found:?}");
}

#[test]
fn a_cookie_without_partitions_is_not_taken_in_a_frame_where_chromium_blocks_third_party_cookies() {
    let none = json!([401, null]);
    let frame = json!([none, none, none]);
    assert_eq!(embedded(false, true), [frame.clone(), frame.clone(), frame, none]);
}

#[test]
fn the_name_auto_is_one_that_chromium_takes_from_a_trustworthy_origin_alone() {
    const BEGIN: &str =
        r#"(async () => report([await ask("new", { user_id: "ada" }), await ask("get")]))();"#;
    let (begun, none) = (json!([201, "ada"]), json!([401, null]));
    for (host, found) in [("app.site.localhost", json!([200, "ada"])), ("app.site.test", none)] {
        let (site, pserve, page) = page(&json!({ "name": "auto" }), BEGIN);
        let _browser = Browser::open_with(
            &site,
            &page.url(host),
            &["--host-resolver-rules=MAP app.site.test 127.0.0.1"],
        );
        assert_eq!(page.report(), json!([begun, found]), "{host}");
        let set = pserve.client().with("Host", host).post("/sessman/new", json!({})).expect(201);
        let cookie = set.header("set-cookie").unwrap();
        assert!(cookie.starts_with("__Host-PS_SESSID="), "{cookie}");
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    }
}

#[test]
fn with_clear_site_data_an_end_leaves_nothing_of_the_visitor_in_chromium() {
    const LEAVE: &str = r#"(async () => {
        await ask("new", { user_id: "ada" });
        localStorage.setItem("draft", "of ada");
        document.cookie = "theme=dark";
        const before = [localStorage.getItem("draft"), document.cookie];
        const ended = await ask("end", {});
        report([before, ended[0], await ask("get"), localStorage.getItem("draft"), document.cookie]);
    })();"#;
    let before = json!(["of ada", "theme=dark"]);
    for clears in [true, false] {
        let (site, _pserve, page) = page(&json!({ "clear_site_data": clears }), LEAVE);
        let _browser = Browser::open(&site, &page.url("app.site.localhost"));
        let (draft, cookies) = if clears { (Value::Null, "") } else { (json!("of ada"), "theme=dark") };
        assert_eq!(page.report(), json!([before, 200, [401, null], draft, cookies]), "{clears}");
    }
}

fn with_cookie(client: &Client, id: &str) -> Client {
    client.with("Cookie", &format!("PS_SESSID={id}"))
}

fn begin(client: &Client) -> String {
    client.post("/sessman/new", json!({ "persistent": true })).expect(201).member("session_id")
}

/// The id that an answer's cookie sets; `None` where it sets no cookie.
fn set_id(answer: &Answer) -> Option<&str> {
    let cookie = answer.header("set-cookie")?;
    assert!(cookie.contains("; Max-Age="), "{cookie}");
    cookie.strip_prefix("PS_SESSID=")?.split(';').next()
}

fn is_refused(answer: Answer) {
    let answer = answer.expect(401);
    assert_eq!(answer.header("set-cookie"), None, "{answer:?}");
}

/// One session that is read, touched and updated by its cookie while another client rotates it. How many answers set the
/// cookie, which all belong to a write before that of the rotation.
fn race(host: &Client, other: &Client, pause: Duration) -> usize {
    let id = begin(other);
    let (over, answers) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let (rotated, at) = thread::scope(|scope| {
        for route in ["get", "touch", "update"] {
            let (client, over, answers) = (with_cookie(host, &id), &over, &answers);
            scope.spawn(move || {
                loop {
                    // At least one is asked after the rotation has been answered.
                    let (is_last, asked) = (over.load(Ordering::SeqCst), Instant::now());
                    let answer = match route {
                        "get" => client.get("/sessman/get"),
                        "touch" => client.post("/sessman/touch", json!({})),
                        _ => client.post("/sessman/update", json!({ "data": { "n": 1 } })),
                    };
                    answers.lock().unwrap().push((route, asked, answer));
                    if is_last {
                        return;
                    }
                }
            });
        }
        thread::sleep(pause);
        let rotated = with_cookie(other, &id).post("/sessman/rotate", json!({}));
        let at = Instant::now();
        over.store(true, Ordering::SeqCst);
        (rotated.expect(200), at)
    });
    let new = set_id(&rotated).filter(|new| *new != id).unwrap();
    let version = rotated.json()["version"].as_u64().unwrap();
    let (mut sets, mut late) = (0, 0);
    for (route, asked, answer) in answers.into_inner().unwrap() {
        if answer.status == 200 {
            assert!(asked < at, "{route} by the id before is answered after the rotation: {answer:?}");
            assert_eq!(set_id(&answer), (route != "get").then_some(id.as_str()), "{route}: {answer:?}");
            // What it wrote was there before the rotation.
            assert!(answer.json()["version"].as_u64().unwrap() <= version, "{route}: {answer:?} {version}");
            sets += usize::from(route != "get");
        } else {
            is_refused(answer);
            late += usize::from(asked > at);
        }
    }
    assert!(late >= 3, "{late}");
    let kept = with_cookie(host, new).get("/sessman/get").expect(200);
    assert_eq!(kept.json()["version"], version, "nothing was written by the id before");
    sets
}

fn no_answer_brings_the_id_before_a_rotation_back(store: Store, config: Value) {
    let hosts = store.hosts(&config, json!({}));
    let [host, other] = [hosts.first(), hosts.last()].map(|host| host.unwrap().1.client());
    let sets: usize = (0..50).map(|round| race(&host, &other, Duration::from_millis(round % 10))).sum();
    assert!(sets > 50, "{sets}");
}

#[test]
fn a_request_that_came_before_a_rotation_and_is_read_after_it_sets_no_cookie() {
    let site = Site::new();
    site.sessman(&json!({ "backend": "memory" }).to_string());
    let pserve = site.start();
    let client = pserve.client();
    for (route, body) in [("touch", "{}"), ("update", r#"{"data":{}}"#), ("touch", r#"{"persistent":true}"#)]
    {
        let id = begin(&client);
        let mut held = TcpStream::connect(pserve.address()).unwrap();
        let (start, rest) = body.split_at(1);
        let length = body.len();
        write!(
            held,
            "POST /sessman/{route} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Cookie: PS_SESSID={id}\r\nContent-Length: {length}\r\n\r\n{start}"
        )
        .unwrap();
        // Until the host has it; it has no way to say so.
        thread::sleep(Duration::from_millis(100));
        with_cookie(&client, &id).post("/sessman/rotate", json!({})).expect(200);
        held.write_all(rest.as_bytes()).unwrap();
        let mut answer = String::new();
        held.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(!answer.to_lowercase().contains("set-cookie"), "{answer}");
    }
}

#[test]
fn a_write_that_redis_gets_after_a_rotation_sets_no_cookie() {
    let Some(redis) = Redis::start("a_write_that_redis_gets_after_a_rotation", &[]) else { return };
    let proxy = Proxy::to(redis.port());
    let serve = |port: u16| {
        let site = Site::new();
        site.sessman(&json!({ "server_url": format!("redis://127.0.0.1:{port}") }).to_string());
        let pserve = site.start();
        (site, pserve)
    };
    let [(_held, held), (_direct, direct)] = [serve(proxy.port()), serve(redis.port())];
    let (held, direct) = (held.client(), direct.client());
    let steps = [
        ("touch", json!({})),
        ("touch", json!({ "ttl_seconds": 100 })),
        ("update", json!({ "data": { "n": 1 } })),
        ("update", json!({ "data": { "n": 1 }, "mode": "merge" })),
    ];
    for (route, body) in steps {
        let (id, path) = (begin(&direct), format!("/sessman/{route}"));
        let visitor = with_cookie(&held, &id);
        // From now on the server knows the script, and the host is connected.
        assert_eq!(set_id(&visitor.post(&path, body.clone()).expect(200)), Some(id.as_str()));
        // It has read the session, and its write is on the way.
        proxy.hold("EVALSHA");
        let rotated = thread::scope(|scope| {
            let late = scope.spawn(|| visitor.post(&path, body.clone()));
            eventually("the write is held", || proxy.is_holding());
            let rotated = with_cookie(&direct, &id).post("/sessman/rotate", json!({})).expect(200);
            assert!(!late.is_finished(), "{route}");
            proxy.release();
            is_refused(late.join().unwrap());
            rotated
        });
        let kept = with_cookie(&held, set_id(&rotated).unwrap()).get("/sessman/get").expect(200);
        assert_eq!(kept.json()["version"], rotated.json()["version"], "{route} {body}");
    }
}

#[test]
fn an_answer_that_is_late_leaves_the_cookie_to_the_next_one() {
    let Some(redis) = Redis::start("an_answer_that_is_late", &[]) else { return };
    let proxy = Proxy::to(redis.port());
    let site = Site::new();
    site.sessman(&json!({ "server_url": format!("redis://127.0.0.1:{}", proxy.port()) }).to_string());
    let pserve = site.start();
    let client = pserve.client();
    let id = begin(&client);
    let visitor = with_cookie(&client, &id);
    let touch = || visitor.post("/sessman/touch", json!({})).expect(200);
    assert_eq!(set_id(&touch()), Some(id.as_str()));
    // A rotation may be answered before it is.
    proxy.set(Weather { delay: Duration::from_millis(200), ..Weather::default() });
    assert_eq!(set_id(&touch()), None);
    proxy.set(Weather::default());
    assert_eq!(set_id(&touch()), Some(id.as_str()));
}
