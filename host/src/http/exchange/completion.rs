//! Steps that apply to every answer, whatever its source: it is counted and logged, its memory is reserved from the
//! budget, and it is delayed if it answers a guess.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use hyper::body::Body;
use hyper::header::{HeaderValue, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};
use hyper::http::request::Parts;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::answer::Answer;
use super::arrival::RequestHead;
use crate::budget::{Budget, Payer};
use crate::config::{Config, Tls};
use crate::http::control::metrics::{Guess, Metrics};
use crate::http::control::snapshot::Snapshot;
use crate::http::gate::attempts::{Attempts, Pause};
use crate::http::gate::cors;
use crate::http::gate::proxy::ClientAddress;
use crate::http::gate::secrets::{Misses, Secret};
use crate::http::message::problem::{ProblemType, problem_with, retry_later};
use crate::http::message::request_id::REQUEST_ID;
use crate::http::message::response::AnswerBody;
use crate::http::message::trace::TraceId;
use crate::http::message::untaken::Untaken;
use crate::log::ACCESS_TARGET;

/// Delay of an answer for which there was no memory.
pub(super) const WITHOUT_ANSWER: Duration = Duration::from_secs(1);
/// Limit of such answers that are delayed concurrently.
const MAX_WITHOUT_ANSWER: usize = 1024;

/// Browsers must not guess the type of an answer.
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// An answer, and its delay.
pub(super) type Finished = (Response<AnswerBody>, Option<Pause>);

/// Completes answers.
pub(super) struct Completion {
    pub(super) budget: Arc<Budget>,
    pub(super) metrics: Arc<Metrics>,
    attempts: Attempts,
    /// Slots for the delayed answers for which there was no memory.
    without_answer: Arc<Semaphore>,
}

impl Completion {
    /// Counts in `metrics`, and reserves memory from `budget`.
    pub(super) fn new(budget: Arc<Budget>, metrics: Arc<Metrics>) -> Self {
        let without_answer = Arc::new(Semaphore::new(MAX_WITHOUT_ANSWER));
        Self { budget, metrics, attempts: Attempts::default(), without_answer }
    }

    /// Counts and logs an answer, and adds the headers that every answer has. `config` is the configuration at the
    /// time when the request arrived; `snapshot` is the one that answered it.
    pub(super) fn finish(
        &self,
        head: &RequestHead,
        snapshot: &Snapshot,
        config: &Config,
        address: Option<IpAddr>,
        answer: Answer,
    ) -> Finished {
        let RequestHead { parts, peer, start, id, trace } = head;
        let Answer { mut response, responder } = answer;
        let (instance, route) = responder.names(snapshot);
        let crowded = self.draw(&mut response, parts, address);
        let guessed = self.guesses(&mut response, address, [instance, route, id.text()]);
        let pause = Pause::longer(guessed, crowded);
        let duration = start.elapsed();
        responder.counters(snapshot).unwrap_or_else(|| self.metrics.own(route)).record(
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
                client = %ClientAddress(address),
                request = id.text(),
                trace = trace.as_ref().map(TraceId::text),
                "request"
            );
        }
        response.headers_mut().insert(REQUEST_ID, id.value());
        // After all other headers were added: it lists them.
        if let Some(cors) = &config.cors {
            cors::finish(cors, parts, &mut response);
        }
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        if let Some(strict) = config.tls.as_ref().filter(|_| peer.tls).and_then(Tls::strict_transport) {
            response.headers_mut().entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| strict.clone());
        }
        (response, pause)
    }

    /// Reserves the memory of an answer until it was handed over. If there is none, the client is told to retry later,
    /// and that answer is delayed: without the delay, clients that retry immediately would cause an endless load.
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
        let busy = retry_later(
            ProblemType::Overloaded,
            "there is no memory for the answer now ([limits] max_memory)",
        );
        // Over HTTP/2, the body of this answer would need memory, too, until the client has read it.
        *response = if untaken.is_some() { busy.map(AnswerBody::without) } else { busy };
        Pause::among(&self.without_answer, WITHOUT_ANSWER)
    }

    /// Records the invalid secrets that a request presented. An address with too many of them gets a delayed 429.
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
                let client = ClientAddress(client);
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
            // A plugin's successful answer is kept: the client has to learn what was done for it.
            if secret.is_refused() && response.status().is_client_error() {
                let what = secret.plural();
                let detail = format!("too many wrong {what} from this address; try again in {seconds} s");
                let retry_after = seconds.to_string();
                *response = problem_with(ProblemType::TooManyGuesses, &detail, "retry-after", retry_after);
            }
            longest = Pause::longer(longest, verdict.pause);
        }
        longest
    }
}
