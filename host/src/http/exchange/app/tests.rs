//! Requests to a plugin that is part of the test.

mod memory;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use plugin_api::abi::plugin::{CAPABILITY_AUTHENTICATE, CAPABILITY_AUTHENTICATE_UNKEYED};
use plugin_api::{Class, Host, Plugin};
use serde_json::Value;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::Instant;

use super::*;
use crate::config::{Config, InstanceConfig};
use crate::plugin::{Failure, Instance, Library, Loaded};

struct Probe;

const ROUTES: &[plugin_api::Route] = &[
    plugin_api::Route::new("open", &["GET", "POST"], Class::Public),
    plugin_api::Route::new("service", &["GET", "POST", "PATCH"], Class::Service),
    plugin_api::Route::new("session", &["POST"], Class::Session),
    plugin_api::Route::new("guard", &["GET", "HEAD"], Class::ForwardAuth),
    plugin_api::Route::new("panic", &["GET"], Class::Public),
    plugin_api::Route::new("never", &["GET"], Class::Public),
    plugin_api::Route::new("status", &["GET"], Class::Public),
    plugin_api::Route::new("below/*", &["GET"], Class::Public),
    plugin_api::Route::new("trace", &["GET"], Class::Public),
];

impl Plugin for Probe {
    const NAME: &'static str = "probe";
    const VERSION: &'static str = "1";

    fn prepare(_: Host) -> Result<Self, String> {
        Ok(Self)
    }

    fn routes(&self) -> Vec<plugin_api::Route> {
        ROUTES.to_vec()
    }

    const ANSWERS_NOW: bool = true;

    fn handle_now(&self, request: plugin_api::Request<'_>) -> Option<plugin_api::Response> {
        let is_at_hand = !matches!(ROUTES[request.route()].path, "panic" | "never" | "status" | "trace");
        is_at_hand.then(|| seen(&request))
    }

    async fn handle(&self, request: plugin_api::Request<'_>) -> plugin_api::Response {
        match ROUTES[request.route()].path {
            "panic" => panic!("on purpose"),
            "never" => std::future::pending().await,
            "status" => plugin_api::Response::new(42),
            "trace" => {
                let header =
                    |name| String::from_utf8_lossy(request.header(name).unwrap_or(b"-")).into_owned();
                let [parent, state] = ["traceparent", "tracestate"].map(header);
                plugin_api::Response::text(200, format!("{} {parent} {state}", request.request_id()))
            }
            _ => seen(&request),
        }
    }
}

/// What the plugin sees of a request.
fn seen(request: &plugin_api::Request<'_>) -> plugin_api::Response {
    let (method, below, query) = (request.method(), request.path_below_mount(), request.query());
    let (caller, body) = (request.caller(), String::from_utf8_lossy(request.body()));
    let user = request.principal().map(|principal| format!(" for {}", principal.user_id));
    let user = user.unwrap_or_default();
    plugin_api::Response::text(200, format!("{method} {below}?{query} {caller:?} {body}{user}"))
}

/// Would answer everything, and at once.
struct Everywhere;

impl Plugin for Everywhere {
    const NAME: &'static str = "everywhere";
    const VERSION: &'static str = "1";
    const ANSWERS_NOW: bool = true;

    fn prepare(_: Host) -> Result<Self, String> {
        Ok(Self)
    }

    fn routes(&self) -> Vec<plugin_api::Route> {
        vec![plugin_api::Route::new("*", &["GET", "POST"], Class::Service)]
    }

    fn handle_now(&self, request: plugin_api::Request<'_>) -> Option<plugin_api::Response> {
        Some(seen(&request))
    }

    async fn handle(&self, request: plugin_api::Request<'_>) -> plugin_api::Response {
        seen(&request)
    }
}

#[tokio::test]
async fn what_answers_every_path_at_once_does_not_answer_the_hosts_own() {
    let app = app("[plugin_parms]\neverywhere=route_path=/&auth_type=plugin&apikey=k1").await;
    assert_eq!(send(&app, "GET /healthz", &[], "").await.text, r#"{"status":"ok"}"#);
    assert!(!send(&app, "GET /metrics", &[BEARER], "").await.text.starts_with("GET"));
    assert!(!send(&app, "POST /reload/all", &[BEARER], "").await.text.starts_with("POST"));
    assert_eq!(send(&app, "GET /any", &[BEARER], "").await.text, "GET any? Keyed ");
    assert_eq!(send(&app, "GET /any", &[], "").await.status, 401);
}

/// Keeps sessions: the one with the id `live` is Ann's.
struct Keeper {
    capabilities: u64,
    is_whole: bool,
}

impl Plugin for Keeper {
    const NAME: &'static str = "keeper";
    const VERSION: &'static str = "1";

    fn prepare(host: Host) -> Result<Self, String> {
        let is_open = host.config().contains("open");
        Ok(Self {
            capabilities: CAPABILITY_AUTHENTICATE | if is_open { CAPABILITY_AUTHENTICATE_UNKEYED } else { 0 },
            is_whole: !host.config().contains("half"),
        })
    }

    fn routes(&self) -> Vec<plugin_api::Route> {
        vec![plugin_api::Route::new("", &["GET", "POST"], Class::Public)]
    }

    fn capabilities(&self) -> u64 {
        self.capabilities
    }

    async fn health(&self) -> plugin_api::Health {
        match self.is_whole {
            true => plugin_api::Health::Ready,
            false => plugin_api::Health::ReadyInPart("the server of db.internal does not answer".into()),
        }
    }

    async fn handle(&self, _: plugin_api::Request<'_>) -> plugin_api::Response {
        plugin_api::Response::new(204)
    }

    async fn authenticate(
        &self,
        request: plugin_api::Request<'_>,
    ) -> Result<Option<plugin_api::Principal>, plugin_api::Unavailable> {
        let ann = || plugin_api::Principal { user_id: "ann".into(), handle: "h1".into() };
        match request.header("x-session-id").or(request.header("cookie")) {
            Some(b"live") => Ok(Some(ann())),
            Some(b"nobody's") => Ok(Some(plugin_api::Principal::default())),
            Some(b"away") => Err(plugin_api::Unavailable),
            Some(b"panic") => panic!("on purpose"),
            _ => Ok(None),
        }
    }
}

fn config(ini: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.ini");
    std::fs::write(&path, ini).unwrap();
    Config::load_with(&path, Vec::new()).unwrap()
}

/// What serves one instance, or those of the INI text.
fn snapshot(ini: &str, failures: Vec<Failure>) -> Snapshot {
    let config = config(ini);
    let lines: Vec<InstanceConfig> =
        config.instances.iter().filter_map(|line| line.config.clone().ok()).collect();
    let without_line = || config.instance_without_line("probe").unwrap().config.unwrap();
    let lines = if lines.is_empty() { vec![without_line()] } else { lines };
    let libraries =
        [Library::of_type::<Probe>(), Library::of_type::<Keeper>(), Library::of_type::<Everywhere>()];
    let libraries = libraries.map(Arc::new);
    let prepare = |line: &InstanceConfig| {
        let library = libraries.iter().find(|library| library.name == line.plugin).unwrap();
        Arc::new(Instance::prepare(library, line, "/", &Budget::new(0), &Arc::default()).unwrap())
    };
    let instances = lines.iter().map(prepare).collect();
    Snapshot::new(Arc::new(config), Loaded { instances, failures, ..Loaded::default() }, Vec::new())
}

async fn serve(snapshot: Snapshot) -> App {
    let budget = Budget::new(Size::of(&snapshot.config).budget);
    let app = App::new(snapshot, unbounded_channel().0, budget);
    for instance in app.snapshot().instances() {
        instance.activate().await.unwrap();
    }
    app
}

async fn app(ini: &str) -> App {
    serve(snapshot(ini, Vec::new())).await
}

struct Reply {
    status: u16,
    headers: hyper::HeaderMap,
    text: String,
}

async fn send(app: &App, line: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let (method, uri) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(uri);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost:6123");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let (parts, body) = app.answer(request, LOCAL).await.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    if !parts.status.is_success() {
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(problem["status"], parts.status.as_u16());
        assert_eq!(problem["error"], problem["detail"]);
        assert_eq!(parts.headers["content-type"], "application/problem+json");
    }
    Reply { status: parts.status.as_u16(), headers: parts.headers, text }
}

const LOCAL: Peer = Peer { address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), tls: false };
const KEYED: &str = "[auth]\napikey=list:k1 k2\n";
const BEARER: (&str, &str) = ("authorization", "Bearer k1");

#[tokio::test]
async fn a_service_route_needs_the_key_in_one_of_its_forms() {
    let app = app(KEYED).await;
    let refused = send(&app, "GET /probe/service", &[], "").await;
    assert_eq!(
        (refused.status, &refused.headers["www-authenticate"]),
        (401, &"Bearer realm=\"pserve\"".parse().unwrap())
    );
    assert_eq!(send(&app, "GET /probe/service", &[("authorization", "Bearer no")], "").await.status, 401);
    assert_eq!(send(&app, "GET /probe/service", &[BEARER], "").await.text, "GET service? Keyed ");
    assert_eq!(send(&app, "GET /probe/service", &[("x-custom-auth", "k2")], "").await.status, 200);
    let with_body = send(&app, "POST /probe/service", &[], r#"{"apikey":"k1","a":1}"#).await;
    assert_eq!(with_body.text, r#"POST service? Keyed {"a":1}"#);
}

#[tokio::test]
async fn the_key_is_never_read_from_a_patch_body() {
    let app = app(KEYED).await;
    let body = r#"{"apikey":"k1"}"#;
    assert_eq!(send(&app, "PATCH /probe/service", &[], body).await.status, 401);
    assert_eq!(
        send(&app, "PATCH /probe/service", &[BEARER], body).await.text,
        format!("PATCH service? Keyed {body}")
    );
}

#[tokio::test]
async fn a_key_in_the_query_counts_only_when_allowed_and_never_reaches_the_plugin() {
    let not_allowed = app(KEYED).await;
    assert_eq!(send(&not_allowed, "GET /probe/service?apikey=k1", &[], "").await.status, 401);
    assert_eq!(
        send(&not_allowed, "GET /probe/open?apikey=k1&a=1", &[], "").await.text,
        "GET open?a=1 Unkeyed "
    );
    let allowed = app("[auth]\napikey=k1\nallow_query_key=true\n").await;
    assert_eq!(
        send(&allowed, "GET /probe/service?a=1&apikey=k1", &[], "").await.text,
        "GET service?a=1 Keyed "
    );
}

#[tokio::test]
async fn other_classes_are_told_who_calls() {
    let app = app(KEYED).await;
    assert_eq!(send(&app, "POST /probe/session", &[], "").await.text, "POST session? Unkeyed ");
    assert_eq!(send(&app, "POST /probe/session", &[BEARER], "").await.text, "POST session? Keyed ");
    assert_eq!(send(&app, "GET /probe/guard", &[BEARER], "").await.text, "GET guard? Unkeyed ");
    assert_eq!(
        send(&app, "GET /probe/guard", &[("x-custom-auth", "k1")], "").await.text,
        "GET guard? Keyed "
    );
    let in_body = send(&app, "GET /probe/guard", &[], r#"{"apikey":"k1"}"#).await;
    assert_eq!(in_body.text, "GET guard? Unkeyed ", "its body is left unread");
}

#[tokio::test]
async fn an_instance_of_its_own_key_does_not_take_the_hosts() {
    let app = app("[auth]\napikey=k1\n[plugin_parms]\nprobe=auth_type=plugin&apikey=own\n").await;
    assert_eq!(send(&app, "GET /probe/service", &[BEARER], "").await.status, 401);
    assert_eq!(send(&app, "GET /probe/service", &[("authorization", "Bearer own")], "").await.status, 200);
}

#[tokio::test]
async fn open_by_default_is_for_localhost_alone() {
    let by_default = app("").await;
    assert_eq!(send(&by_default, "GET /probe/service", &[], "").await.text, "GET service? Open ");
    for header in [("host", "evil.test"), ("x-forwarded-for", "10.0.0.1"), ("forwarded", "for=10.0.0.1")] {
        let refused = send(&by_default, "GET /probe/open", &[header], "").await;
        assert!(refused.status == 403 && refused.text.contains("auth_type=none"), "{header:?}");
    }
    let written = app("[plugin_parms]\nprobe=auth_type=none\n").await;
    assert_eq!(send(&written, "GET /probe/open", &[("host", "evil.test")], "").await.status, 200);
}

#[tokio::test]
async fn methods() {
    let app = app("").await;
    let refused = send(&app, "DELETE /probe/open", &[], "").await;
    assert_eq!(
        (refused.status, &refused.headers["allow"]),
        (405, &"GET, POST, HEAD, OPTIONS".parse().unwrap())
    );
    let options = send(&app, "OPTIONS /probe/session", &[], "").await;
    assert_eq!((options.status, &options.headers["allow"]), (204, &"POST, OPTIONS".parse().unwrap()));
    // The connection leaves the body of a HEAD away; the plugin sees the method that it lists.
    assert_eq!(send(&app, "HEAD /probe/open", &[], "").await.text, "GET open? Open ");
    assert_eq!(send(&app, "HEAD /probe/guard", &[], "").await.text, "HEAD guard? Open ");
}

#[tokio::test]
async fn unknown_routes_name_the_known_ones() {
    let app = app("[plugin_parms]\none=plugin=probe&route_path=/api\ntwo=plugin=probe\n").await;
    let below = send(&app, "GET /api/nothing", &[], "").await;
    assert!(below.status == 404 && below.text.contains("/api/open, /api/service"), "{}", below.text);
    let elsewhere = send(&app, "GET /x", &[], "").await;
    assert!(elsewhere.status == 404 && elsewhere.text.contains("/api/, /two/"), "{}", elsewhere.text);
    assert_eq!(send(&app, "GET /api/below/a/b", &[], "").await.text, "GET below/a/b? Open ");
}

#[tokio::test]
async fn instances_that_want_the_same_path() {
    let app = app("[plugin_parms]\none=plugin=probe&route_path=/x\ntwo=plugin=probe&route_path=/x\n").await;
    let snapshot = app.snapshot();
    assert_eq!((snapshot.mounts.len(), snapshot.failures.len()), (1, 1));
    assert!(snapshot.failures[0].reason.contains("route_path"), "{}", snapshot.failures[0].reason);
    assert_eq!(send(&app, "GET /x/open", &[], "").await.status, 200);
    assert_eq!(send(&app, "GET /readyz", &[], "").await.status, 503);
}

#[tokio::test]
async fn what_failed_is_unavailable_and_not_unknown() {
    let app = serve(snapshot("", vec![Failure::of_instance("gone", "/gone", "a reason".into())])).await;
    let refused = send(&app, "GET /gone/new", &[], "").await;
    assert_eq!((refused.status, &refused.headers["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(send(&app, "GET /gone2", &[], "").await.status, 404);
    assert_eq!(send(&app, "GET /healthz", &[], "").await.status, 200);
    assert_eq!(send(&app, "GET /readyz", &[], "").await.status, 503);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_fails_is_a_problem_and_the_next_request_is_none() {
    let app = app("[limits]\nrequest_timeout=3\n").await;
    assert_eq!(send(&app, "GET /probe/panic", &[], "").await.status, 500);
    assert_eq!(send(&app, "GET /probe/status", &[], "").await.status, 500);
    assert_eq!(send(&app, "GET /probe/never", &[], "").await.status, 504);
    assert_eq!(send(&app, "GET /probe/open", &[], "").await.status, 200);
}

#[tokio::test]
async fn limits() {
    let app = app("[limits]\nmax_body=4\nmax_in_flight=1\n").await;
    assert_eq!(send(&app, "POST /probe/open", &[], "12345").await.status, 413);
    assert_eq!(send(&app, "POST /probe/open", &[], "1234").await.status, 200);
    let mut waiting = Box::pin(send(&app, "GET /probe/never", &[], ""));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let refused = send(&app, "GET /probe/open", &[], "").await;
    assert_eq!((refused.status, &refused.headers["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(send(&app, "GET /healthz", &[], "").await.status, 200);
    drop(waiting);
    assert_eq!(send(&app, "GET /probe/open", &[], "").await.status, 200);
}

#[tokio::test]
async fn what_serves_a_part_is_ready_and_says_so_without_showing_what_is_behind_it() {
    let app = app("[plugin_parms]\nkeeper=auth_type=none&mode=half").await;
    let ready = send(&app, "GET /readyz", &[], "").await;
    assert_eq!(ready.status, 200);
    assert!(
        ready.text.contains("ready in part") && ready.text.contains(r#""instances":["keeper"]"#),
        "{}",
        ready.text
    );
    assert!(!ready.text.contains("db.internal"), "{}", ready.text);
}

#[tokio::test]
async fn control_routes() {
    let open = app("").await;
    assert_eq!(send(&open, "GET /healthz", &[], "").await.text, r#"{"status":"ok"}"#);
    assert_eq!(send(&open, "GET /readyz", &[], "").await.text, r#"{"status":"ready"}"#);
    assert_eq!(send(&open, "POST /readyz", &[], "").await.status, 405);
    assert_eq!(send(&open, "GET /plugins", &[], "").await.status, 403);
    let keyed = app(KEYED).await;
    assert_eq!(send(&keyed, "GET /plugins", &[], "").await.status, 401);
    let listed: Value =
        serde_json::from_str(&send(&keyed, "GET /plugins", &[BEARER], "").await.text).unwrap();
    assert_eq!(listed["instances"][0]["name"], "probe");
    assert_eq!(listed["instances"][0]["state"], "ready");
    assert_eq!(listed["instances"][0]["access"], "key");
}

#[tokio::test]
async fn a_request_names_one_host() {
    let app = app("").await;
    assert_eq!(
        send(&app, "GET /probe/open", &[("host", "localhost"), ("host", "localhost")], "").await.status,
        400
    );
}

const GUARDED: &str = "[auth]\napikey=k1\n[plugin_parms]\nprobe=auth_type=session\nkeeper=auth_type=global\n";

#[tokio::test]
async fn a_guarded_plugin_is_for_live_sessions_whatever_the_route_and_the_key() {
    let app = app(GUARDED).await;
    for path in ["open", "service", "session", "guard", "below/x"] {
        let line =
            if path == "session" { "POST /probe/session".to_owned() } else { format!("GET /probe/{path}") };
        for headers in [&[][..], &[BEARER], &[("x-session-id", "dead")], &[("x-session-id", "nobody's")]] {
            let refused = send(&app, &line, headers, "").await;
            assert_eq!(refused.status, 401, "{line} {headers:?}");
            assert!(refused.headers.contains_key("www-authenticate"));
        }
        let forged = [("x-session-id", "live"), ("x-session-user", "bob"), ("x-user-id", "bob")];
        let answer = send(&app, &line, &forged, "").await;
        assert!(answer.status == 200 && answer.text.ends_with(" for ann"), "{line}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_guard_that_cannot_say_lets_nobody_in() {
    let app = app(GUARDED).await;
    let away = send(&app, "GET /probe/open", &[("x-session-id", "away")], "").await;
    assert_eq!((away.status, &away.headers["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(send(&app, "GET /probe/open", &[("x-session-id", "panic")], "").await.status, 500);
}

#[tokio::test]
async fn a_page_of_another_origin_cannot_use_the_cookie_on_a_guarded_plugin() {
    let app = app(GUARDED).await;
    let (cookie, cross) = (("cookie", "live"), ("sec-fetch-site", "cross-site"));
    assert_eq!(send(&app, "POST /probe/open", &[cookie], "").await.status, 200);
    assert_eq!(send(&app, "POST /probe/open", &[cookie, cross], "").await.status, 403);
    assert_eq!(send(&app, "GET /probe/open", &[cookie, cross], "").await.status, 200);
    assert_eq!(send(&app, "POST /probe/open", &[("x-session-id", "live"), cross], "").await.status, 200);
}

#[tokio::test]
async fn a_guard_must_be_there_and_must_be_one_that_can_be_trusted() {
    for (ini, reason) in [
        ("[plugin_parms]\nprobe=auth_type=session\n", "no instance that keeps sessions"),
        ("[plugin_parms]\nkeeper=auth_type=session\n", "cannot guard what keeps the sessions"),
        ("[plugin_parms]\nprobe=auth_type=session\nkeeper=auth_type=none\n", "allow_open_login=true"),
        ("[plugin_parms]\nprobe=auth_type=session\nkeeper=\n", "allow_open_login=true"),
        (
            "[plugin_parms]\nprobe=auth_type=session\na=plugin=keeper&apikey=k\nb=plugin=keeper&apikey=k\n",
            "session_plugin=a, b",
        ),
        (
            "[plugin_parms]\nprobe=auth_type=session&session_plugin=c\na=plugin=keeper&apikey=k\n",
            "`c` is not an instance that keeps sessions; a do",
        ),
    ] {
        let snapshot = snapshot(ini, Vec::new());
        let failures: Vec<&str> = snapshot.failures.iter().map(|failure| failure.reason.as_str()).collect();
        assert!(failures.len() == 1 && failures[0].contains(reason), "{ini}: {failures:?}");
    }
    let open = "[plugin_parms]\nprobe=auth_type=session\nkeeper=auth_type=none&mode=open\n";
    let app = app(open).await;
    assert_eq!(send(&app, "GET /probe/open", &[("x-session-id", "live")], "").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn requests_wait_while_an_instance_is_replaced() {
    let app = app("[limits]\nrequest_timeout=3\n").await;
    let old = Arc::clone(app.snapshot().instances().next().unwrap());
    old.suspend();
    let mut waiting = Box::pin(send(&app, "POST /probe/open", &[], "body"));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let new = snapshot("[limits]\nrequest_timeout=3\n", Vec::new());
    new.instances().next().unwrap().activate().await.unwrap();
    app.serve(app.announce(new));
    old.retire();
    assert_eq!(waiting.await.text, "POST open? Open body");
    assert_eq!(old.requests.get(), 0);
    let current = Arc::clone(app.snapshot().instances().next().unwrap());
    current.suspend();
    assert_eq!(send(&app, "GET /readyz", &[], "").await.status, 200, "it is not away");
    let late = send(&app, "GET /probe/open", &[], "").await;
    assert_eq!((late.status, &late.headers["retry-after"]), (503, &"1".parse().unwrap()));
    current.resume();
    assert_eq!(send(&app, "GET /probe/open", &[], "").await.status, 200);
}

#[tokio::test]
async fn a_plugin_sees_the_requests_name_and_a_trace_that_is_one() {
    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let app = app("").await;
    let state = ("tracestate", "a=1");
    let seen =
        send(&app, "GET /probe/trace", &[("x-request-id", "r-1"), ("traceparent", GOOD), state], "").await;
    assert_eq!(
        (seen.text, &seen.headers["x-request-id"]),
        (format!("r-1 {GOOD} a=1"), &"r-1".parse().unwrap())
    );
    let seen = send(&app, "GET /probe/trace", &[("traceparent", &GOOD[1..]), state], "").await;
    let made = seen.headers["x-request-id"].to_str().unwrap();
    assert_eq!(seen.text, format!("{made} - -"));
}

#[tokio::test(start_paused = true)]
async fn wrong_keys_are_answered_late_after_some_and_valid_ones_never() {
    let app = app(KEYED).await;
    let wrong = [("x-custom-auth", "no")];
    let start = Instant::now();
    for _ in 0..10 {
        assert_eq!(send(&app, "GET /probe/service", &wrong, "").await.status, 401);
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    let late = send(&app, "GET /probe/service", &wrong, "").await;
    assert_eq!((late.status, &late.headers["retry-after"]), (429, &"6".parse().unwrap()));
    assert_eq!(start.elapsed(), Duration::from_millis(125));
    assert_eq!(send(&app, "GET /metrics", &wrong, "").await.status, 429, "whatever is asked for");
    let start = Instant::now();
    assert_eq!(send(&app, "GET /probe/service", &[BEARER], "").await.status, 200);
    assert_eq!(send(&app, "GET /probe/service", &[], "").await.status, 401, "no key is no guess");
    assert_eq!(
        send(&app, "GET /probe/open", &wrong, "").await.status,
        200,
        "nor is one that nobody asked for"
    );
    assert_eq!(start.elapsed(), Duration::ZERO);
    let metrics = send(&app, "GET /metrics", &[BEARER], "").await.text;
    let slowed = "pserve_requests_total{plugin_instance=\"probe\",route=\"/probe/service\",method=\"GET\",status=\"429\"} 1\n";
    assert!(metrics.contains(slowed), "{metrics}");
}
