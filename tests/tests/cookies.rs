//! Cookies that others planted, odd bytes in them, and what becomes of several of the same name.

use e2e::browser::{Browser, Page};
use e2e::http::{Client, exchange, status};
use e2e::ports;
use e2e::pserve::{Pserve, Site};
use serde_json::{Value, json};

fn serve(config: &Value) -> (Site, Pserve, Client) {
    let site = Site::new();
    site.sessman(&config.to_string());
    let pserve = site.start();
    let client = pserve.client();
    (site, pserve, client)
}

fn begin(client: &Client, user: &str) -> String {
    client.post("/sessman/new", json!({ "user_id": user })).expect(201).member("session_id")
}

fn ended(client: &Client) -> String {
    let id = begin(client, "gone");
    client.post("/sessman/end", json!({ "token": id })).expect(200);
    id
}

fn with_cookies(client: &Client, ids: &[&str]) -> Client {
    let cookies: Vec<String> = ids.iter().map(|id| format!("PS_SESSID={id}")).collect();
    client.with("Cookie", &cookies.join("; "))
}

/// The status of a request with these bytes as its `Cookie` header.
fn raw(pserve: &Pserve, cookie: &[u8]) -> Option<u16> {
    let head = b"GET /sessman/get HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: ";
    status(&exchange(pserve.address(), &[&head[..], cookie, b"\r\n\r\n"].concat(), false))
}

#[test]
fn an_odd_byte_in_another_cookie_logs_nobody_out() {
    let (_site, pserve, client) = serve(&json!({ "backend": "memory" }));
    let id = begin(&client, "ada");
    for other in [&b"lang=fran\xe7ais"[..], b"\xff", b"a=\xc3", b"\x80\x81=1", b"a=\tb", b"=", b""] {
        let own = format!("PS_SESSID={id}");
        for header in [[other, b"; ", own.as_bytes()].concat(), [own.as_bytes(), b"; ", other].concat()] {
            assert_eq!(raw(&pserve, &header), Some(200), "{}", header.escape_ascii());
        }
    }
    // In the cookie itself it is another value.
    assert_eq!(raw(&pserve, format!("PS_SESSID={id}\u{a0}").as_bytes()), Some(401));
}

#[test]
fn white_space_of_other_languages_belongs_to_the_name() {
    let (_site, pserve, client) = serve(&json!({ "backend": "memory", "cookie": { "name": "__Host-sid" } }));
    let (own, planted) = (begin(&client, "ada"), begin(&client, "eve"));
    for blank in ["\u{2000}", "\u{a0}", "\u{85}", "\u{1680}", "\u{3000}", "\u{feff}", "\u{200b}", "\u{180e}"]
    {
        for forged in [format!("{blank}__Host-sid={planted}"), format!("__Host-sid{blank}={planted}")] {
            assert_eq!(raw(&pserve, forged.as_bytes()), Some(401), "{forged:?}");
            let both = format!("{forged}; __Host-sid={own}");
            let answer =
                client.with("Cookie", "a=b").with("X-Session-Id", &own).get("/sessman/get").expect(200);
            assert_eq!(answer.json()["user_id"], "ada");
            assert_eq!(raw(&pserve, both.as_bytes()), Some(200), "{both:?}");
        }
    }
    for blank in [" ", "\t", " \t "] {
        let header = format!("a=b;{blank}__Host-sid{blank}={blank}{own}{blank}; c=d");
        assert_eq!(raw(&pserve, header.as_bytes()), Some(200), "{header:?}");
    }
}

#[test]
fn among_several_cookies_the_one_live_session_counts() {
    let (_site, _pserve, client) = serve(&json!({ "backend": "memory" }));
    let (live, dead) = (begin(&client, "ada"), ended(&client));
    let long = "x".repeat(300);
    for cookies in [
        vec![dead.as_str(), &live],
        vec![&live, &dead],
        vec!["", &live],
        vec!["malformed", &live, "\"\""],
        vec![&long, &dead, &live, &live],
        vec![&live, &live],
    ] {
        let visitor = with_cookies(&client, &cookies);
        assert_eq!(visitor.get("/sessman/get").expect(200).json()["user_id"], "ada", "{cookies:?}");
        assert_eq!(visitor.get("/sessman/validate").expect(200).json()["valid"], true);
        visitor.post("/sessman/update", json!({ "data": { "seen": 1 } })).expect(200);
        visitor.post("/sessman/touch", json!({})).expect(200);
        visitor.get("/sessman/mine").expect(200);
    }
    // The lines of a header are one list.
    let lines =
        client.with("Cookie", &format!("PS_SESSID={dead}")).with("Cookie", &format!("PS_SESSID={live}"));
    lines.get("/sessman/get").expect(200);
}

#[test]
fn two_live_sessions_are_nobody_and_a_line_of_the_log() {
    let (_site, pserve, client) = serve(&json!({ "backend": "memory", "allow_open_login": true }));
    let (one, other) = (begin(&client, "ada"), begin(&client, "eve"));
    let visitor = with_cookies(&client, &[&one, &other]);
    for _ in 0..20 {
        visitor.get("/sessman/get").expect(401);
    }
    for route in ["get", "verify"] {
        let error = visitor.get(&format!("/sessman/{route}")).expect(401).member("error");
        assert!(error.starts_with("the cookies name more than one session"), "{route}: {error}");
    }
    assert_eq!(visitor.get("/sessman/validate").expect(200).json(), json!({ "valid": false }));
    visitor.get("/sessman/verify").expect(401);
    visitor.post("/sessman/update", json!({ "data": {} })).expect(401);
    visitor.post("/sessman/rotate", json!({})).expect(401);
    let log = pserve.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("cookies of two live sessions")).collect();
    assert!((1..=3).contains(&lines.len()), "{log}");
    assert!(lines[0].contains(&one[..16]) && lines[0].contains(&other[..16]), "{log}");
    assert!(!log.contains(&one[16..]) && !log.contains(&other[16..]), "{log}");
    // Logging out ends both.
    let left = visitor.post("/sessman/end", json!({})).expect(200);
    assert_eq!(left.header("set-cookie").unwrap(), "PS_SESSID=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax");
    for id in [&one, &other] {
        client.get(&format!("/sessman/get?token={id}")).expect(404);
    }
}

#[test]
fn more_ids_than_are_looked_at_are_nobody() {
    let (_site, pserve, client) = serve(&json!({ "backend": "memory" }));
    let live = begin(&client, "ada");
    let dead: Vec<String> = (0..9).map(|n| format!("{n}").repeat(48)).collect();
    let mut cookies: Vec<&str> = dead.iter().take(7).map(String::as_str).collect();
    cookies.push(&live);
    with_cookies(&client, &cookies).get("/sessman/get").expect(200);
    cookies.insert(0, &dead[8]);
    with_cookies(&client, &cookies).get("/sessman/get").expect(401);
    assert!(pserve.log().contains("session ids in its cookies"), "{}", pserve.log());
    // Whoever logs out is out all the same.
    let many: Vec<String> = (0..150).map(|n| format!("{n:048}")).collect();
    let cookies: Vec<&str> = many.iter().map(String::as_str).chain([live.as_str()]).collect();
    let answer = with_cookies(&client, &cookies).post("/sessman/end", json!({})).expect(200);
    assert!(answer.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")));
    client.get(&format!("/sessman/get?session_id={live}")).expect(404);
}

#[test]
fn whoever_logs_out_with_a_dead_cookie_is_rid_of_it() {
    let (_site, _pserve, client) = serve(&json!({ "backend": "memory" }));
    let dead = ended(&client);
    for cookies in [vec![dead.as_str()], vec![""], vec!["malformed"], vec![&dead, "x"]] {
        for route in ["end", "logout"] {
            let answer =
                with_cookies(&client, &cookies).post(&format!("/sessman/{route}"), json!({})).expect(401);
            let cleared = "PS_SESSID=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax";
            assert_eq!(answer.header("set-cookie"), Some(cleared), "{cookies:?}");
        }
    }
    // Other routes leave it, and so does a page of another origin.
    let visitor = with_cookies(&client, &[&dead]);
    assert_eq!(visitor.get("/sessman/get").expect(401).header("set-cookie"), None);
    let foreign = visitor.with("Origin", "http://evil.example").post("/sessman/end", json!({})).expect(403);
    assert_eq!(foreign.header("set-cookie"), None);
    // The cookie beside a session that is ended by its id may be an older one's.
    let live = begin(&client, "ada");
    let visitor = with_cookies(&client, &[&dead, &live]);
    assert!(
        visitor.post("/sessman/end", json!({ "token": live })).expect(200).header("set-cookie").is_some()
    );
}

#[test]
fn looking_at_several_is_no_activity() {
    let config = json!({ "backend": "memory", "sliding": "access", "touch_interval": 0, "admin_key": "the-admin-key" });
    let (_site, _pserve, client) = serve(&config);
    let (one, other) = (begin(&client, "ada"), begin(&client, "eve"));
    // A list of the administrator's is no activity, either.
    let admin = client.with("X-Admin-Key", "the-admin-key");
    let times = |id: &str| {
        let page = admin.get("/sessman/list").expect(200).json();
        let mut sessions = page["sessions"].as_array().unwrap().iter();
        sessions.find(|session| session["handle"] == id[..16]).unwrap()["last_activity"].clone()
    };
    let before = [times(&one), times(&other)];
    std::thread::sleep(std::time::Duration::from_millis(20));
    with_cookies(&client, &[&one, &other]).get("/sessman/get").expect(401);
    assert_eq!([times(&one), times(&other)], before);
    // Where one of them counts, using it is.
    with_cookies(&client, &[&ended(&client), &one]).get("/sessman/get").expect(200);
    assert_ne!(times(&one), before[0]);
}

#[test]
fn a_condition_that_cannot_be_read_is_not_none() {
    let (_site, pserve, client) = serve(&json!({ "backend": "memory" }));
    let id = begin(&client, "ada");
    let send = |lines: &[u8]| {
        let head = format!(
            "POST /sessman/update HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Session-Id: {id}\r\n\
             Content-Length: 11\r\n"
        );
        let request = [head.as_bytes(), lines, b"\r\n\r\n{\"data\":{}}"].concat();
        status(&exchange(pserve.address(), &request, false))
    };
    assert_eq!(send(b"If-Match: \"1-\xff\""), Some(400));
    assert_eq!(send("If-Match:\u{2000}*".as_bytes()), Some(400));
    assert_eq!(send(b"If-Match: \"9-9-0000000000000001\"\r\nIf-Match: *"), Some(400));
    assert_eq!(send(b"If-Match: \"9-9-0000000000000001\"\r\nIf-Match: \"8-9-0000000000000001\""), Some(412));
    let two = format!("{id}\r\nX-Session-Id: {id}");
    assert_eq!(raw_header(&pserve, &two), Some(200));
    assert_eq!(raw_header(&pserve, &format!("{id}\r\nX-Session-Id: {}", "A".repeat(48))), Some(400));
    assert_eq!(raw_header(&pserve, &format!("\u{2000}{id}")), Some(404));
}

fn raw_header(pserve: &Pserve, id: &str) -> Option<u16> {
    let request = format!(
        "GET /sessman/get HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Session-Id: {id}\r\n\r\n"
    );
    status(&exchange(pserve.address(), request.as_bytes(), false))
}

#[test]
fn whoever_has_the_key_gets_a_secure_cookie_to_hand_on() {
    let set = |site: &Site, key: Option<&str>, forwarded: Option<&str>| {
        let pserve = site.start();
        let mut client = pserve.client().with("Host", "localhost");
        for (name, value) in [("X-Custom-Auth", key), ("X-Forwarded-Proto", forwarded)] {
            client = value.map_or(client.clone(), |value| client.with(name, value));
        }
        let answer = client.post("/sessman/new", json!({})).expect(201);
        (answer.header("set-cookie").unwrap().contains("; Secure"), pserve.log())
    };
    const KEYED: &str = "[auth]\napikey=the-valid-key\n";
    const WARNING: &str = "cookie.secure is false";
    // Whether there is a key, what is written, and whether the cookie is Secure for http://localhost.
    for (keyed, secure, expected) in [
        (true, None, true),
        (false, None, false),
        (true, Some(false), false),
        (false, Some(false), false),
        (true, Some(true), true),
        (false, Some(true), true),
    ] {
        let site = Site::new();
        let cookie = secure.map_or(json!({}), |secure| json!({ "secure": secure }));
        site.write("sessman.json", json!({ "backend": "memory", "cookie": cookie }).to_string());
        site.ini(&format!("{}[plugin_parms]\nsessman=json=sessman.json", if keyed { KEYED } else { "" }));
        let (is_secure, log) = set(&site, keyed.then_some("the-valid-key"), None);
        assert_eq!(is_secure, expected, "{keyed} {secure:?}");
        assert_eq!(log.contains(WARNING), secure == Some(false), "{log}");
    }
    let site = Site::new();
    for cookie in [json!({ "name": "__Host-sid" }), json!({ "same_site": "None" })] {
        let mut cookie = cookie;
        cookie["secure"] = json!(false);
        site.sessman(&json!({ "backend": "memory", "cookie": cookie }).to_string());
        let pserve = site.start();
        pserve.client().get("/sessman/get").expect(503);
        assert!(
            pserve.log().contains("cookie.secure: browsers take it only with Secure"),
            "{}",
            pserve.log()
        );
    }
}

/// A visitor logs in to `app`, is led to its sibling `evil`, which plants cookies for both, and comes back.
const VISIT: &str = r##"
const [name, planted] = ["NAME", "PLANTED"];
const site = location.hostname.split(".").slice(1).join(".");
const go = (host, step) => location.replace(`http://${host}.${site}:${location.port}/page#${step}`);
// A longer path comes first; the other one is seen by the page.
const plant = (text) => {
    for (const path of ["/sessman", "/"]) document.cookie = `${text}=${planted}; Domain=${site}; Path=${path}`;
};
(async () => {
    const include = { credentials: "include" };
    if (location.hostname.startsWith("evil.")) {
        plant(name);
        for (const blank of ["\u2000", "\u00a0", "\u0085", "\u3000", "\ufeff"]) plant(blank + name);
        return go("app", "back");
    }
    if (location.hash !== "#back") {
        const body = '{"user_id":"ada"}';
        const begun = await fetch("API/sessman/new", { ...include, method: "POST", body });
        return begun.status === 201 ? go("evil", "") : report({ begun: begun.status });
    }
    const answer = await fetch("API/sessman/get", include);
    report({ status: answer.status, user: (await answer.json()).user_id, cookies: document.cookie });
})();
const report = (found) => fetch("/report", { method: "POST", body: JSON.stringify(found) });
"##;

/// What a visitor whose session is in the cookie `name` finds after having been at the sibling.
fn visit(name: &str) -> Value {
    let site = Site::new();
    let port = ports::free();
    // The session of the attacker is known before the page is: begun by the same host, kept over its restart.
    let config = json!({ "path": "sessions.db", "cookie": { "name": name } });
    site.write("sessman.json", config.to_string());
    let ini = |origin: &str| {
        site.ini(&format!(
            "[network]\nport={port}\n[cors]\nenabled=true\norigin_url={origin}\n\
             [plugin_parms]\nsessman=json=sessman.json&auth_type=none"
        ));
    };
    ini("http://app.site.localhost:1");
    let attacker = begin(&site.start().client(), "eve");
    let script = VISIT.replace("NAME", name).replace("PLANTED", &attacker);
    let page = Page::serve(&script.replace("API", &format!("http://app.site.localhost:{port}")));
    ini(&format!("http://app.site.localhost:{}", page.address.port()));
    let _pserve = site.start();
    let _browser = Browser::open(&site, &page.url("app.site.localhost"));
    page.report()
}

#[test]
fn a_cookie_that_a_sibling_plants_is_not_the_one_with_the_prefix_in_chromium() {
    let report = visit("__Host-sid");
    // Chromium kept the names with other white space as they are, and took none with the prefix from a sibling.
    let cookies = report["cookies"].as_str().unwrap_or_default();
    assert!(cookies.contains("\u{2000}__Host-sid="), "{report:#}");
    assert!(
        !cookies.split(';').any(|cookie| cookie.trim_matches(' ').starts_with("__Host-sid=")),
        "{report:#}"
    );
    assert_eq!((&report["status"], &report["user"]), (&json!(200), &json!("ada")), "{report:#}");
}

#[test]
fn without_the_prefix_what_a_sibling_plants_is_seen_and_is_nobody_in_chromium() {
    let report = visit("sid");
    let cookies = report["cookies"].as_str().unwrap_or_default();
    assert!(cookies.split(';').any(|cookie| cookie.trim_matches(' ').starts_with("sid=")), "{report:#}");
    assert_eq!(report["status"], 401, "{report:#}");
}
