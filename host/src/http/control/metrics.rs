//! The host's metrics, and the route `/metrics`.
//!
//! To record a request takes a few additions to counters that its route already holds: no lookup, no allocation, no
//! lock. `page` is the answer of `/metrics`, `plugin_calls` counts calls between instances, `text` writes the Prometheus text format, `merge` adds the metrics of
//! plugins, and `process` reads the system's data about this process.

mod merge;
mod page;
mod plugin_calls;
mod process;
mod text;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::{Method, StatusCode};

use self::plugin_calls::PluginCalls;
use self::text::{INSTANCE, Kind, Text};
use crate::http::gate::secrets::Secret;
use crate::spread::Spread;

pub(crate) use self::page::{Gauges, page};

/// Prefixes of the host's own metrics; those of a plugin must begin with something else.
const RESERVED: &[&str] = &["pserve_", "process_"];

/// Methods with a label of their own. All others are `other`, because a client may send arbitrary ones.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];
/// Upper bounds of the buckets of the latency histogram: in microseconds, and as text in seconds.
const BUCKETS: [(u64, &str); 17] = [
    (50, "0.00005"),
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
];

/// All counters, for the life of the process. They survive a reload.
pub(crate) struct Metrics {
    /// Counters of instances' routes; a counter is dropped when no snapshot uses its route any more.
    routes: Mutex<Vec<Weak<RouteMetrics>>>,
    /// Counters of the host's own routes; the first is for paths that match no route.
    own: Vec<RouteMetrics>,
    connections_open: AtomicUsize,
    connections: AtomicU64,
    key_missing: AtomicU64,
    /// Invalid secrets, by kind and by how they were answered.
    guesses: [[AtomicU64; Guess::ALL.len()]; Secret::ALL.len()],
    reloads: AtomicU64,
    reloads_failed: AtomicU64,
    last_reload: AtomicU64,
    last_reload_failed: AtomicBool,
    plugin_calls: PluginCalls,
    /// Errors in the metrics of plugins, by instance, so that each is logged only once.
    complaints: Mutex<BTreeMap<String, String>>,
}

/// How an invalid secret was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guess {
    /// It was answered like any other request.
    Answered,
    /// It came from an address with too many guesses, and was delayed or rejected with 429.
    Slowed,
}

impl Guess {
    const ALL: [Self; 2] = [Self::Answered, Self::Slowed];
}

impl Metrics {
    /// Counters at zero; `own` are the host's own routes.
    pub(crate) fn new(own: &[&str]) -> Self {
        let own = ["-"].iter().chain(own).map(|route| RouteMetrics::new("-", route)).collect();
        Self {
            routes: Mutex::default(),
            own,
            connections_open: AtomicUsize::new(0),
            connections: AtomicU64::new(0),
            key_missing: AtomicU64::new(0),
            guesses: Default::default(),
            reloads: AtomicU64::new(0),
            reloads_failed: AtomicU64::new(0),
            last_reload: AtomicU64::new(0),
            last_reload_failed: AtomicBool::new(false),
            plugin_calls: PluginCalls::default(),
            complaints: Mutex::default(),
        }
    }

    /// The counters of an instance's route: the existing ones, so that a reload does not reset them, or new ones.
    pub(crate) fn route(&self, instance: &str, route: &str) -> Arc<RouteMetrics> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = routes.iter().filter_map(Weak::upgrade);
        let mut known = known.filter(|known| known.instance == instance && known.route == route);
        if let Some(known) = known.next() {
            return known;
        }
        drop(known);
        routes.retain(|route| route.strong_count() > 0);
        let new = Arc::new(RouteMetrics::new(instance, route));
        routes.push(Arc::downgrade(&new));
        new
    }

    /// The counters of one of the host's own routes, or of paths that match no route.
    pub(crate) fn own(&self, route: &str) -> &RouteMetrics {
        self.own.iter().find(|own| own.route == route).unwrap_or(&self.own[0])
    }

    /// Counts a connection as open until the guard is dropped.
    pub(crate) fn connection(self: &Arc<Self>) -> OpenConnection {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.connections_open.fetch_add(1, Ordering::Relaxed);
        OpenConnection(Arc::clone(self))
    }

    /// Counts a request without the API key that it needed.
    pub(crate) fn without_key(&self) {
        self.key_missing.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the invalid secrets of one request.
    pub(crate) fn guess(&self, secret: Secret, count: u32, guess: Guess) {
        self.guesses[secret as usize][guess as usize].fetch_add(count.into(), Ordering::Relaxed);
    }

    /// Counts a call from one instance to another.
    pub(crate) fn plugin_call(&self, from: &str, to: &str, outcome: &'static str) {
        self.plugin_calls.count(from, to, outcome);
    }

    /// Counts a change of the loaded instances.
    pub(crate) fn reload(&self, succeeded: bool) {
        let counter = if succeeded { &self.reloads } else { &self.reloads_failed };
        counter.fetch_add(1, Ordering::Relaxed);
        self.last_reload_failed.store(!succeeded, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_reload.store(now.as_secs(), Ordering::Relaxed);
    }

    /// Writes all counters.
    fn write(&self, text: &mut Text) {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let routes: Vec<Arc<RouteMetrics>> = routes.iter().filter_map(Weak::upgrade).collect();
        let all = || self.own.iter().chain(routes.iter().map(Arc::as_ref));
        let name = "pserve_requests_total";
        text.family(name, Kind::Counter, "Requests answered, by route as it is registered.");
        all().for_each(|route| route.write_requests(text, name));
        let name = "pserve_request_duration_seconds";
        text.family(name, Kind::Histogram, "From a request's headers to the head of its answer.");
        all().for_each(|route| route.write_durations(text, name));

        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        text.family("pserve_open_connections", Kind::Gauge, "Open connections.");
        text.sample("pserve_open_connections", &[], self.connections_open.load(Ordering::Relaxed));
        text.family("pserve_connections_total", Kind::Counter, "Connections taken.");
        text.sample("pserve_connections_total", &[], get(&self.connections));

        let name = "pserve_key_failures_total";
        text.family(name, Kind::Counter, "Requests without the API key that they needed.");
        text.sample(name, &[("reason", "missing")], get(&self.key_missing));
        let [wrong, slowed] = &self.guesses[Secret::ApiKey as usize];
        text.sample(name, &[("reason", "wrong")], get(wrong));
        text.sample(name, &[("reason", "slowed")], get(slowed));
        let name = "pserve_guesses_total";
        text.family(name, Kind::Counter, "Wrong secrets, by kind and by what came of them.");
        for secret in Secret::ALL {
            for (guess, result) in [(Guess::Answered, "answered"), (Guess::Slowed, "slowed")] {
                let count = get(&self.guesses[secret as usize][guess as usize]);
                text.sample(name, &[("secret", secret.label()), ("result", result)], count);
            }
        }

        self.plugin_calls.write(text);
        let name = "pserve_reloads_total";
        text.family(name, Kind::Counter, "Reloads, loads and unloads, by what came of them.");
        text.sample(name, &[("result", "ok")], get(&self.reloads));
        text.sample(name, &[("result", "failed")], get(&self.reloads_failed));
        let name = "pserve_last_reload_successful";
        text.family(name, Kind::Gauge, "Whether the last of them was carried out.");
        text.sample(name, &[], u8::from(!self.last_reload_failed.load(Ordering::Relaxed)));
        let name = "pserve_last_reload_timestamp_seconds";
        text.family(name, Kind::Gauge, "When the last of them ended; 0 before the first.");
        text.sample(name, &[], get(&self.last_reload));
        process::write(text);
    }
}

/// A connection that is open as long as this lives.
pub(crate) struct OpenConnection(Arc<Metrics>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The counters of one route.
#[derive(Debug)]
pub(crate) struct RouteMetrics {
    instance: String,
    route: String,
    /// Allocated when a thread counts its first request.
    counts: Spread<OnceLock<Box<Counts>>>,
}

/// The counters of one thread.
#[derive(Debug, Default)]
struct Counts {
    /// By method, and by the first digit of the status, 2 to 5. A page is allocated for its first status.
    statuses: [[OnceLock<Box<Page>>; 4]; METHODS.len()],
    /// Number of requests in each bucket, not cumulative; the last is for those beyond all bounds.
    durations: [AtomicU64; BUCKETS.len() + 1],
    microseconds: AtomicU64,
}

/// The statuses with one first digit.
type Page = [AtomicU64; 100];

impl RouteMetrics {
    fn new(instance: &str, route: &str) -> Self {
        Self { instance: instance.to_owned(), route: route.to_owned(), counts: Spread::default() }
    }

    /// Counts a request.
    pub(crate) fn record(&self, method: &Method, status: StatusCode, duration: Duration) {
        let counts = self.counts.mine().get_or_init(Box::default);
        let status = usize::from(status.as_u16());
        // The host uses no other statuses; see `response`.
        if let Some(page) =
            (status / 100).checked_sub(2).and_then(|page| counts.statuses[index(method)].get(page))
        {
            page.get_or_init(|| Box::new([const { AtomicU64::new(0) }; 100]))[status % 100]
                .fetch_add(1, Ordering::Relaxed);
        }
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|(end, _)| microseconds <= *end).unwrap_or(BUCKETS.len());
        counts.durations[bucket].fetch_add(1, Ordering::Relaxed);
        counts.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// The sum of a counter over all threads.
    fn sum(&self, count: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        let parts = self.counts.all().filter_map(OnceLock::get);
        parts.map(|counts| count(counts).load(Ordering::Relaxed)).sum()
    }

    fn write_requests(&self, text: &mut Text, name: &str) {
        for (method, name_of_method) in METHODS.iter().enumerate() {
            for first in 0..4 {
                let pages: Vec<&Page> = self.pages(method, first).collect();
                for rest in 0..100 {
                    let count: u64 = pages.iter().map(|page| page[rest].load(Ordering::Relaxed)).sum();
                    if count > 0 {
                        let status = ((first + 2) * 100 + rest).to_string();
                        let [instance, route] = self.labels();
                        let labels = [instance, route, ("method", *name_of_method), ("status", &status)];
                        text.sample(name, &labels, count);
                    }
                }
            }
        }
    }

    /// The pages of all threads, for a method and the first digit of a status.
    fn pages(&self, method: usize, first: usize) -> impl Iterator<Item = &Page> {
        let counts = self.counts.all().filter_map(OnceLock::get);
        counts.filter_map(move |counts| counts.statuses[method][first].get().map(Box::as_ref))
    }

    fn write_durations(&self, text: &mut Text, name: &str) {
        let [instance, route] = self.labels();
        let mut count = 0;
        let ends = BUCKETS.iter().map(|(_, end)| *end).chain(["+Inf"]);
        for (bucket, end) in ends.enumerate() {
            count += self.sum(|counts| &counts.durations[bucket]);
            text.sample(&format!("{name}_bucket"), &[instance, route, ("le", end)], count);
        }
        let microseconds = self.sum(|counts| &counts.microseconds);
        let seconds = Duration::from_micros(microseconds).as_secs_f64();
        text.sample(&format!("{name}_sum"), &[instance, route], seconds);
        text.sample(&format!("{name}_count"), &[instance, route], count);
    }

    fn labels(&self) -> [(&'static str, &str); 2] {
        [(INSTANCE, &self.instance), ("route", &self.route)]
    }
}

/// The index of a method in [`METHODS`].
fn index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        let mut text = Text::default();
        metrics.write(&mut text);
        text.into_string()
    }

    #[test]
    fn requests_are_told_apart_by_route_method_and_status() {
        let metrics = Metrics::new(&["/healthz"]);
        let route = metrics.route("one", "/one/new");
        let quick = Duration::from_micros(60);
        route.record(&Method::POST, StatusCode::CREATED, quick);
        route.record(&Method::POST, StatusCode::CREATED, Duration::from_secs(60));
        route.record(&Method::from_bytes(b"MADEUP").unwrap(), StatusCode::METHOD_NOT_ALLOWED, quick);
        metrics.own("/healthz").record(&Method::GET, StatusCode::OK, quick);
        metrics.own("/nowhere").record(&Method::GET, StatusCode::NOT_FOUND, quick);
        let text = text(&metrics);
        for line in [
            "pserve_requests_total{plugin_instance=\"one\",route=\"/one/new\",method=\"POST\",status=\"201\"} 2",
            "pserve_requests_total{plugin_instance=\"one\",route=\"/one/new\",method=\"other\",status=\"405\"} 1",
            "pserve_requests_total{plugin_instance=\"-\",route=\"/healthz\",method=\"GET\",status=\"200\"} 1",
            "pserve_requests_total{plugin_instance=\"-\",route=\"-\",method=\"GET\",status=\"404\"} 1",
            "pserve_request_duration_seconds_bucket{plugin_instance=\"one\",route=\"/one/new\",le=\"0.00005\"} 0",
            "pserve_request_duration_seconds_bucket{plugin_instance=\"one\",route=\"/one/new\",le=\"0.0001\"} 2",
            "pserve_request_duration_seconds_bucket{plugin_instance=\"one\",route=\"/one/new\",le=\"10\"} 2",
            "pserve_request_duration_seconds_bucket{plugin_instance=\"one\",route=\"/one/new\",le=\"+Inf\"} 3",
            "pserve_request_duration_seconds_sum{plugin_instance=\"one\",route=\"/one/new\"} 60.00012",
            "pserve_request_duration_seconds_count{plugin_instance=\"one\",route=\"/one/new\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("MADEUP") && !text.contains("nowhere"));
    }

    #[test]
    fn a_route_keeps_its_counters_over_a_reload_and_loses_them_with_the_instance() {
        let metrics = Metrics::new(&[]);
        let before = metrics.route("one", "/one");
        before.record(&Method::GET, StatusCode::OK, Duration::ZERO);
        let after = metrics.route("one", "/one");
        assert!(Arc::ptr_eq(&before, &after));
        assert!(!Arc::ptr_eq(&before, &metrics.route("two", "/one")));
        drop(before);
        assert!(text(&metrics).contains("plugin_instance=\"one\""));
        drop(after);
        assert!(!text(&metrics).contains("plugin_instance=\"one\""));
        metrics.route("three", "/three");
        assert_eq!(metrics.routes.lock().unwrap().len(), 1, "those of gone routes take no room");
    }

    #[test]
    fn connections_are_open_until_they_are_closed() {
        let metrics = Arc::new(Metrics::new(&[]));
        let (one, two) = (metrics.connection(), metrics.connection());
        drop(one);
        let text = text(&metrics);
        assert!(
            text.contains("\npserve_open_connections 1\n") && text.contains("\npserve_connections_total 2\n")
        );
        drop(two);
    }
}
