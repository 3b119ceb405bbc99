//! What requests and answers are made of.
//!
//! Of a request: its [`request_id`] and [`trace`], its [`lines`] of headers, their size ([`header_size`]) and memory
//! ([`header_block`]). Of an answer: the [`response`], the [`problem`] in its place, and what is [`untaken`] of many on one connection. [`phase`] says what a
//! connection is doing with them, [`in_time`] how long anything waits.

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
