//! Requests and their answers.
//!
//! [`app`] takes an arrived request ([`arrival`]) and has it answered, either by the host or by a [`call`] of a
//! plugin. [`no_route`] answers paths that match no route. [`completion`] counts and logs each [`answer`]. A [`call`]
//! reads the [`body`] and passes the request to a plugin as a [`request`]. [`plugin_call`] does
//! so for a call of another instance. [`in_flight`] counts the requests that are being answered.

mod answer;
pub(crate) mod app;
mod arrival;
mod body;
mod call;
mod call_error;
mod completion;
mod context;
#[cfg(test)]
mod growth;
mod in_flight;
mod no_route;
mod plugin_call;
mod request;
mod request_body;
