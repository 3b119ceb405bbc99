//! HTTP, in rooms by what a request meets. A room imports from those below it and never from those above.
//!
//! 1. [`transport`]: sockets, connections and their protocols
//! 2. [`exchange`]: a request and its answer
//! 3. [`control`]: the host's own routes, and what is served
//! 4. [`gate`]: who the client is, and what it may do
//! 5. [`message`]: what requests and answers are made of

pub(crate) mod control;
pub(crate) mod exchange;
pub(crate) mod gate;
pub(crate) mod message;
pub(crate) mod transport;
