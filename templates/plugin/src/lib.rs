//! A plugin for `pserve`: greets whoever calls it, and counts.

use std::sync::atomic::{AtomicU64, Ordering};

use plugin_api::settings::{self, loose};
use plugin_api::{Class, Host, Level, Plugin, Request, Response, Route, export_plugin};
use serde::Deserialize;
use serde_json::json;

/// The keys of the configuration. A key that is not here is an error, told with the nearest one that is.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Configuration {
    greeting: Option<String>,
    // A number that may come as text, as it does from an INI file.
    #[serde(deserialize_with = "loose::option")]
    times: Option<u16>,
}

struct Greeter {
    host: Host,
    greeting: String,
    greeted: AtomicU64,
}

/// Places in [`ROUTES`].
const GREET: usize = 0;
const COUNT: usize = 1;

const ROUTES: [Route; 2] = [
    // Anyone may ask.
    Route::new("", &["GET"], Class::Public),
    // Only who has the API key, where there is one.
    Route::new("count", &["GET"], Class::Service),
];

impl Plugin for Greeter {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    fn prepare(host: Host) -> Result<Self, String> {
        let greeting = greeting(host.config())?;
        Ok(Self {
            host,
            greeting,
            greeted: AtomicU64::new(0),
        })
    }

    fn routes(&self) -> Vec<Route> {
        ROUTES.into()
    }

    async fn handle(&self, request: Request<'_>) -> Response {
        match request.route() {
            GREET => {
                self.greeted.fetch_add(1, Ordering::Relaxed);
                self.host.log(Level::Debug, "somebody was greeted");
                Response::text(200, self.greeting.clone())
            }
            COUNT => {
                let greeted = self.greeted.load(Ordering::Relaxed);
                Response::json(200, json!({ "greeted": greeted }).to_string())
            }
            _ => Response::problem(404, "there is no such route"),
        }
    }
}

/// What is said, by the configuration; the error is what is wrong with it, a line a problem.
fn greeting(config: &str) -> Result<String, String> {
    let map = serde_json::from_str(config).map_err(|error| error.to_string())?;
    let configuration: Configuration = settings::read(&map).map_err(|problems| {
        problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    })?;
    let greeting = configuration.greeting.unwrap_or_else(|| "hello".to_owned());
    Ok(format!("{greeting}\n").repeat(configuration.times.unwrap_or(1).into()))
}

export_plugin!(Greeter);

#[cfg(test)]
mod tests {
    use plugin_api::Caller;
    use plugin_test::{Request, Setup};
    use serde_json::json;

    use super::Greeter;

    #[test]
    fn whoever_asks_is_greeted_as_configured_and_counted() {
        let config = json!({ "greeting": "hi", "times": "2" });
        let greeter = Setup::of::<Greeter>()
            .name("greeter")
            .config(config)
            .start();
        let answer = greeter.call(&Request::get("/greeter")).unwrap();
        assert_eq!((answer.status(), answer.text()), (200, "hi\nhi\n"));

        let count = Request::get("/greeter/count");
        let answer = greeter.call(&count).unwrap();
        assert_eq!(answer.json(), json!({ "greeted": 1 }));
        let stranger = count.caller(Caller::Unkeyed);
        assert_eq!(greeter.call(&stranger).unwrap().status(), 401);
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        let config = json!({ "greting": "hi" });
        let refused = Setup::of::<Greeter>().config(config).prepare().unwrap_err();
        assert!(refused.contains("greeting"), "{refused}");
    }
}
