//! A plugin that uses sessions: it greets the user who is logged in, and counts their visits in the session itself.
//!
//! ```ini
//! [plugin_parms]
//! sessman=json=sessman.json
//! visits=auth_type=session&calls=sessman
//! ```
//!
//! `auth_type=session` lets in whoever has a live session; `calls=sessman` lets this plugin use that session.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use plugin_api::{CallError, Class, Host, Level, Plugin, Request, Response, Route, export_plugin};
use serde_json::json;

/// How often the log says how many visits there were.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

struct Visits {
    host: Host,
    /// Since the plugin became active, by all users.
    visits: Arc<AtomicU64>,
}

const ROUTES: [Route; 2] =
    [Route::new("", &["GET"], Class::Public), Route::new("leave", &["POST"], Class::Public)];

impl Plugin for Visits {
    const NAME: &'static str = "visits";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    fn prepare(host: Host) -> Result<Self, String> {
        Ok(Self { host, visits: Arc::default() })
    }

    fn routes(&self) -> Vec<Route> {
        ROUTES.to_vec()
    }

    async fn activate(&self) -> Result<(), String> {
        let (host, visits) = (self.host.clone(), Arc::clone(&self.visits));
        // It ends by itself when the plugin is deactivated.
        self.host.interval("report", REPORT_INTERVAL, move || {
            host.log(Level::Info, &format!("{} visits so far", visits.load(Ordering::Relaxed)));
            async {}
        })
    }

    async fn handle(&self, request: Request<'_>) -> Response {
        let answer = match request.route() {
            0 => self.visit(&request).await,
            _ => leave(&request).await,
        };
        answer.unwrap_or_else(|error| {
            // The log gets the reason, and the client a status.
            self.host.log(Level::Warn, &format!("{error} request={}", request.request_id()));
            error.into()
        })
    }
}

impl Visits {
    /// Greets the user, and counts the visit in the session. Two requests at once are two visits: `change` repeats what
    /// another one came before.
    async fn visit(&self, request: &Request<'_>) -> Result<Response, CallError> {
        let mut session = request.session().await?;
        session.change(|data| data["visits"] = json!(data["visits"].as_u64().unwrap_or(0) + 1)).await?;
        self.visits.fetch_add(1, Ordering::Relaxed);
        let visits = &session.data()["visits"];
        Ok(Response::json(200, json!({ "user": session.user_id(), "visits": visits }).to_string())
            .with_header("cache-control", "no-store"))
    }
}

/// Logs the user out.
async fn leave(request: &Request<'_>) -> Result<Response, CallError> {
    request.session().await?.end().await?;
    Ok(Response::new(204))
}

export_plugin!(Visits);

#[cfg(test)]
mod tests {
    use plugin_api::{Call, Level, Response};
    use plugin_test::{LogLine, Request, Setup};
    use serde_json::{Value, json};

    use super::*;

    /// The answer of `sessman` to whoever reads or changes a session with this data.
    fn session(data: &Value) -> Response {
        Response::json(200, json!({ "data": data }).to_string())
            .with_header("etag", format!("\"{}\"", data["visits"]))
    }

    /// The data that a call stores.
    fn sent(call: &Call) -> Value {
        serde_json::from_slice::<Value>(call.body()).unwrap()["data"].take()
    }

    #[test]
    fn the_user_is_greeted_and_the_visit_is_counted_in_the_session() {
        let mut stored = json!({ "theme": "dark", "visits": 2 });
        let visits = Setup::of::<Visits>().answer_calls(move |call| {
            if call.method() == "POST" {
                stored = sent(call);
            }
            Ok(session(&stored))
        });
        let visits = visits.start();
        let request = Request::get("/visits").principal("ada", "session-1");
        let answer = visits.call(&request).unwrap().expect(200);
        assert_eq!(answer.json(), json!({ "user": "ada", "visits": 3 }));
        let update = &visits.calls()[1];
        assert_eq!((update.path(), update.session()), ("update?mode=replace&user_id=ada", Some("session-1")));
        assert_eq!(update.header("if-match"), Some("\"2\""));
        assert_eq!(sent(update), json!({ "theme": "dark", "visits": 3 }));
    }

    #[test]
    fn a_visit_that_another_one_came_before_is_counted_as_well() {
        let mut stored = json!({ "visits": 2 });
        let visits = Setup::of::<Visits>().answer_calls(move |call| {
            match (call.method(), call.header("if-match")) {
                // The other one is stored first.
                ("POST", Some("\"2\"")) => {
                    stored = json!({ "visits": 3 });
                    return Ok(Response::problem(412, "another version"));
                }
                ("POST", _) => stored = sent(call),
                _ => {}
            }
            Ok(session(&stored))
        });
        let visits = visits.start();
        let request = Request::get("/visits").principal("ada", "session-1");
        assert_eq!(visits.call(&request).unwrap().expect(200).json()["visits"], 4);
        let calls = visits.calls();
        let methods: Vec<&str> = calls.iter().map(Call::method).collect();
        assert_eq!(methods, ["GET", "POST", "GET", "POST"]);
    }

    #[test]
    fn whoever_leaves_is_logged_out() {
        let visits = Setup::of::<Visits>().answer_calls(|_| Ok(session(&json!({})))).start();
        let request = Request::post("/visits/leave").principal("ada", "session-1");
        visits.call(&request).unwrap().expect(204);
        let calls = visits.calls();
        let paths: Vec<&str> = calls.iter().map(Call::path).collect();
        assert_eq!(paths, ["get?user_id=ada", "end?user_id=ada"]);
        assert_eq!(calls[1].session(), Some("session-1"));
    }

    #[test]
    fn without_a_live_session_there_is_no_visit() {
        let ended = |_: &Call| Ok(Response::problem(404, "there is no such session"));
        let visits = Setup::of::<Visits>().answer_calls(ended).start();
        let request = Request::get("/visits").request_id("r-1");
        visits.call(&request).unwrap().expect(401);
        assert!(visits.calls().is_empty());
        visits.call(&request.principal("ada", "session-1")).unwrap().expect(401);
        let text = "there is no live session request=r-1".to_owned();
        let line = LogLine { level: Level::Warn, text };
        assert_eq!(visits.log(), [line.clone(), line]);
    }

    #[test]
    fn the_log_says_each_minute_how_many_visits_there_were() {
        let visits = Setup::of::<Visits>().answer_calls(|_| Ok(session(&json!({})))).start();
        visits.advance(Duration::from_secs(59)).unwrap();
        assert!(visits.log().is_empty());
        visits.advance(Duration::from_secs(1)).unwrap();
        assert_eq!(visits.log()[0].text, "0 visits so far");
        visits.call(&Request::get("/visits").principal("ada", "session-1")).unwrap().expect(200);
        visits.advance(REPORT_INTERVAL).unwrap();
        assert_eq!(visits.log()[1].text, "1 visits so far");
    }
}
