//! A plugin that makes the calls that a request describes, and says what came of them.
//!
//! `POST call` and `POST own` take `{"instance", "method", "path", "headers", "body", "session"}`: the one for the request, the
//! other of the plugin's own. `GET stream` passes another plugin's stream on. With `task=NAME` a task calls `stats` of that
//! instance every 20 ms, and `GET` says how often that worked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use plugin_api::{Answer, Call, CallError, Class, Host, Plugin, Request, Response, Route, export_plugin};
use serde_json::{Value, json};

struct Caller {
    host: Host,
    config: Value,
    tasks_done: Arc<AtomicU64>,
}

const ROUTES: [Route; 5] = [
    Route::new("", &["GET"], Class::Public),
    Route::new("call", &["POST"], Class::Public),
    Route::new("own", &["POST"], Class::Public),
    Route::new("stream", &["GET"], Class::Public),
    Route::new("called", &["GET", "POST"], Class::Public),
];

impl Plugin for Caller {
    const NAME: &'static str = "caller";
    const VERSION: &'static str = "1.0.0";

    fn prepare(host: Host) -> Result<Self, String> {
        let config = serde_json::from_str(host.config()).map_err(|error| error.to_string())?;
        Ok(Self { host, config, tasks_done: Arc::default() })
    }

    fn routes(&self) -> Vec<Route> {
        ROUTES.to_vec()
    }

    async fn activate(&self) -> Result<(), String> {
        let Some(name) = self.config["task"].as_str().map(str::to_owned) else { return Ok(()) };
        let (host, done) = (self.host.clone(), Arc::clone(&self.tasks_done));
        self.host.interval("stats", Duration::from_millis(20), move || {
            let (calls, done, name) = (host.calls(), Arc::clone(&done), name.clone());
            async move {
                let Ok(calls) = calls else { return };
                let answer = calls.send(Call::new(&name, "GET", "stats")).await;
                if answer.is_ok_and(|answer| answer.is_success()) {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    }

    async fn handle(&self, request: Request<'_>) -> Response {
        match request.route() {
            0 => Response::text(200, self.tasks_done.load(Ordering::Relaxed).to_string()),
            1 => told(send(request.calls(), &request).await),
            2 => told(send(self.host.calls(), &request).await),
            3 => match stream(&request).await {
                Ok(response) => response,
                Err(error) => told(Err(error)),
            },
            _ => called(&request),
        }
    }
}

/// Makes the call that the request's body describes.
async fn send(
    calls: Result<plugin_api::Calls, CallError>,
    request: &Request<'_>,
) -> Result<Answer, CallError> {
    let told: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    let text = |name: &str| told[name].as_str().unwrap_or_default();
    let mut call = Call::new(text("instance"), text("method"), text("path"));
    for (name, value) in told["headers"].as_object().into_iter().flatten() {
        // A header's name is static; those of the tests are few.
        call = call.with_header(name.clone().leak(), value.as_str().unwrap_or_default().to_owned());
    }
    if !told["body"].is_null() {
        call = call.with_json(&told["body"]);
    }
    if let Some(handle) = told["session"].as_str() {
        call = call.on_session(handle);
    }
    calls?.send(call).await
}

/// What came of a call.
fn told(answer: Result<Answer, CallError>) -> Response {
    let told = match answer {
        Ok(answer) => json!({
            "status": answer.status(),
            "set_cookie": answer.header("set-cookie"),
            "body": answer.json().unwrap_or(Value::Null),
        }),
        Err(error) => {
            let kind = format!("{error:?}");
            json!({ "error": kind.split('(').next(), "detail": error.to_string() })
        }
    };
    Response::json(200, told.to_string())
}

async fn stream(request: &Request<'_>) -> Result<Response, CallError> {
    let call = Call::new("sessman", "GET", "events");
    Ok(request.calls()?.send(call).await?.into_response())
}

/// What the called side sees.
fn called(request: &Request<'_>) -> Response {
    let called = request.called();
    let mut headers: Vec<&str> = request.headers().map(|(name, _)| name).collect();
    headers.sort_unstable();
    let told = json!({
        "by": called.as_ref().map(|called| &called.instance),
        "grant": called.as_ref().map(|called| format!("{:?}", called.grant)),
        "session": called.as_ref().and_then(|called| called.session.as_deref()),
        "caller": format!("{:?}", request.caller()),
        "address": request.client_address().map(|address| address.to_string()),
        "request_id": request.request_id(),
        "path": request.path(),
        "query": request.query(),
        "user": request.principal().map(|principal| principal.user_id),
        "cookie": request.header("cookie").map(String::from_utf8_lossy),
        "headers": headers,
        "seconds_left": request.time_left().as_secs(),
    });
    Response::json(200, told.to_string())
}

export_plugin!(Caller);
