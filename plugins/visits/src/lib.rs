//! A plugin that uses sessions: it greets the user who is logged in, and counts their visits in the session itself.
//!
//! ```ini
//! [plugin_parms]
//! sessman=json=sessman.json
//! visits=auth_type=session&calls=sessman
//! ```
//!
//! `auth_type=session` lets in whoever has a live session; `calls=sessman` lets this plugin use that session.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use plugin_api::{CallError, Class, Host, Level, Plugin, Request, Response, Route, export_plugin};
use serde_json::json;

/// How often the log says how many visits there were.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

struct Visits {
    host: Host,
    /// Since the plugin became active, by all users.
    visits: Arc<AtomicU64>,
}

const ROUTES: [Route; 2] =
    [Route::new("", &["GET"], Class::Public), Route::new("leave", &["POST"], Class::Public)];

impl Plugin for Visits {
    const NAME: &'static str = "visits";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    fn prepare(host: Host) -> Result<Self, String> {
        Ok(Self { host, visits: Arc::default() })
    }

    fn routes(&self) -> Vec<Route> {
        ROUTES.to_vec()
    }

    async fn activate(&self) -> Result<(), String> {
        let (host, visits) = (self.host.clone(), Arc::clone(&self.visits));
        // It ends by itself when the plugin is deactivated.
        self.host.interval("report", REPORT_INTERVAL, move || {
            host.log(Level::Info, &format!("{} visits so far", visits.load(Ordering::Relaxed)));
            async {}
        })
    }

    async fn handle(&self, request: Request<'_>) -> Response {
        let answer = match request.route() {
            0 => self.visit(&request).await,
            _ => leave(&request).await,
        };
        answer.unwrap_or_else(|error| {
            // The log gets the reason, and the client a status.
            self.host.log(Level::Warn, &format!("{error} request={}", request.request_id()));
            error.into()
        })
    }
}

impl Visits {
    /// Greets the user, and counts the visit in the session. Two requests at once are two visits: `change` repeats what
    /// another one came before.
    async fn visit(&self, request: &Request<'_>) -> Result<Response, CallError> {
        let mut session = request.session().await?;
        session.change(|data| data["visits"] = json!(data["visits"].as_u64().unwrap_or(0) + 1)).await?;
        self.visits.fetch_add(1, Ordering::Relaxed);
        let visits = &session.data()["visits"];
        Ok(Response::json(200, json!({ "user": session.user_id(), "visits": visits }).to_string())
            .with_header("cache-control", "no-store"))
    }
}

/// Logs the user out.
async fn leave(request: &Request<'_>) -> Result<Response, CallError> {
    request.session().await?.end().await?;
    Ok(Response::new(204))
}

export_plugin!(Visits);
