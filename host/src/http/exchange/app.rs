//! Dispatches requests to the host's own routes and to plugins.

use std::future::{Future, Ready, ready};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use bytes::Bytes;
use futures_util::future::Either;
use hyper::body::Body;
use hyper::{Request, Response};
use tokio::sync::mpsc::UnboundedSender;

use super::answer::{Answer, Responder};
use super::arrival::Arrival;
use super::call::Call;
use super::call_error::CallError;
use super::completion::{Completion, Finished};
use super::context::RequestContext;
use super::in_flight::Load;
use super::no_route::no_route;
use super::request_body::RequestBody;
use crate::budget::{Budget, Size};
use crate::http::control::metrics::{Gauges, Metrics};
use crate::http::control::orders::Order;
use crate::http::control::routes::Control;
use crate::http::control::snapshot::Snapshot;
use crate::http::gate::proxy::{self, Peer};
use crate::http::message::problem::{ProblemType, problem, retry_later};
use crate::http::message::response::AnswerBody;

/// Everything that is needed to answer a request.
pub(crate) struct App {
    snapshot: ArcSwap<Snapshot>,
    /// What is served next, while its instances are being activated.
    next: ArcSwapOption<Snapshot>,
    control: Control,
    load: Load,
    completion: Completion,
}

/// An answer that is ready, or a future of one.
pub(crate) type Answering =
    Either<Ready<Response<AnswerBody>>, Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send>>>;

/// Marks an answer of a route that ignores bodies, to a request that has one.
#[derive(Clone, Copy)]
pub(crate) struct BodyIgnored;

impl App {
    /// Serves `snapshot`. Tasks requested through the control routes are sent to `orders`. Memory that clients make
    /// the host hold is reserved from `budget`.
    pub(crate) fn new(mut snapshot: Snapshot, orders: UnboundedSender<Order>, budget: Arc<Budget>) -> Self {
        let metrics = Arc::new(Metrics::new(Control::ROUTES));
        snapshot.count(&metrics);
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            next: ArcSwapOption::empty(),
            control: Control::new(orders),
            load: Load::default(),
            completion: Completion::new(budget, metrics),
        }
    }

    /// The metrics.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.completion.metrics
    }

    /// The memory budget for clients.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.completion.budget
    }

    /// The host's own gauges.
    fn gauges(&self) -> Gauges<'_> {
        let Completion { metrics, budget, .. } = &self.completion;
        Gauges { metrics, budget, requests_in_flight: self.in_flight() }
    }

    /// The snapshot that is served now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Its instances are being activated: they may call each other already. Ends with [`serve`](Self::serve) or
    /// [`withdraw`](Self::withdraw).
    pub(crate) fn announce(&self, mut snapshot: Snapshot) -> Arc<Snapshot> {
        snapshot.count(&self.completion.metrics);
        let snapshot = Arc::new(snapshot);
        self.next.store(Some(Arc::clone(&snapshot)));
        snapshot
    }

    /// What was announced is not served.
    pub(crate) fn withdraw(&self) {
        self.next.store(None);
    }

    /// What is served next, if it is known.
    pub(crate) fn next(&self) -> Option<Arc<Snapshot>> {
        self.next.load_full()
    }

    /// From now on serves `snapshot`.
    pub(crate) fn serve(&self, snapshot: Arc<Snapshot>) {
        self.completion.budget.set_limit(Size::of(&snapshot.config).budget);
        self.snapshot.store(snapshot);
        self.next.store(None);
    }

    /// Number of requests to instances that have arrived and are not answered yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.load.under_way()
    }

    /// Accepts a request, and answers it immediately if that is possible without waiting.
    pub(crate) fn begin<B>(self: &Arc<Self>, request: Request<B>, peer: Peer) -> Answering
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
    {
        let arrived = Arrival::new(request, peer);
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
        let arrived = Arrival::new(request, peer);
        match self.answer_now(&arrived) {
            Ok((response, None)) => response,
            Ok((response, Some(pause))) => {
                // Release memory that is not counted while the answer is delayed.
                drop(arrived);
                Box::pin(pause.wait()).await;
                response
            }
            Err(snapshot) => Self::answer_in_time(self, snapshot, arrived).await,
        }
    }

    /// Answers a request that has a body.
    pub(crate) fn answer_upload<B>(
        &self,
        request: Request<B>,
        peer: Peer,
    ) -> impl Future<Output = Response<AnswerBody>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        Self::answer_in_time(self, self.snapshot(), Arrival::new(request, peer))
    }

    /// The answer, if it is available without waiting; otherwise the snapshot that is served at this moment.
    fn answer_now<B: Body>(&self, arrived: &Arrival<B>) -> Result<Finished, Arc<Snapshot>> {
        // Borrowed without a reference count: all threads would write to that one counter.
        let snapshot = self.snapshot.load();
        self.try_now(&snapshot, arrived).ok_or_else(|| Guard::into_inner(snapshot))
    }

    fn try_now<B: Body>(&self, snapshot: &Snapshot, arrived: &Arrival<B>) -> Option<Finished> {
        let Arrival { head, body } = arrived;
        if !body.is_end_stream() {
            return None;
        }
        let config = &snapshot.config;
        let path = head.parts.uri.path();
        // An instance may own every path except the host's own.
        if Control::route(path).is_some() {
            return None;
        }
        let target = snapshot.find(path)?;
        let client = proxy::client(&config.proxies, head.peer, &head.parts).ok()?;
        let deadline = head.start + config.limits.request_timeout;
        let (load, budget) = (&self.load, &self.completion.budget);
        let received = RequestContext { parts: &head.parts, client, id: &head.id, deadline, load, budget };
        let call = Call::new(snapshot, target, &received)?;
        let response = match call.answer_now()? {
            Ok(response) => response,
            Err(CallError::Rejected(response)) => *response,
            Err(CallError::Moved(_)) => return None,
        };
        let answer = Answer { response, responder: Responder::Route(target) };
        Some(self.completion.finish(head, snapshot, config, client.address, answer))
    }

    #[allow(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
    fn answer_in_time<B>(
        app: impl Deref<Target = Self>,
        mut snapshot: Arc<Snapshot>,
        mut arrived: Arrival<B>,
    ) -> impl Future<Output = Response<AnswerBody>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        async move {
            let Arrival { head, body } = &mut arrived;
            let config = Arc::clone(&snapshot.config);
            let (answer, address) = match proxy::client(&config.proxies, head.peer, &head.parts) {
                Ok(client) => {
                    let deadline = head.start + config.limits.request_timeout;
                    let (load, budget) = (&app.load, &app.completion.budget);
                    let received =
                        RequestContext { parts: &head.parts, client, id: &head.id, deadline, load, budget };
                    // Boxed separately, so that each allocation fits a size class that the allocator caches.
                    let answer = Box::pin(app.dispatch(&mut snapshot, &received, body)).await;
                    (answer, received.client.address)
                }
                Err(detail) => {
                    (Answer::of_host(problem(ProblemType::MalformedRequest, detail)), head.peer.address)
                }
            };
            let is_body_ignored = !body.is_end_stream() && answer.responder.ignores_bodies(&snapshot);
            let (mut response, pause) = app.completion.finish(head, &snapshot, &config, address, answer);
            if is_body_ignored {
                response.extensions_mut().insert(BodyIgnored);
            }
            if let Some(pause) = pause {
                // While the answer is delayed, hold nothing that a reload replaces.
                drop((snapshot, config, arrived));
                Box::pin(pause.wait()).await;
            }
            response
        }
    }

    async fn dispatch<B>(
        &self,
        snapshot: &mut Arc<Snapshot>,
        received: &RequestContext<'_>,
        body: &mut B,
    ) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let path = received.parts.uri.path();
        if let Some(route) = Control::route(path) {
            let response =
                Box::pin(self.control.answer(self.gauges(), snapshot, route, received.parts)).await;
            return Answer { response, responder: Responder::Control(route) };
        }
        let mut incoming = RequestBody::new(body, &snapshot.config.limits, received);
        let mut under_way = None;
        loop {
            let Some(target) = snapshot.find(path) else { return Answer::of_host(no_route(snapshot, path)) };
            let Some(call) = Call::new(snapshot, target, received) else {
                return Answer::of_host(no_route(snapshot, path));
            };
            under_way.get_or_insert_with(|| self.load.begin());
            // Boxed separately: two allocations of this size are faster than one of twice the size.
            let response = match Box::pin(call.answer(&mut incoming)).await {
                Ok(response) => response,
                Err(CallError::Rejected(response)) => *response,
                Err(CallError::Moved(instance)) => {
                    // The instance is being replaced, and the request has not reached the plugin: retry with its
                    // successor.
                    let settled = tokio::time::timeout_at(received.deadline, instance.settled());
                    if Box::pin(settled).await.is_ok() {
                        *snapshot = self.snapshot();
                        continue;
                    }
                    retry_later(
                        ProblemType::InstanceUnavailable,
                        &format!("`{}` is being replaced; try again", instance.name),
                    )
                }
            };
            return Answer { response, responder: Responder::Route(target) };
        }
    }
}

#[cfg(test)]
mod tests;
