//! A request and its answer.
//!
//! [`app`] takes in what has come ([`arrival`]) and has it answered: by the host, or by a [`call`] of a plugin; [`no_route`] is for
//! paths that lead nowhere. [`completion`] counts and logs each [`answer`]. A [`call`] brings a request to a plugin, with its
//! [`body`] read, as the [`request`] that a plugin sees. [`in_flight`] counts the requests that are being answered.

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
mod request;
mod request_body;
