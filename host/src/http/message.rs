//! The building blocks of requests and answers.
//!
//! Of a request: its [`request_id`] and [`trace`], its header [`lines`], their size ([`header_size`]) and memory
//! ([`header_block`]). Of an answer: the [`response`], the [`problem`] that may replace it, and the [`untaken`]
//! answers of a connection. [`phase`] tells what a connection is doing, and [`in_time`] waits until a deadline.

pub(crate) mod header_block;
pub(crate) mod header_size;
pub(crate) mod in_time;
pub(crate) mod lines;
pub(crate) mod phase;
pub(crate) mod problem;
pub(crate) mod request_id;
pub(crate) mod response;
pub(crate) mod trace;
pub(crate) mod untaken;
