//! A plugin that does everything wrong that a plugin can do. Its configuration and its routes say what.

use std::future::{pending, poll_fn};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::stream;
use plugin_api::{Class, Host, Plugin, Request, Response, Route, export_plugin};

struct Misbehaves {
    host: Host,
    /// Panics when it is dropped.
    last: Option<Bomb>,
    /// What its metrics are.
    metrics: &'static str,
}

impl Misbehaves {
    async fn hang_if_asked(&self, what: &str) {
        if self.host.config().contains(what) {
            pending().await
        }
    }
}

/// Ready after a while, and does not block its thread meanwhile.
async fn later(time: Duration) {
    let until = Instant::now() + time;
    poll_fn(|context| {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        std::thread::spawn(move || {
            std::thread::sleep(left);
            waker.wake();
        });
        Poll::Pending
    })
    .await
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("this plugin panics in drop");
    }
}

impl Plugin for Misbehaves {
    const NAME: &'static str = "misbehaves";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ANSWERS_NOW: bool = true;

    fn prepare(host: Host) -> Result<Self, String> {
        let is_asked = |what: &str| host.config().contains(what);
        if is_asked("panic-in-prepare") {
            panic!("this plugin panics in prepare");
        }
        if is_asked("payload-in-prepare") {
            std::panic::panic_any(Bomb);
        }
        if is_asked("abort-in-prepare") {
            std::process::abort();
        }
        if is_asked("hang-in-prepare") {
            loop {
                std::thread::park();
            }
        }
        if is_asked("refuse") {
            return Err("this plugin refuses its configuration".to_owned());
        }
        let metrics = ["bad-metrics", "foreign-metrics", "panic-in-metrics", "silent-metrics"];
        let metrics = metrics.into_iter().find(|what| is_asked(what)).unwrap_or_default();
        Ok(Self { last: is_asked("panic-at-the-end").then(|| Bomb), metrics, host })
    }

    fn routes(&self) -> Vec<Route> {
        const GET: &[&str] = &["GET"];
        const PATHS: [&str; 13] = [
            "now",
            "now-payload",
            "handle",
            "poll",
            "drop",
            "payload",
            "later-drop",
            "stream",
            "status",
            "header",
            "never",
            "block",
            "fine",
        ];
        PATHS.map(|path| Route::new(path, GET, Class::Public)).into()
    }

    async fn activate(&self) -> Result<(), String> {
        let _ = self.last;
        self.hang_if_asked("hang-in-activate").await;
        Ok(())
    }

    async fn deactivate(&self) -> Result<(), String> {
        self.hang_if_asked("hang-in-deactivate").await;
        for (mode, millis) in [("slow-in-deactivate", 1_000), ("brief-in-deactivate", 100)] {
            if self.host.config().contains(mode) {
                later(Duration::from_millis(millis)).await;
            }
        }
        Ok(())
    }

    async fn shutdown(&self) {
        self.hang_if_asked("hang-in-shutdown").await;
    }

    async fn metrics(&self) -> String {
        match self.metrics {
            "bad-metrics" => "misbehaves_good 1\nmisbehaves_bad x\n".to_owned(),
            "foreign-metrics" => "misbehaves_good 1\npserve_requests_total 1\n".to_owned(),
            "panic-in-metrics" => panic!("this plugin panics in metrics"),
            "silent-metrics" => pending().await,
            _ => String::new(),
        }
    }

    fn handle_now(&self, request: Request<'_>) -> Option<Response> {
        match request.path_below_mount() {
            "now" => panic!("this plugin panics in handle_now"),
            "now-payload" => std::panic::panic_any(Bomb),
            _ => None,
        }
    }

    #[allow(clippy::manual_async_fn, reason = "the part before the future is one of the places to panic in")]
    fn handle(&self, request: Request<'_>) -> impl Future<Output = Response> + Send {
        let path = request.path_below_mount().to_owned();
        if path == "handle" {
            panic!("this plugin panics in handle");
        }
        if path == "block" {
            std::thread::sleep(Duration::from_secs(2));
        }
        async move {
            match path.as_str() {
                "poll" => panic!("this plugin panics in poll"),
                "payload" => std::panic::panic_any(Bomb),
                "drop" => {
                    let _bomb = Bomb;
                    Response::text(200, "never seen")
                }
                "later-drop" => {
                    let _bomb = Bomb;
                    pending().await
                }
                "stream" => {
                    let pieces = stream::unfold(0, |piece| async move {
                        if piece == 3 {
                            panic!("this plugin panics in a stream");
                        }
                        Some((Ok(b"piece ".to_vec()), piece + 1))
                    });
                    Response::stream(200, pieces)
                }
                "status" => Response::text(99, "no such status"),
                "header" => Response::text(200, "x").with_header("x-bad", "a\r\nx-injected: 1"),
                "never" => poll_fn(|_| Poll::Pending).await,
                _ => Response::text(200, "fine\n"),
            }
        }
    }
}

export_plugin!(Misbehaves);
