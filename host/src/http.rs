//! HTTP, split into modules in the order in which a request passes them. A module imports only from modules below it
//! in this list.
//!
//! 1. [`transport`]: sockets, connections and their protocols
//! 2. [`exchange`]: requests and their answers
//! 3. [`control`]: the host's own routes, and the snapshot that is served
//! 4. [`gate`]: identification and authorization of clients
//! 5. [`message`]: the building blocks of requests and answers

pub(crate) mod control;
pub(crate) mod exchange;
pub(crate) mod gate;
pub(crate) mod message;
pub(crate) mod transport;
