//! Pages of other origins: what a browser is told, and what a real one makes of it.

use std::net::SocketAddr;

use e2e::browser::{Browser, Page};
use e2e::http::Client;
use e2e::ports;
use e2e::pserve::{Pserve, Site};
use serde_json::{Value, json};

fn start(origins: &str, rest: &str) -> (Site, Pserve) {
    let site = Site::new();
    site.ini(&format!("[cors]\nenabled=true\norigin_url={origins}\n{rest}"));
    let pserve = site.start();
    (site, pserve)
}

const KEYED: &str = "[auth]\napikey=k\n[plugin_parms]\nsessman=backend=memory\n";

fn from(pserve: &Pserve, origin: &str) -> Client {
    pserve.client().with("Origin", origin)
}

#[test]
fn a_preflight_needs_no_key_and_names_what_the_route_takes() {
    let (_site, pserve) = start("list:https://a.test https://b.test", KEYED);
    let ask = |origin: &str, path: &str| {
        from(&pserve, origin)
            .with("Access-Control-Request-Method", "PATCH")
            .with("Access-Control-Request-Headers", "content-type, x-session-id, x-forwarded-for")
            .send("OPTIONS", path, "")
            .expect(204)
    };
    for origin in ["https://a.test", "https://b.test"] {
        let answer = ask(origin, "/sessman/update");
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("access-control-allow-methods"), Some("POST, PATCH, OPTIONS"));
        assert_eq!(answer.header("access-control-allow-headers"), Some("content-type, x-session-id"));
        assert_eq!(answer.header("access-control-max-age"), Some("3600"));
        assert!(answer.header("vary").unwrap().contains("access-control-request-headers"));
    }
    for origin in ["https://c.test", "http://a.test", "null", "https://a.test.evil.test"] {
        let answer = ask(origin, "/sessman/update");
        let told = answer.headers.iter().find(|(name, _)| name.starts_with("access-control-"));
        assert!(told.is_none(), "{origin}: {told:?}");
        assert!(answer.header("vary").unwrap().starts_with("origin"));
    }
    assert_eq!(
        ask("https://a.test", "/plugins").header("access-control-allow-methods"),
        Some("GET, HEAD, OPTIONS")
    );
}

#[test]
fn errors_carry_the_headers_too() {
    let (_site, pserve) = start("https://a.test", &format!("[limits]\nmax_body=100\n{KEYED}"));
    let page = from(&pserve, "https://a.test");
    let keyed = page.with("X-Custom-Auth", "k");
    let large = "x".repeat(200);
    for answer in [
        page.post("/sessman/new", json!({})).expect(401),
        keyed.get("/sessman/get?session_id=x").expect(404),
        keyed.get("/nowhere").expect(404),
        keyed.send("POST", "/sessman/new", &large).expect(413),
        keyed.send("PUT", "/sessman/new", "").expect(405),
    ] {
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.test"), "{answer:?}");
        assert_eq!(answer.header("vary"), Some("origin"), "{answer:?}");
    }
    let refused = page.post("/sessman/new", json!({}));
    assert!(refused.header("access-control-expose-headers").unwrap().contains("www-authenticate"));
    // An answer to nobody in particular must not be kept for a page.
    assert_eq!(pserve.client().get("/healthz").expect(200).header("vary"), Some("origin"));
}

/// What a page's script finds out. `ask` makes a request and says what the page could see of the answer.
const SCRIPT: &str = r#"
const api = "API";
async function ask(path, options) {
    try {
        const answer = await fetch(api + path, options);
        let body = null;
        try { body = await answer.json(); } catch {}
        return { status: answer.status, etag: answer.headers.get("etag"), body };
    } catch (error) {
        return { refused: error.name };
    }
}
(async () => {
    const report = {};
    const include = { credentials: "include" };
    const json = { "Content-Type": "application/json" };
    report.created = await ask("/sessman/new", { ...include, method: "POST", headers: json, body: '{"user_id":"ann"}' });
    report.by_cookie = await ask("/sessman/get", include);
    report.patched = await ask("/sessman/update", { ...include, method: "PATCH", headers: json, body: '{"seen":1}' });
    report.by_header = await ask("/sessman/get", { headers: { "X-Session-Id": report.created.body?.session_id ?? "x" } });
    report.missing = await ask("/sessman/get", { headers: { "X-Session-Id": "x" } });
    report.simple = await ask("/sessman/new", { ...include, method: "POST", body: "{}" });
    report.anonymous = await ask("/healthz", {});
    await fetch("/report", { method: "POST", body: JSON.stringify(report) });
})();
"#;

/// What the page at this host name found out about a `pserve` that allows `allowed`, and what that one logged.
fn visit(host: &str, allowed: impl Fn(SocketAddr) -> String) -> (Value, String) {
    let site = Site::new();
    // The page's address must be in the configuration, and the script must know the host's: a port is chosen first.
    let port = ports::free();
    let page = Page::serve(&SCRIPT.replace("API", &format!("http://127.0.0.1:{port}")));
    site.ini(&format!(
        "[network]\nport={port}\n[cors]\nenabled=true\norigin_url={}\n[log]\naccess=true\n\
         [plugin_parms]\nsessman=backend=memory\n",
        allowed(page.address)
    ));
    let pserve = site.start();
    let _browser = Browser::open(&site, &page.url(host));
    let report = page.report();
    (report, pserve.log())
}

#[test]
fn a_page_of_an_allowed_origin_uses_the_session_in_chromium() {
    let (report, _) = visit("127.0.0.1", |page| format!("http://{page}"));
    assert_eq!(report["created"]["status"], 201, "{report:#}");
    assert_eq!(report["by_cookie"]["status"], 200, "{report:#}");
    assert_eq!(report["by_cookie"]["body"]["user_id"], "ann");
    assert!(report["by_cookie"]["etag"].is_string(), "{report:#}");
    assert_eq!(report["patched"]["status"], 200, "{report:#}");
    assert_eq!(report["by_header"]["body"]["data"], json!({ "seen": 1 }), "{report:#}");
    // An error is one that the page can read.
    assert_eq!(report["missing"]["status"], 404, "{report:#}");
    assert!(report["missing"]["body"]["error"].is_string());
    assert_eq!(report["simple"]["status"], 201);
}

#[test]
fn a_page_of_another_origin_sees_nothing_in_chromium() {
    let (report, log) = visit("localhost", |page| format!("http://{page}"));
    let report = report.as_object().unwrap();
    assert_eq!(report.len(), 7);
    for (name, seen) in report {
        assert_eq!(seen["refused"], "TypeError", "{name}: {seen}");
    }
    // A browser sends what needs no preflight, and only hides the answer: the host must not have done it.
    assert!(log.contains("status=403") && !log.contains("status=201"), "{log}");
}

#[test]
fn every_origin_means_pages_without_cookies_in_chromium() {
    let (report, _) = visit("localhost", |_| "*".to_owned());
    for name in ["created", "by_cookie", "patched", "simple"] {
        assert_eq!(report[name]["refused"], "TypeError", "{name}: {report:#}");
    }
    assert_eq!(report["anonymous"]["status"], 200, "{report:#}");
    assert_eq!(report["missing"]["status"], 404, "{report:#}");
}

/// A page beside the host, of the same site and another origin: the browser sends it the cookie of the session.
const NEIGHBOUR: &str = r#"
document.cookie = "PS_SESSID=TOKEN; path=/; SameSite=Lax";
const api = "API/sessman/";
const ride = (route, options) => fetch(api + route, { mode: "no-cors", credentials: "include", ...options });
(async () => {
    await ride("get");
    for (const [route, body] of [["update", '{"data":{"taken":true}}'], ["rotate", ""], ["touch", ""], ["new", "{}"], ["end", ""]]) {
        await ride(route, { method: "POST", body });
    }
    await fetch("/report", { method: "POST", body: JSON.stringify({ cookie: document.cookie }) });
})();
"#;

#[test]
fn a_page_of_the_same_site_writes_nothing_with_the_cookie_in_chromium() {
    let site = Site::new();
    site.ini("[log]\naccess=true\n[plugin_parms]\nsessman=backend=memory\n");
    let pserve = site.start();
    let created = pserve.client().post("/sessman/new", json!({ "user_id": "ann", "data": {} })).expect(201);
    let (id, address) = (created.member("session_id"), format!("http://{}", pserve.address()));
    let page = Page::serve(&NEIGHBOUR.replace("API", &address).replace("TOKEN", &id));
    let _browser = Browser::open(&site, &page.url("127.0.0.1"));
    let report = page.report();
    assert_eq!(report["cookie"], format!("PS_SESSID={id}"));
    let found = pserve.client().get(&format!("/sessman/get?token={id}")).expect(200);
    assert_eq!((found.json()["data"].clone(), found.json()["version"].clone()), (json!({}), json!(1)));
    // The cookie did come along: reading with it went well, though the page saw nothing of it.
    let log = pserve.log();
    let answers = |route: &str| {
        let path = format!("/sessman/{route}");
        let line = log.lines().find(|line| line.contains(&path) && line.contains("status="));
        line.unwrap_or_else(|| panic!("{path} was not asked for: {log}")).to_owned()
    };
    assert!(answers("get").contains("status=200"), "{log}");
    for route in ["update", "rotate", "touch", "end"] {
        assert!(answers(route).contains("status=403"), "{log}");
    }
    assert_eq!(log.matches("status=201").count(), 1, "nothing but the test began a session: {log}");
}

#[test]
fn an_origin_with_a_slip_in_its_port_is_not_taken_for_another_one() {
    let site = Site::new();
    for origin in ["https://app.test:84430", "https://app.test:80x", "https://*.app.test"] {
        site.ini(&format!("[cors]\nenabled=true\norigin_url={origin}"));
        let log = site.try_start().err().expect("it does not start");
        assert!(log.contains("origin_url") && log.contains("expected origins"), "{log}");
    }
}
