//! The smallest plugin: one route that greets whoever calls it, by name where sessions guard it.

use plugin_api::{Class, Host, Plugin, Request, Response, Route, export_plugin};

struct Hello(Host);

impl Plugin for Hello {
    const NAME: &'static str = "hello";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    fn prepare(host: Host) -> Result<Self, String> {
        Ok(Self(host))
    }

    fn routes(&self) -> Vec<Route> {
        vec![Route::new("", &["GET"], Class::Public)]
    }

    async fn handle(&self, request: Request<'_>) -> Response {
        // There is a principal where the instance is guarded by sessions, and no client can make one up.
        let whom = request.principal().map(|principal| format!(" to {}", principal.user_id));
        Response::text(200, format!("hello from {}{}\n", self.0.instance(), whom.unwrap_or_default()))
    }
}

export_plugin!(Hello);
