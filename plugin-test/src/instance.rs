//! An instance of a plugin: its life cycle, and its routes.

use std::fmt;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use abi_stable::std_types::{ROption, RResult, RString};
use async_ffi::{BorrowingFfiFuture, ContextExt, FfiPoll};
use plugin_api::abi::now::{NOW, NOW_VERSION, RawNowBox};
use plugin_api::abi::plugin::{RawAuthentication, RawHealth, RawPluginBox};
use plugin_api::abi::response::{RawResponse, RawStreamBox};
use plugin_api::routing::{self, MountedRoute, Table};
use plugin_api::{Call, Caller, Class, Health, Principal, Response};
use tempfile::TempDir;

use crate::answer::Answer;
use crate::block_on::block_on;
use crate::failure::Failure;
use crate::host::{LogLine, TestHost};
use crate::request::{Request, TestRequest};

/// For a call of the life cycle: a test that hangs should fail.
const LIMIT: Duration = Duration::from_secs(30);

/// An instance of a plugin. When it is dropped, it is stopped.
pub struct Instance {
    // Dropped before the folder is removed.
    raw: RawPluginBox,
    /// Present if the plugin has immediate answers, and they are wanted.
    now: Option<RawNowBox>,
    host: Arc<TestHost>,
    folder: Folder,
    mount: String,
    routes: Vec<MountedRoute>,
    table: Table<usize>,
    is_active: AtomicBool,
    is_stopped: bool,
}

/// The folder for the instance's files.
pub(crate) enum Folder {
    /// Kept.
    Given(PathBuf),
    /// Removed with the instance. The folder for the instance's files is one in it, which is made as late as the host
    /// makes it.
    Own { _above: TempDir, path: PathBuf },
}

impl Folder {
    pub(crate) fn new(given: Option<PathBuf>) -> Self {
        match given {
            Some(given) => Self::Given(std::path::absolute(given).expect("the current folder is there")),
            None => {
                let above = tempfile::Builder::new().prefix("plugin-test-").tempdir();
                let above = above.expect("a temporary folder can be made");
                Self::Own { path: above.path().join("state"), _above: above }
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Given(path) | Self::Own { path, .. } => path,
        }
    }
}

/// What a plugin that keeps sessions says about a request, as the host takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// No live session, or one without a user.
    None,
    /// A live session of this user.
    Live(Principal),
    /// The session could not be checked.
    Unavailable,
}

impl Instance {
    pub(crate) fn new(
        raw: RawPluginBox,
        host: Arc<TestHost>,
        folder: Folder,
        mount: String,
        is_handle_only: bool,
    ) -> Result<Self, String> {
        let routes = routing::listed(&raw, &mount)?;
        let mut table = Table::default();
        for (index, route) in routes.iter().enumerate() {
            table.add(&route.path, index);
        }
        let now = if is_handle_only { None } else { raw.extension(NOW.into(), NOW_VERSION).into_option() };
        let now = now.and_then(|extension| extension.downcast().ok());
        let is_active = AtomicBool::new(false);
        Ok(Self { raw, now, host, folder, mount, routes, table, is_active, is_stopped: false })
    }

    /// Makes the state folder and activates the instance.
    ///
    /// # Errors
    /// The plugin refused, panicked or did not answer.
    ///
    /// # Panics
    /// The state folder cannot be made.
    pub fn activate(&self) -> Result<(), Failure> {
        std::fs::create_dir_all(self.state_folder()).expect("the state folder can be made");
        self.host.tasks.open();
        let activated = self.live(self.raw.activate()).map_err(refused);
        match activated {
            Ok(()) => self.is_active.store(true, Ordering::SeqCst),
            Err(_) => self.host.tasks.close(),
        }
        activated
    }

    /// Drops its tasks and deactivates the instance; it may be activated again. From then on it gets no request.
    ///
    /// # Errors
    /// The plugin refused, panicked or did not answer.
    pub fn deactivate(&self) -> Result<(), Failure> {
        self.is_active.store(false, Ordering::SeqCst);
        self.host.tasks.close();
        self.live(self.raw.deactivate()).map_err(refused)
    }

    /// Stops the instance as the host does at its end: deactivates it if it is active, shuts it down and drops it.
    ///
    /// # Errors
    /// The plugin refused, panicked or did not answer.
    pub fn stop(mut self) -> Result<(), Failure> {
        self.is_stopped = true;
        self.end()
    }

    fn end(&self) -> Result<(), Failure> {
        let was_active = self.is_active.load(Ordering::SeqCst);
        let deactivated = if was_active { self.deactivate() } else { Ok(()) };
        deactivated.and(self.live(self.raw.shutdown()))
    }

    /// Moves the clock of its tasks, and runs them: first what is ready, then at the end of each sleep on the way, in their
    /// order, what waited for it. Tasks run here alone: those that `activate` has started begin with the first call;
    /// [`Duration::ZERO`] runs only what is ready. What another thread wakes runs with the next call.
    ///
    /// # Errors
    /// It is not active, or its tasks do not come to rest within 30 s. A panic of a task is a line of the log.
    pub fn advance(&self, time: Duration) -> Result<(), Failure> {
        self.check_active()?;
        let advanced = self.host.tasks.advance(time, LIMIT);
        self.host.calls.check();
        advanced
    }

    /// Whether the plugin says that it can serve.
    ///
    /// # Errors
    /// It is not active; or the plugin panicked or did not answer.
    pub fn health(&self) -> Result<Health, Failure> {
        self.check_active()?;
        let RawHealth { ready, detail } = self.live(self.raw.health())?;
        Ok(match (ready, detail.into_string()) {
            (true, detail) if detail.is_empty() => Health::Ready,
            (true, detail) => Health::ReadyInPart(detail),
            (false, detail) => Health::NotReady(detail),
        })
    }

    /// Its metrics in Prometheus text format.
    ///
    /// # Errors
    /// It is not active; or the plugin panicked or did not answer.
    pub fn metrics(&self) -> Result<String, Failure> {
        self.check_active()?;
        self.live(self.raw.metrics()).map(RString::into_string)
    }

    /// Its OpenAPI document, as text.
    ///
    /// # Errors
    /// It is not active; or the plugin panicked or did not answer.
    pub fn openapi(&self) -> Result<Option<String>, Failure> {
        self.check_active()?;
        Ok(self.live(self.raw.openapi())?.into_option().map(RString::into_string))
    }

    /// Asks a plugin that keeps sessions whose live session the request carries. It sees no path below the mount, no
    /// query and no body.
    ///
    /// # Errors
    /// It is not active; or the plugin panicked or did not answer.
    pub fn authenticate(&self, request: &Request) -> Result<Authentication, Failure> {
        self.check_active()?;
        let call = TestRequest::new(request, &self.host.calls);
        let answer = asked(self.raw.authenticate(call.raw()), call.deadline, request.time_left);
        self.host.calls.check();
        let RawAuthentication { outcome, user_id, handle } = answer?;
        Ok(match outcome {
            0 => Authentication::None,
            // A session without a user authenticates nobody.
            1 if user_id.is_empty() => Authentication::None,
            1 => Authentication::Live(Principal { user_id: user_id.into(), handle: handle.into() }),
            _ => Authentication::Unavailable,
        })
    }

    /// Sends a request to the route that the host would find, and returns the answer with its whole body.
    ///
    /// The host's own answers come as it gives them: 404 where no route is, 405 and `Allow` where the route does not
    /// accept the method, 204 and `Allow` for OPTIONS, and 401 where a route of the class `Service` is called without
    /// the key. HEAD is seen as a GET where the route does not list it, and its answer has no body.
    ///
    /// # Errors
    /// It is not active; the plugin panicked, did not answer in time, or gave an answer that is not HTTP.
    pub fn call(&self, request: &Request) -> Result<Answer, Failure> {
        let Some(index) = self.table.find(&request.path).copied() else {
            let paths: Vec<&str> = self.routes.iter().map(|route| route.path.as_str()).collect();
            let detail = format!("no such route; `{}` has {}", self.host.instance, paths.join(", "));
            return of_host(Response::problem_of("urn:pserve:problem:no-route", 404, &detail));
        };
        let route = &self.routes[index];
        let Some(method) = route.seen_method(&request.method) else {
            return of_host(not_accepted(route, &request.method));
        };
        self.check_active()?;
        if request.caller == Caller::Unkeyed && route.class == Class::Service {
            let detail = "a valid API key is needed";
            return of_host(Response::problem_of("urn:pserve:problem:key-required", 401, detail));
        }
        let (query, body) = match route.ignores_bodies() {
            // They belong to the other request.
            true => ("", [].as_slice()),
            false => (request.query.as_str(), request.body.as_slice()),
        };
        let call = TestRequest {
            route: u32::try_from(index).unwrap_or(u32::MAX),
            method,
            below_mount: routing::below(&self.mount, &request.path),
            query,
            body,
            ..TestRequest::new(request, &self.host.calls)
        };
        let answer = self.answer(&call);
        self.host.calls.check();
        answer.map(|answer| if request.method == "HEAD" { answer.without_body() } else { answer })
    }

    fn answer(&self, call: &TestRequest<'_>) -> Result<Answer, Failure> {
        let time_left = call.request.time_left;
        let response = match self.answer_now(call)? {
            Some(response) => response,
            None => asked(self.raw.handle(call.raw()), call.deadline, time_left)?,
        };
        let RawResponse { status, headers, body, stream, .. } = response;
        let pieces = match stream {
            ROption::RSome(stream) => {
                block_on(collected(stream), call.deadline).ok_or(Failure::Late(time_left))??
            }
            ROption::RNone if body.is_empty() => Vec::new(),
            ROption::RNone => vec![body.into_vec()],
        };
        Answer::new(status, headers, pieces, call.wrong_secrets())
    }

    /// The immediate answer, which the host asks for where there is no body and no guard, and never for a call.
    fn answer_now(&self, call: &TestRequest<'_>) -> Result<Option<RawResponse>, Failure> {
        let Some(now) = &self.now else { return Ok(None) };
        let Request { principal, called, .. } = call.request;
        if !call.body.is_empty() || principal.is_some() || called.is_some() {
            return Ok(None);
        }
        match now.handle_now(call.raw()) {
            RResult::ROk(answer) => Ok(answer.into_option()),
            RResult::RErr(panic) => Err(Failure::Panicked(panic.into_string())),
        }
    }

    /// The lines that the plugin has logged so far.
    pub fn log(&self) -> Vec<LogLine> {
        self.host.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The calls that the plugin has made to other instances so far, whatever they were answered.
    pub fn calls(&self) -> Vec<Call> {
        self.host.calls.made()
    }

    /// The memory that the plugin has reserved by `Host::budget` at the moment, in bytes.
    pub fn memory_drawn(&self) -> u64 {
        self.host.drawn.load(Ordering::Relaxed)
    }

    /// The folder for its files, as an absolute path. It exists from [`activate`](Self::activate) on.
    pub fn state_folder(&self) -> &Path {
        self.folder.path()
    }

    fn check_active(&self) -> Result<(), Failure> {
        self.is_active.load(Ordering::SeqCst).then_some(()).ok_or(Failure::Inactive)
    }

    /// A call of the life cycle.
    fn live<T>(&self, future: BorrowingFfiFuture<'_, RResult<T, RString>>) -> Result<T, Failure> {
        let answer = asked(future, Instant::now() + LIMIT, LIMIT);
        self.host.calls.check();
        answer
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if !self.is_stopped {
            // A test that wants to know calls `stop`.
            let _ = self.end();
        }
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instance({})", self.host.instance)
    }
}

/// Waits for a guarded call: its error is a panic.
fn asked<T>(
    future: BorrowingFfiFuture<'_, RResult<T, RString>>,
    deadline: Instant,
    limit: Duration,
) -> Result<T, Failure> {
    match block_on(future, deadline) {
        Some(RResult::ROk(value)) => Ok(value),
        Some(RResult::RErr(panic)) => Err(Failure::Panicked(panic.into_string())),
        None => Err(Failure::Late(limit)),
    }
}

/// The error of `activate` and `deactivate` is the plugin's own.
fn refused(failure: Failure) -> Failure {
    match failure {
        Failure::Panicked(reason) => Failure::Refused(reason),
        other => other,
    }
}

/// All pieces of a streamed body.
async fn collected(mut stream: RawStreamBox) -> Result<Vec<Vec<u8>>, Failure> {
    let mut pieces = Vec::new();
    loop {
        let polled = poll_fn(|context| match context.with_ffi_context(|context| stream.poll_next(context)) {
            FfiPoll::Pending => Poll::Pending,
            FfiPoll::Ready(item) => Poll::Ready(Ok(item.into_option())),
            FfiPoll::Panicked => Poll::Ready(Err(Failure::Stream("panicked".to_owned()))),
        });
        match polled.await? {
            None => return Ok(pieces),
            Some(RResult::ROk(piece)) => pieces.push(piece.into_vec()),
            Some(RResult::RErr(reason)) => return Err(Failure::Stream(reason.into_string())),
        }
    }
}

/// OPTIONS is answered for every route; another method that the route does not list is refused.
fn not_accepted(route: &MountedRoute, method: &str) -> Response {
    let response = match method {
        "OPTIONS" => Response::new(204),
        _ => {
            let detail = format!("{} takes {}", route.path, route.allow);
            Response::problem_of("urn:pserve:problem:method-not-allowed", 405, &detail)
        }
    };
    response.with_header("allow", route.allow.clone())
}

/// An answer of the host's own.
fn of_host(response: Response) -> Result<Answer, Failure> {
    let RawResponse { status, headers, body, .. } = response.into();
    Answer::new(status, headers, vec![body.into_vec()], Vec::new())
}
