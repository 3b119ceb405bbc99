//! Tests of a `pserve` plugin without a server.
//!
//! An [`Instance`] is made of a type that implements [`Plugin`](plugin_api::Plugin), and asked as the host asks: through
//! the objects of the ABI, with routes found by path and method, panics caught, and answers that are HTTP or an error.
//! Futures are polled on the calling thread; no runtime is needed.
//!
//! ```
//! use plugin_api::{Class, Host, Level, Plugin, Response, Route};
//! use plugin_test::{Request, Setup};
//! use serde_json::{Value, json};
//!
//! struct Greeter { host: Host, greeting: String }
//!
//! impl Plugin for Greeter {
//!     const NAME: &'static str = "greeter";
//!     const VERSION: &'static str = "1.0.0";
//!
//!     fn prepare(host: Host) -> Result<Self, String> {
//!         let config: Value = serde_json::from_str(host.config()).map_err(|error| error.to_string())?;
//!         let greeting = config["greeting"].as_str().ok_or("greeting: a text is needed")?.to_owned();
//!         Ok(Self { host, greeting })
//!     }
//!
//!     fn routes(&self) -> Vec<Route> {
//!         vec![Route::new("", &["GET"], Class::Public)]
//!     }
//!
//!     async fn handle(&self, request: plugin_api::Request<'_>) -> Response {
//!         self.host.log(Level::Info, "somebody was greeted");
//!         Response::text(200, format!("{} {}", self.greeting, request.query()))
//!     }
//! }
//!
//! let greeter = Setup::of::<Greeter>().config(json!({ "greeting": "hello" })).start();
//! let answer = greeter.call(&Request::get("/greeter?ada"))?;
//! assert_eq!((answer.status(), answer.text()), (200, "hello ada"));
//! assert_eq!(greeter.log()[0].text, "somebody was greeted");
//!
//! assert_eq!(greeter.call(&Request::get("/greeter/more"))?.status(), 404);
//! assert_eq!(greeter.call(&Request::new("POST", "/greeter"))?.header("allow"), Some("GET, HEAD, OPTIONS"));
//!
//! let refused = Setup::of::<Greeter>().prepare().unwrap_err();
//! assert_eq!(refused, "greeting: a text is needed");
//! # Ok::<(), plugin_test::Failure>(())
//! ```
//!
//! What belongs to the host alone is not here: TLS, API keys, limits, CORS. A test says what the host would have found
//! out: [`Request::caller`], [`Request::principal`], [`Request::client_address`].
//!
//! Other instances are not here, either, and no time passes by itself: a test says what calls are answered
//! ([`Setup::answer_calls`]), and moves the clock of tasks ([`Instance::advance`]).
//!
//! - [`Setup`]: how an instance is made: its name, its configuration, its folder, what its calls are answered
//! - [`Instance`]: its life cycle, its routes and its tasks
//! - [`Request`], [`Answer`]: what is asked, and what came back
//! - [`Failure`]: why there is no answer

mod answer;
mod block_on;
mod calls;
mod failure;
mod host;
mod instance;
mod request;
mod setup;
mod tasks;
#[cfg(test)]
mod tests;

pub use answer::Answer;
pub use failure::Failure;
pub use host::LogLine;
pub use instance::{Authentication, Instance};
pub use request::Request;
pub use setup::Setup;
