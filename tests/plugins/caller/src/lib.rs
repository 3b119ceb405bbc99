//! A plugin that makes the calls that a request describes, and says what came of them.
//!
//! `POST call` and `POST own` take `{"instance", "method", "path", "headers", "body", "session"}`: the one for the request, the
//! other of the plugin's own; `POST thread` makes it on a thread of the plugin's own. `GET stream` passes another plugin's
//! stream on. With `task=NAME` a task calls `stats` of that instance every 20 ms, and `GET` says how often that worked. With
//! `edges=NAME` it is called while the plugin is activated and deactivated. `clings=yes` refuses to let go, and `bomb=yes` has
//! a task that panics when it is dropped.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use plugin_api::{
    Answer, Call, CallError, Class, Host, Level, Plugin, Request, Response, Route, export_plugin,
};
use serde_json::{Value, json};

struct Caller {
    host: Host,
    config: Value,
    tasks_done: Arc<AtomicU64>,
}

const ROUTES: [Route; 6] = [
    Route::new("", &["GET"], Class::Public),
    Route::new("call", &["POST"], Class::Public),
    Route::new("own", &["POST"], Class::Public),
    Route::new("stream", &["GET"], Class::Public),
    Route::new("called", &["GET", "POST"], Class::Public),
    Route::new("thread", &["POST"], Class::Public),
];

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("this task panics in drop");
    }
}

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
        self.call_at("start").await?;
        if self.config["bomb"].is_string() {
            let bomb = Bomb;
            self.host.spawn("bomb", async move {
                std::future::pending::<()>().await;
                drop(bomb);
            })?;
        }
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

    async fn deactivate(&self) -> Result<(), String> {
        self.call_at("end").await?;
        match self.config["clings"].is_string() {
            true => Err("this plugin does not let go".to_owned()),
            false => Ok(()),
        }
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
            4 => called(&request),
            _ => {
                let call = call_of(&request);
                let calls = self.host.calls();
                let thread = std::thread::spawn(move || block_on(async { calls?.send(call).await }));
                // Blocks: a test has threads to spare.
                told(
                    thread
                        .join()
                        .unwrap_or_else(|_| Err(CallError::Failed("the thread panicked".to_owned()))),
                )
            }
        }
    }
}

impl Caller {
    /// Calls the instance that `edges` names, and logs what came of it.
    async fn call_at(&self, edge: &str) -> Result<(), String> {
        let Some(name) = self.config["edges"].as_str() else { return Ok(()) };
        let calls = self.host.calls().map_err(|error| error.to_string())?;
        let answer = calls.send(Call::new(name, "GET", "stats")).await.map_err(|error| error.to_string())?;
        self.host.log(Level::Info, &format!("at the {edge}: {}", answer.status()));
        Ok(())
    }
}

/// Waits on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Makes the call that the request's body describes.
async fn send(
    calls: Result<plugin_api::Calls, CallError>,
    request: &Request<'_>,
) -> Result<Answer, CallError> {
    calls?.send(call_of(request)).await
}

fn call_of(request: &Request<'_>) -> Call {
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
    call
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
