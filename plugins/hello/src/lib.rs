//! The smallest plugin: one route that greets whoever calls it, by name where sessions guard it, and counts how often.

use std::sync::atomic::{AtomicU64, Ordering};

use plugin_api::{Class, Host, Plugin, Request, Response, Route, export_plugin};

struct Hello {
    host: Host,
    greetings: AtomicU64,
}

impl Plugin for Hello {
    const NAME: &'static str = "hello";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    fn prepare(host: Host) -> Result<Self, String> {
        Ok(Self { host, greetings: AtomicU64::new(0) })
    }

    fn routes(&self) -> Vec<Route> {
        vec![Route::new("", &["GET"], Class::Public)]
    }

    async fn handle(&self, request: Request<'_>) -> Response {
        self.greetings.fetch_add(1, Ordering::Relaxed);
        // There is a principal where the instance is guarded by sessions, and no client can make one up.
        let whom = request.principal().map(|principal| format!(" to {}", principal.user_id));
        Response::text(200, format!("hello from {}{}\n", self.host.instance(), whom.unwrap_or_default()))
    }

    async fn metrics(&self) -> String {
        let greetings = self.greetings.load(Ordering::Relaxed);
        format!(
            "# HELP hello_greetings_total Callers greeted.\n# TYPE hello_greetings_total counter\n\
             hello_greetings_total {greetings}\n"
        )
    }
}

export_plugin!(Hello);

#[cfg(test)]
mod tests {
    use plugin_test::{Request, Setup};

    use super::Hello;

    #[test]
    fn callers_are_greeted_and_counted() {
        let hello = Setup::of::<Hello>().name("hi").start();
        let answer = hello.call(&Request::get("/hi")).unwrap().expect(200);
        assert_eq!(answer.text(), "hello from hi\n");
        assert!(hello.metrics().unwrap().ends_with("\nhello_greetings_total 1\n"));
    }

    #[test]
    fn whoever_has_a_session_is_greeted_by_name_and_no_header_makes_one_up() {
        let hello = Setup::of::<Hello>().start();
        let request = Request::get("/hello").header("x-user", "eve");
        assert_eq!(hello.call(&request).unwrap().text(), "hello from hello\n");
        let answer = hello.call(&request.principal("ada", "session-1")).unwrap();
        assert_eq!(answer.text(), "hello from hello to ada\n");
    }
}
