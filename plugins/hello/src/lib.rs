//! The smallest plugin: one public route that greets whoever calls it.

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

    async fn handle(&self, _request: Request<'_>) -> Response {
        Response::text(200, format!("hello from {}\n", self.0.instance()))
    }
}

export_plugin!(Hello);
