//! The answer of `/metrics`.

use std::sync::PoisonError;

use futures_util::future::join_all;
use hyper::{Response, StatusCode};

use super::Metrics;
use super::merge::Merged;
use super::text::INSTANCE;
use super::text::{Kind, Text};
use crate::budget::Budget;
use crate::http::control::snapshot::Snapshot;
use crate::http::message::response::{self, AnswerBody};
use crate::plugin::{Instance, Library, State};

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Each name once: two states of an instance may share a name.
const STATES: [State; 4] = [State::Prepared, State::Ready, State::Failed, State::Draining];

/// The host's own gauges.
#[derive(Clone, Copy)]
pub(crate) struct Gauges<'a> {
    pub(crate) metrics: &'a Metrics,
    pub(crate) budget: &'a Budget,
    pub(crate) requests_in_flight: usize,
}

/// All metrics of the host and of the plugins.
pub(crate) async fn page(gauges: Gauges<'_>, snapshot: &Snapshot) -> Response<AnswerBody> {
    let Gauges { metrics, budget, requests_in_flight } = gauges;
    let mut text = Text::default();
    text.family("pserve_build_info", Kind::Gauge, "This host.");
    let build = [("version", env!("CARGO_PKG_VERSION")), ("plugin_api", Library::host_api_version())];
    text.sample("pserve_build_info", &build, 1);
    metrics.write(&mut text);
    text.family("pserve_requests_in_flight", Kind::Gauge, "Requests being answered; streams do not count.");
    text.sample("pserve_requests_in_flight", &[], requests_in_flight);
    memory(&mut text, budget);
    plugins(&mut text, snapshot);
    added(&mut text, metrics, snapshot).await;
    response::text(StatusCode::OK, CONTENT_TYPE, text.into_string())
}

fn memory(text: &mut Text, budget: &Budget) {
    let name = "pserve_memory_budget_bytes";
    text.family(name, Kind::Gauge, "Bytes that bodies, answers, waiting writes and caches may take.");
    text.sample(name, &[], budget.limit());
    let name = "pserve_memory_taken_bytes";
    text.family(name, Kind::Gauge, "Bytes of them that are taken.");
    text.sample(name, &[], budget.taken());
    let name = "pserve_memory_refused_total";
    text.family(name, Kind::Counter, "Requests, answers and writes that were refused for want of them.");
    text.sample(name, &[], budget.refused());
}

fn plugins(text: &mut Text, snapshot: &Snapshot) {
    let name = "pserve_plugin_info";
    text.family(name, Kind::Gauge, "Plugin files that are loaded.");
    for (file, library) in &snapshot.files {
        let Library { name: plugin, version, api_version, sha256, .. } = &**library;
        let labels = [
            ("plugin", plugin),
            ("version", version),
            ("plugin_api", api_version),
            ("sha256", sha256),
            ("file", file),
        ];
        text.sample(name, &labels.map(|(label, value)| (label, value.as_str())), 1);
    }
    let name = "pserve_instance_state";
    text.family(name, Kind::Gauge, "1 for the state that an instance is in.");
    for instance in snapshot.instances() {
        for state in STATES {
            let labels = [
                (INSTANCE, instance.name.as_str()),
                ("plugin", &instance.library.name),
                ("state", state.name()),
            ];
            text.sample(name, &labels, u8::from(instance.state().name() == state.name()));
        }
    }
    let name = "pserve_load_failures";
    text.family(name, Kind::Gauge, "Plugin files and instances that could not be loaded.");
    text.sample(name, &[], snapshot.failures.len());
}

/// Writes the metrics of plugins.
async fn added(text: &mut Text, metrics: &Metrics, snapshot: &Snapshot) {
    let instances: Vec<&Instance> = snapshot.instances().map(|instance| &**instance).collect();
    let texts = join_all(instances.iter().map(|instance| instance.metrics())).await;
    let mut merged = Merged::default();
    let name = "pserve_plugin_metrics_ok";
    text.family(name, Kind::Gauge, "Whether the plugin's own metrics could be had; 0 leaves them away.");
    for (instance, added) in instances.iter().zip(texts) {
        let outcome = added.and_then(|added| merged.add(&instance.name, &added));
        text.sample(name, &[(INSTANCE, &instance.name)], u8::from(outcome.is_ok()));
        metrics.complain(&instance.name, outcome.err());
    }
    merged.write(text);
}

impl Metrics {
    /// Logs an error in an instance's metrics, unless it was the same last time.
    fn complain(&self, instance: &str, reason: Option<String>) {
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(reason) = reason else {
            complaints.remove(instance);
            return;
        };
        if complaints.get(instance) != Some(&reason) {
            tracing::warn!(instance, reason, "no metrics");
            complaints.insert(instance.to_owned(), reason);
        }
    }
}
