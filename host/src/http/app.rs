//! What a request leads to.

use std::future::{Future, Ready, ready};
use std::net::IpAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use futures_util::future::Either;
use hyper::body::Body;
use hyper::header::{HeaderValue, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::attempts::{Attempts, Pause};
use super::call::{Call, Incoming, Received, Step};
use super::control::Control;
use super::cors;
use super::load::Load;
use super::metrics::{Guess, Metrics, RouteMetrics};
use super::proxy::{self, Peer, Shown};
use super::request::{REQUEST_ID, RequestId};
use super::response::{AnswerBody, problem, problem_with};
use super::router::join_names;
use super::secrets::{Misses, Secret};
use super::snapshot::{Snapshot, Target};
use super::together::Outboxes;
use super::trace::TraceId;
use super::untaken::Untaken;
use crate::budget::{Budget, Payer, Size};
use crate::config::{Config, Tls};
use crate::lifecycle::Order;
use crate::log::ACCESS_TARGET;

/// How long one waits whose answer found no memory.
const WITHOUT_ANSWER: Duration = Duration::from_secs(1);

/// A browser is not to guess what an answer is.
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Everything that answering a request needs.
pub(crate) struct App {
    snapshot: ArcSwap<Snapshot>,
    control: Control,
    load: Load,
    budget: Arc<Budget>,
    metrics: Arc<Metrics>,
    attempts: Attempts,
    /// Places for those whose answer found no memory.
    without_answer: Arc<Semaphore>,
    outboxes: Outboxes,
}

/// An answer that is there, or on its way.
pub(crate) type Answering =
    Either<Ready<Response<AnswerBody>>, Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send>>>;

/// A request that has come.
struct Arrived<B> {
    head: Head,
    body: B,
}

/// With the answer of a route that reads no body, to a request that has one.
#[derive(Clone, Copy)]
pub(super) struct BodyIgnored;

/// An answer that is there, and how long it is to wait.
type Now = (Response<AnswerBody>, Option<Pause>);

/// What came of a request before its body.
struct Head {
    parts: Parts,
    peer: Peer,
    start: Instant,
    id: RequestId,
    trace: Option<TraceId>,
}

/// An answer, and for the log who gave it.
struct Answer {
    response: Response<AnswerBody>,
    from: From,
}

/// Who gave an answer.
#[derive(Clone, Copy)]
enum From {
    /// The host, before anything else was known.
    Host,
    /// A route of the host's own.
    Control(&'static str),
    /// A route of an instance, or the host in its place.
    Route(Target),
}

impl App {
    /// Serves `snapshot`. What the control routes are told to do goes to `orders`; what clients make it hold is drawn on
    /// `budget`.
    pub(crate) fn new(mut snapshot: Snapshot, orders: UnboundedSender<Order>, budget: Arc<Budget>) -> Self {
        let metrics = Arc::new(Metrics::new(Control::ROUTES));
        snapshot.count(&metrics);
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            control: Control::new(orders),
            load: Load::default(),
            budget,
            metrics,
            attempts: Attempts::default(),
            without_answer: Arc::new(Semaphore::new(1024)),
            outboxes: Outboxes::default(),
        }
    }

    /// What is counted.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What clients draw on.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Where the answers of connections go.
    pub(crate) fn outboxes(&self) -> &Outboxes {
        &self.outboxes
    }

    /// What is served now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// From now on serves `snapshot`.
    pub(crate) fn serve(&self, mut snapshot: Snapshot) {
        snapshot.count(&self.metrics);
        self.budget.set_limit(Size::of(&snapshot.config).budget);
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Requests of instances that have come and are not answered yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.load.under_way()
    }

    /// Takes a request in, and answers it at once if that needs no waiting.
    pub(crate) fn begin<B>(self: &Arc<Self>, request: Request<B>, peer: Peer) -> Answering
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
    {
        let arrived = Arrived::new(request, peer);
        match self.answer_now(&arrived) {
            Ok((response, None)) => Either::Left(ready(response)),
            Ok((response, Some(pause))) => {
                drop(arrived);
                Either::Right(Box::pin(async move {
                    pause.wait().await;
                    response
                }))
            }
            Err(snapshot) => {
                Either::Right(Box::pin(Self::answer_in_time(Arc::clone(self), snapshot, arrived)))
            }
        }
    }

    /// Answers a request.
    pub(crate) async fn answer<B>(&self, request: Request<B>, peer: Peer) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let arrived = Arrived::new(request, peer);
        match self.answer_now(&arrived) {
            Ok((response, None)) => response,
            Ok((response, Some(pause))) => {
                // What nobody counts is not held meanwhile.
                drop(arrived);
                Box::pin(pause.wait()).await;
                response
            }
            Err(snapshot) => Self::answer_in_time(self, snapshot, arrived).await,
        }
    }

    /// Answers a request that has a body.
    pub(super) fn answer_upload<B>(
        &self,
        request: Request<B>,
        peer: Peer,
    ) -> impl Future<Output = Response<AnswerBody>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        Self::answer_in_time(self, self.snapshot(), Arrived::new(request, peer))
    }

    /// The answer, if it need not be waited for; else what is served at this moment.
    fn answer_now<B: Body>(&self, arrived: &Arrived<B>) -> Result<Now, Arc<Snapshot>> {
        // Not counted: all threads would write to the one count.
        let snapshot = self.snapshot.load();
        self.try_now(&snapshot, arrived).ok_or_else(|| Guard::into_inner(snapshot))
    }

    fn try_now<B: Body>(&self, snapshot: &Snapshot, arrived: &Arrived<B>) -> Option<Now> {
        let Arrived { head, body } = arrived;
        if !body.is_end_stream() {
            return None;
        }
        let config = &snapshot.config;
        let path = head.parts.uri.path();
        // An instance may have every path, but not the host's own.
        if Control::route(path).is_some() {
            return None;
        }
        let target = snapshot.find(path)?;
        let client = proxy::client(&config.proxies, head.peer, &head.parts).ok()?;
        let deadline = head.start + config.limits.request_timeout;
        let (load, budget) = (&self.load, &self.budget);
        let received = Received { parts: &head.parts, client, id: &head.id, deadline, load, budget };
        let call = Call::new(snapshot, target, &received)?;
        let response = match call.answer_now()? {
            Ok(response) => response,
            Err(Step::Refused(response)) => *response,
            Err(Step::Moved(_)) => return None,
        };
        let answer = Answer { response, from: From::Route(target) };
        Some(self.finish(head, snapshot, config, client.address, answer))
    }

    #[allow(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
    fn answer_in_time<B>(
        app: impl Deref<Target = Self>,
        mut snapshot: Arc<Snapshot>,
        mut arrived: Arrived<B>,
    ) -> impl Future<Output = Response<AnswerBody>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        async move {
            let Arrived { head, body } = &mut arrived;
            let config = Arc::clone(&snapshot.config);
            let (answer, address) = match proxy::client(&config.proxies, head.peer, &head.parts) {
                Ok(client) => {
                    let deadline = head.start + config.limits.request_timeout;
                    let (load, budget) = (&app.load, &app.budget);
                    let received =
                        Received { parts: &head.parts, client, id: &head.id, deadline, load, budget };
                    (app.dispatch(&mut snapshot, &received, body).await, received.client.address)
                }
                Err(detail) => (Answer::of_host(problem(StatusCode::BAD_REQUEST, detail)), head.peer.address),
            };
            let is_body_ignored = !body.is_end_stream() && answer.from.ignores_bodies(&snapshot);
            let (mut response, pause) = app.finish(head, &snapshot, &config, address, answer);
            if is_body_ignored {
                response.extensions_mut().insert(BodyIgnored);
            }
            if let Some(pause) = pause {
                // Nothing that a reload replaces is held meanwhile.
                drop((snapshot, config, arrived));
                Box::pin(pause.wait()).await;
            }
            response
        }
    }

    /// Counts and logs an answer, and gives it the headers that every answer has. `config` is that of the moment when the
    /// request came, `snapshot` what answered it.
    fn finish(
        &self,
        head: &Head,
        snapshot: &Snapshot,
        config: &Config,
        address: Option<IpAddr>,
        answer: Answer,
    ) -> Now {
        let Head { parts, peer, start, id, trace } = head;
        let Answer { mut response, from } = answer;
        let (instance, route) = from.names(snapshot);
        let crowded = self.draw(&mut response, parts, address);
        let guessed = self.guesses(&mut response, address, [instance, route, id.text()]);
        let pause = Pause::longer(guessed, crowded);
        let duration = start.elapsed();
        from.counters(snapshot).unwrap_or_else(|| self.metrics.own(route)).record(
            &parts.method,
            response.status(),
            duration,
        );
        if config.log.access {
            tracing::info!(
                target: ACCESS_TARGET,
                method = parts.method.as_str(),
                route,
                instance,
                status = response.status().as_u16(),
                bytes = response.body().size_hint().exact(),
                microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
                client = %Shown(address),
                request = id.text(),
                trace = trace.as_ref().map(TraceId::text),
                "request"
            );
        }
        response.headers_mut().insert(REQUEST_ID, id.value());
        // It names the headers that there are.
        if let Some(cors) = &config.cors {
            cors::finish(cors, parts, &mut response);
        }
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        if let Some(strict) = config.tls.as_ref().filter(|_| peer.tls).and_then(Tls::strict_transport) {
            response.headers_mut().entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| strict.clone());
        }
        (response, pause)
    }

    /// Draws the memory of an answer until it was handed over. Without it the client is told to come again, late: to make
    /// answers that nobody gets would be work without an end.
    fn draw(
        &self,
        response: &mut Response<AnswerBody>,
        parts: &Parts,
        address: Option<IpAddr>,
    ) -> Option<Pause> {
        let untaken = parts.extensions.get::<Untaken>();
        let is_known = response.body().takes_memory(untaken)?;
        let client = self.budget.client(address);
        let payer = if is_known { Payer::Known(client) } else { Payer::Stranger(client) };
        if response.body_mut().draw(self.budget.share(payer), untaken) {
            return None;
        }
        let busy = busy("there is no memory for the answer now ([limits] max_memory)");
        // One that waits to be taken would need memory, too.
        *response = if untaken.is_some() { busy.map(AnswerBody::without) } else { busy };
        Pause::among(&self.without_answer, WITHOUT_ANSWER)
    }

    /// Notes what a request brought that opens nothing. An address that brings too much of it is told so, late.
    fn guesses(
        &self,
        response: &mut Response<AnswerBody>,
        client: Option<IpAddr>,
        [instance, route, request]: [&str; 3],
    ) -> Option<Pause> {
        let misses = *response.extensions().get::<Misses>()?;
        if misses.without_key {
            self.metrics.without_key();
        }
        let mut longest: Option<Pause> = None;
        for (secret, count) in misses.wrong() {
            let verdict = self.attempts.wrong(secret, count, client, Instant::now());
            if let Some(attempts) = verdict.tell {
                let client = Shown(client);
                match secret {
                    Secret::ApiKey => {
                        tracing::warn!(%client, instance, route, request, attempts, "a wrong API key");
                    }
                    Secret::AdminKey => {
                        tracing::warn!(%client, instance, route, request, attempts, "a wrong admin key");
                    }
                    Secret::SessionId => tracing::warn!(
                        %client, instance, route, request, attempts, "many session ids that no session has"
                    ),
                }
            }
            let Some(seconds) = verdict.retry_after else {
                self.metrics.guess(secret, count, Guess::Answered);
                continue;
            };
            let is_slowed = secret.is_refused() || verdict.pause.is_some();
            self.metrics.guess(secret, count, if is_slowed { Guess::Slowed } else { Guess::Answered });
            // What a plugin has done is told to whom it was done for.
            if secret.is_refused() && response.status().is_client_error() {
                let what = secret.plural();
                let detail = format!("too many wrong {what} from this address; try again in {seconds} s");
                let retry_after = seconds.to_string();
                *response = problem_with(StatusCode::TOO_MANY_REQUESTS, &detail, "retry-after", retry_after);
            }
            longest = Pause::longer(longest, verdict.pause);
        }
        longest
    }

    async fn dispatch<B>(&self, snapshot: &mut Arc<Snapshot>, received: &Received<'_>, body: &mut B) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let path = received.parts.uri.path();
        if let Some(route) = Control::route(path) {
            let response = Box::pin(self.control.answer(self, snapshot, route, received.parts)).await;
            return Answer { response, from: From::Control(route) };
        }
        let mut incoming = Incoming::new(body, &snapshot.config.limits, received);
        let mut under_way = None;
        loop {
            let Some(target) = snapshot.find(path) else { return Answer::of_host(no_route(snapshot, path)) };
            let Some(call) = Call::new(snapshot, target, received) else {
                return Answer::of_host(no_route(snapshot, path));
            };
            under_way.get_or_insert_with(|| self.load.begin());
            // In a block of its own: two of this size come and go faster than one of twice that.
            let response = match Box::pin(call.answer(&mut incoming)).await {
                Ok(response) => response,
                Err(Step::Refused(response)) => *response,
                Err(Step::Moved(instance)) => {
                    // Its place is being taken by another one; the request has not reached the plugin.
                    let settled = tokio::time::timeout_at(received.deadline, instance.settled());
                    if Box::pin(settled).await.is_ok() {
                        *snapshot = self.snapshot();
                        continue;
                    }
                    busy(&format!("`{}` is being replaced; try again", instance.name))
                }
            };
            return Answer { response, from: From::Route(target) };
        }
    }
}

impl From {
    /// Instance and route, this as it was registered, never as the client wrote it: that may hold an id or a key.
    fn names(self, snapshot: &Snapshot) -> (&str, &str) {
        match self {
            Self::Host => ("-", "-"),
            Self::Control(route) => ("-", route),
            Self::Route(target) => match snapshot.target(target) {
                Some((mount, route)) => (&mount.instance.name, &route.path),
                None => ("-", "-"),
            },
        }
    }

    fn ignores_bodies(self, snapshot: &Snapshot) -> bool {
        let Self::Route(target) = self else { return false };
        snapshot.target(target).is_some_and(|(_, route)| route.ignores_bodies())
    }

    /// The counters of an instance's route.
    fn counters(self, snapshot: &Snapshot) -> Option<&RouteMetrics> {
        match self {
            Self::Route(target) => snapshot.counters(target),
            Self::Host | Self::Control(_) => None,
        }
    }
}

impl<B> Arrived<B> {
    fn new(request: Request<B>, peer: Peer) -> Self {
        let start = Instant::now();
        let (mut parts, body) = request.into_parts();
        let id = RequestId::of(&parts.headers);
        let trace = TraceId::take(&mut parts.headers);
        Self { head: Head { parts, peer, start, id, trace }, body }
    }
}

impl Answer {
    fn of_host(response: Response<AnswerBody>) -> Self {
        Self { response, from: From::Host }
    }
}

fn no_route(snapshot: &Snapshot, path: &str) -> Response<AnswerBody> {
    let below =
        |mount: &str| path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let instance = snapshot
        .instances()
        .filter(|instance| below(instance.mount()))
        .max_by_key(|instance| instance.mount().len());
    if let Some(instance) = instance {
        let routes = join_names(instance.routes.iter().map(|route| route.path.as_str()));
        let detail = format!("no such route; `{}` has {routes}", instance.name);
        return problem(StatusCode::NOT_FOUND, &detail);
    }
    // Not a 404: a client would take it for an answer about its request.
    let failed = snapshot.failures.iter().find(|failure| failure.mount.as_deref().is_some_and(below));
    if let Some(failure) = failed {
        return busy(&format!("`{}` could not be loaded; the log says why", failure.name));
    }
    if let Some(unloaded) = snapshot.unloaded.iter().find(|unloaded| below(&unloaded.mount)) {
        return busy(&format!("`{}` is unloaded", unloaded.name));
    }
    let mounts: Vec<String> = snapshot.instances().map(|instance| format!("{}/", instance.mount())).collect();
    let detail = match mounts.as_slice() {
        [] => "no such route; no plugin is loaded".to_owned(),
        mounts => format!("no such route; there are routes below {}", mounts.join(", ")),
    };
    problem(StatusCode::NOT_FOUND, &detail)
}

/// It cannot be answered now.
pub(crate) fn busy(detail: &str) -> Response<AnswerBody> {
    problem_with(StatusCode::SERVICE_UNAVAILABLE, detail, "retry-after", "1")
}

#[cfg(test)]
mod tests;
