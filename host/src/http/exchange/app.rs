//! What a request leads to.

use std::future::{Future, Ready, ready};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
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

/// Everything that answering a request needs.
pub(crate) struct App {
    snapshot: ArcSwap<Snapshot>,
    control: Control,
    load: Load,
    completion: Completion,
}

/// An answer that is there, or on its way.
pub(crate) type Answering =
    Either<Ready<Response<AnswerBody>>, Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send>>>;

/// With the answer of a route that reads no body, to a request that has one.
#[derive(Clone, Copy)]
pub(crate) struct BodyIgnored;

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
            completion: Completion::new(budget, metrics),
        }
    }

    /// What is counted.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.completion.metrics
    }

    /// What clients draw on.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.completion.budget
    }

    /// What the host counts of itself.
    fn gauges(&self) -> Gauges<'_> {
        let Completion { metrics, budget, .. } = &self.completion;
        Gauges { metrics, budget, requests_in_flight: self.in_flight() }
    }

    /// What is served now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Responder now on serves `snapshot`.
    pub(crate) fn serve(&self, mut snapshot: Snapshot) {
        snapshot.count(&self.completion.metrics);
        self.completion.budget.set_limit(Size::of(&snapshot.config).budget);
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
                // What nobody counts is not held meanwhile.
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

    /// The answer, if it need not be waited for; else what is served at this moment.
    fn answer_now<B: Body>(&self, arrived: &Arrival<B>) -> Result<Finished, Arc<Snapshot>> {
        // Not counted: all threads would write to the one count.
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
        // An instance may have every path, but not the host's own.
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
                    (app.dispatch(&mut snapshot, &received, body).await, received.client.address)
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
                // Nothing that a reload replaces is held meanwhile.
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
            // In a block of its own: two of this size come and go faster than one of twice that.
            let response = match Box::pin(call.answer(&mut incoming)).await {
                Ok(response) => response,
                Err(CallError::Rejected(response)) => *response,
                Err(CallError::Moved(instance)) => {
                    // Its place is being taken by another one; the request has not reached the plugin.
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
