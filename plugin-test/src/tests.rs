//! With a plugin that does what plugins do.

use std::fs;
use std::future::{pending, poll_fn};
use std::net::IpAddr;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use futures_util::stream;
use plugin_api::abi::plugin::CAPABILITY_AUTHENTICATE;
use plugin_api::{
    Budget, Caller, Class, Health, Host, Level, Memory, Plugin, Principal, Response, Route, Secret,
    Unavailable,
};
use serde_json::json;

use crate::{Authentication, Failure, Instance, LogLine, Request, Setup};

/// Does what the path below its mount says.
struct Doer {
    host: Host,
    budget: Option<Budget>,
}

impl Doer {
    fn file(&self) -> std::path::PathBuf {
        self.host.state_folder().join("active")
    }
}

const ROUTES: [Route; 7] = [
    Route::new("", &["GET"], Class::Public),
    Route::new("keyed", &["GET"], Class::Service),
    Route::new("own/*", &["HEAD", "GET", "PUT"], Class::Session),
    Route::new("own/here", &["*"], Class::Session),
    Route::new("verify", &["GET"], Class::ForwardAuth),
    Route::new("do/*", &["POST"], Class::Public),
    Route::new("now", &["GET", "POST"], Class::Public),
];

impl Plugin for Doer {
    const NAME: &'static str = "Doer";
    const VERSION: &'static str = "1.0.0";
    const ANSWERS_NOW: bool = true;

    fn prepare(host: Host) -> Result<Self, String> {
        match host.config() {
            config if config.contains("panic") => panic!("in prepare"),
            config if config.contains("refuse") => Err("refuse: there is no such key".to_owned()),
            _ => Ok(Self { budget: host.budget(), host }),
        }
    }

    fn routes(&self) -> Vec<Route> {
        if self.host.config().contains("no-routes") { Vec::new() } else { ROUTES.into() }
    }

    fn capabilities(&self) -> u64 {
        CAPABILITY_AUTHENTICATE
    }

    async fn activate(&self) -> Result<(), String> {
        if self.host.config().contains("locked") {
            return Err("the file is locked".to_owned());
        }
        fs::write(self.file(), "").map_err(|error| error.to_string())
    }

    async fn deactivate(&self) -> Result<(), String> {
        self.host.log(Level::Warn, "deactivated");
        fs::remove_file(self.file()).map_err(|error| error.to_string())
    }

    fn handle_now(&self, request: plugin_api::Request<'_>) -> Option<Response> {
        (request.path_below_mount() == "now").then(|| Response::text(200, "at once"))
    }

    async fn handle(&self, request: plugin_api::Request<'_>) -> Response {
        let Some(what) = request.path_below_mount().strip_prefix("do/") else {
            return shown(&request);
        };
        match what {
            "panic" => panic!("on purpose"),
            "wait" => {
                thread_ready().await;
                Response::text(200, "waited for")
            }
            "never" => pending().await,
            "stream" => {
                let pieces = ["a", "b", "c"].map(|piece| Ok(piece.as_bytes().to_vec()));
                Response::stream(200, stream::iter(pieces))
            }
            "bad-stream" => {
                let pieces = [Ok(b"a".to_vec()), Err("the disk is gone".to_owned())];
                Response::stream(200, stream::iter(pieces))
            }
            "endless" => Response::stream(200, stream::pending()),
            "status" => Response::new(99),
            "header" => Response::new(200).with_header("x-bad", "a\r\nx-more: 1"),
            "empty" => Response::text(204, "never sent"),
            "guess" => {
                assert!(request.brought_wrong(Secret::SessionId));
                Response::new(401)
            }
            "draw" => {
                let drawn = self.budget.as_ref().is_some_and(|budget| budget.draw(Memory::Kept, 60));
                Response::json(200, drawn.to_string())
            }
            "log" => {
                self.host.log(Level::Debug, "a detail");
                self.host.log(Level::Error, "a failure");
                Response::json(200, self.host.log_enabled(Level::Debug).to_string())
            }
            other => Response::problem(404, other),
        }
    }

    async fn authenticate(&self, request: plugin_api::Request<'_>) -> Result<Option<Principal>, Unavailable> {
        let principal = |user: &str| Principal { user_id: user.to_owned(), handle: "h".to_owned() };
        match request.header("x-session-id") {
            Some(b"ada") => Ok(Some(principal("ada"))),
            Some(b"nobody") => Ok(Some(principal(""))),
            Some(_) => Err(Unavailable),
            None => Ok(None),
        }
    }

    async fn health(&self) -> Health {
        Health::ReadyInPart("one of two disks".to_owned())
    }
}

/// Ready when another thread says so.
async fn thread_ready() {
    let mut is_asked = false;
    poll_fn(move |context| {
        if std::mem::replace(&mut is_asked, true) {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        thread::spawn(move || waker.wake());
        Poll::Pending
    })
    .await
}

/// All that a plugin sees of a request.
fn shown(request: &plugin_api::Request<'_>) -> Response {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers: Vec<_> = request.headers().map(|(name, value)| (name.to_owned(), text(value))).collect();
    let shown = json!({
        "route": request.route(),
        "method": request.method(),
        "path": request.path(),
        "below": request.path_below_mount(),
        "query": request.query(),
        "headers": headers,
        "all_x": request.header_all("x").map(text).collect::<Vec<_>>(),
        "body": text(request.body()),
        "address": request.client_address().map(|address| address.to_string()),
        "scheme": request.scheme(),
        "host": request.host(),
        "id": request.request_id(),
        "caller": format!("{:?}", request.caller()),
        "user": request.principal().map(|principal| principal.user_id),
        "cross_site": request.is_cross_site(),
        "time": request.time_left() > Duration::from_secs(1),
    });
    Response::json(200, shown.to_string())
}

#[test]
fn a_plugin_sees_the_whole_request() {
    let doer = Setup::of::<Doer>().mount("/api/doer/").start();
    let address: IpAddr = "2001:db8::7".parse().unwrap();
    let request = Request::new("PUT", "/api/doer/own/a%20b?x=1&y")
        .header("X", "1")
        .header("x", "2")
        .json(&json!({ "a": 1 }))
        .caller(Caller::Keyed)
        .principal("ada", "h")
        .client_address(Some(address))
        .scheme("https")
        .host("example.org:8443")
        .request_id("r-1")
        .cross_site();
    let shown = doer.call(&request).unwrap().expect(200).json();
    let expected = json!({
        "route": 2, "method": "PUT", "path": "/api/doer/own/a%20b", "below": "own/a%20b", "query": "x=1&y",
        "headers": [["x", "1"], ["x", "2"], ["content-type", "application/json"]], "all_x": ["1", "2"],
        "body": r#"{"a":1}"#, "address": "2001:db8::7", "scheme": "https", "host": "example.org:8443", "id": "r-1",
        "caller": "Keyed", "user": "ada", "cross_site": true, "time": true,
    });
    assert_eq!(shown, expected);
    let bare = doer.call(&Request::get("/api/doer").client_address(None)).unwrap().json();
    assert_eq!(
        (&bare["address"], &bare["caller"], &bare["user"]),
        (&json!(null), &json!("Open"), &json!(null))
    );
    assert_eq!(
        (&bare["scheme"], &bare["host"], &bare["body"]),
        (&json!("http"), &json!("localhost"), &json!(""))
    );
}

#[test]
fn routes_are_found_as_the_host_finds_them() {
    let doer = Setup::of::<Doer>().start();
    let call = |method: &str, path: &str| doer.call(&Request::new(method, path)).unwrap();
    let seen = |method: &str, path: &str| {
        let shown = call(method, path).expect(200).json();
        (shown["route"].as_u64().unwrap(), shown["method"].as_str().unwrap().to_owned())
    };
    assert_eq!(seen("GET", "/doer"), (0, "GET".into()));
    assert_eq!(seen("PUT", "/doer/own/x/y"), (2, "PUT".into()));
    assert_eq!(seen("PROPFIND", "/doer/own/here"), (3, "PROPFIND".into()));
    for path in ["/", "/doer/", "/Doer", "/doer/keyed/more"] {
        assert_eq!(call("GET", path).status(), 404, "{path}");
    }
    let refused = call("POST", "/doer").expect(405);
    assert_eq!(refused.header("Allow"), Some("GET, HEAD, OPTIONS"));
    assert_eq!(refused.json()["type"], "urn:pserve:problem:method-not-allowed");
    let options = call("OPTIONS", "/doer").expect(204);
    assert_eq!((options.header("allow"), options.body()), (Some("GET, HEAD, OPTIONS"), [].as_slice()));
    let head = call("HEAD", "/doer").expect(200);
    assert_eq!((head.header("content-type"), head.text()), (Some("application/json"), ""));

    let root = Setup::of::<Doer>().mount("/").start();
    assert_eq!(root.call(&Request::get("/own/x")).unwrap().json()["below"], "own/x");
}

#[test]
fn a_route_for_services_needs_the_key_and_others_only_tell() {
    let doer = Setup::of::<Doer>().start();
    let status = |path: &str, caller| doer.call(&Request::get(path).caller(caller)).unwrap().status();
    assert_eq!(status("/doer/keyed", Caller::Unkeyed), 401);
    assert_eq!(status("/doer/keyed", Caller::Keyed), 200);
    assert_eq!(status("/doer/keyed", Caller::Open), 200);
    assert_eq!(status("/doer/own/x", Caller::Unkeyed), 200);
}

#[test]
fn forward_auth_sees_nothing_of_the_other_requests_query_and_body() {
    let doer = Setup::of::<Doer>().start();
    let shown = doer.call(&Request::get("/doer/verify?a=1").body("secret")).unwrap().json();
    assert_eq!((&shown["query"], &shown["body"]), (&json!(""), &json!("")));
}

#[test]
fn a_panic_is_an_error_that_says_so() {
    let doer = Setup::of::<Doer>().start();
    let failure = doer.call(&Request::post("/doer/do/panic")).unwrap_err();
    assert_eq!(failure, Failure::Panicked("panicked: on purpose".into()));
    assert_eq!(failure.to_string(), "the plugin panicked: on purpose");
    // The instance lives on.
    doer.call(&Request::get("/doer")).unwrap().expect(200);
    let refused = Setup::of::<Doer>().config(json!({ "panic": 1 })).prepare().unwrap_err();
    assert_eq!(refused, "panicked: in prepare");
}

#[test]
fn answers_that_are_late_or_not_http_are_errors() {
    let doer = Setup::of::<Doer>().start();
    let call = |what: &str| doer.call(&Request::post(&format!("/doer/do/{what}")));
    assert_eq!(call("wait").unwrap().text(), "waited for");
    let soon = Duration::from_millis(50);
    for what in ["never", "endless"] {
        let request = Request::post(&format!("/doer/do/{what}")).time_left(soon);
        assert_eq!(doer.call(&request).unwrap_err(), Failure::Late(soon), "{what}");
    }
    assert_eq!(call("status").unwrap_err(), Failure::NotHttp("status 99".into()));
    assert!(call("header").unwrap_err().to_string().contains("x-bad"));
    let empty = call("empty").unwrap().expect(204);
    assert!(empty.body().is_empty());
}

#[test]
fn streams_are_collected() {
    let doer = Setup::of::<Doer>().start();
    let answer = doer.call(&Request::post("/doer/do/stream")).unwrap();
    assert_eq!((answer.text(), answer.pieces().len()), ("abc", 3));
    let failure = doer.call(&Request::post("/doer/do/bad-stream")).unwrap_err();
    assert_eq!(failure, Failure::Stream("the disk is gone".into()));
}

#[test]
fn immediate_answers_are_asked_for_as_the_host_does() {
    let text = |doer: &Instance, request: &Request| doer.call(request).unwrap().expect(200).text().to_owned();
    let doer = Setup::of::<Doer>().start();
    assert_eq!(text(&doer, &Request::get("/doer/now")), "at once");
    assert_ne!(text(&doer, &Request::post("/doer/now").body("x")), "at once");
    assert_ne!(text(&doer, &Request::get("/doer/now").principal("ada", "h")), "at once");
    let doer = Setup::of::<Doer>().handle_only().start();
    assert_ne!(text(&doer, &Request::get("/doer/now")), "at once");
}

#[test]
fn the_life_of_an_instance() {
    let doer = Setup::of::<Doer>().prepare().unwrap();
    assert!(!doer.state_folder().exists());
    assert_eq!(doer.call(&Request::get("/doer")).unwrap_err(), Failure::Inactive);
    assert_eq!(doer.health().unwrap_err(), Failure::Inactive);
    let file = doer.state_folder().join("active");
    for _ in 0..2 {
        doer.activate().unwrap();
        assert!(file.exists());
        doer.deactivate().unwrap();
        assert!(!file.exists());
    }
    doer.activate().unwrap();
    assert_eq!(doer.health().unwrap(), Health::ReadyInPart("one of two disks".into()));
    assert_eq!((doer.metrics().unwrap(), doer.openapi().unwrap()), (String::new(), None));
    fs::remove_file(&file).unwrap();
    let failure = doer.stop().unwrap_err();
    assert!(matches!(&failure, Failure::Refused(reason) if reason.contains("No such file")), "{failure}");
    assert!(!file.parent().unwrap().exists(), "its folder is gone with it");

    let refused = |config| Setup::of::<Doer>().config(config).prepare();
    assert_eq!(refused(json!({ "refuse": 1 })).unwrap_err(), "refuse: there is no such key");
    assert!(refused(json!({ "no-routes": 1 })).unwrap_err().contains("no routes"));
    let locked = refused(json!({ "locked": 1 })).unwrap();
    assert_eq!(locked.activate().unwrap_err(), Failure::Refused("the file is locked".into()));
    assert_eq!(locked.call(&Request::get("/doer")).unwrap_err(), Failure::Inactive);
}

#[test]
fn a_folder_that_was_given_is_kept_and_an_instance_that_is_dropped_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let doer = Setup::of::<Doer>().state_folder(&state).start();
    assert!(state.join("active").exists());
    drop(doer);
    assert!(state.exists() && !state.join("active").exists());
}

#[test]
fn what_the_plugin_logged_can_be_read() {
    let line = |level, text: &str| LogLine { level, text: text.to_owned() };
    let doer = Setup::of::<Doer>().start();
    assert_eq!(doer.call(&Request::post("/doer/do/log")).unwrap().json(), true);
    assert_eq!(doer.log(), [line(Level::Debug, "a detail"), line(Level::Error, "a failure")]);
    let doer = Setup::of::<Doer>().level(Level::Warn).start();
    assert_eq!(doer.call(&Request::post("/doer/do/log")).unwrap().json(), false);
    assert_eq!(doer.log(), [line(Level::Error, "a failure")]);
}

#[test]
fn memory_and_guesses_reach_the_test() {
    let doer = Setup::of::<Doer>().memory(100).start();
    let draw = || doer.call(&Request::post("/doer/do/draw")).unwrap().json();
    assert_eq!((draw(), draw(), doer.memory_drawn()), (json!(true), json!(false), 60));
    let answer = doer.call(&Request::post("/doer/do/guess")).unwrap().expect(401);
    assert_eq!(answer.wrong_secrets(), [Secret::SessionId]);
    assert!(doer.call(&Request::get("/doer")).unwrap().wrong_secrets().is_empty());
}

#[test]
fn whose_session_it_is_is_taken_as_the_host_takes_it() {
    let doer = Setup::of::<Doer>().start();
    let said = |id: &str| doer.authenticate(&Request::get("/other").header("X-Session-Id", id)).unwrap();
    let ada = Principal { user_id: "ada".into(), handle: "h".into() };
    assert_eq!(said("ada"), Authentication::Live(ada));
    assert_eq!((said("nobody"), said("other")), (Authentication::None, Authentication::Unavailable));
    assert_eq!(doer.authenticate(&Request::get("/other")).unwrap(), Authentication::None);
}
