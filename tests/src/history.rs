//! What many clients did to a session at once, and whether one session can have answered so.
//!
//! Each operation has the times at which it was asked for and answered, and its answer. There must be an order in which
//! each took effect at one moment between the two, such that a register with compare-and-set, one a session, gives every
//! answer that was given. An operation without an answer took effect at any moment after it was asked for, or never.
//!
//! - `model`: the register
//! - `check`: looks for the order
//! - `users`: how many sessions of a user there can have been
//! - `clients`: makes histories, over HTTP; `again`: of ids that are used again, by users with limits; `expiry`: of sessions
//!   that run out of time; `faults`: and what goes wrong meanwhile

mod again;
mod check;
mod clients;
mod expiry;
pub mod faults;
mod model;
#[cfg(test)]
mod tests;
mod users;

pub use again::Limit;
pub use check::check;
pub use clients::{Hosts, Load, Recorded};
pub use model::{Action, Answered, Incarnation, State, Tag, User};

/// One request about a session.
#[derive(Debug, Clone)]
pub struct Operation {
    /// What was asked for.
    pub action: Action,
    /// Which of the session's ids it came with: the first is 0.
    pub id: usize,
    /// When it was sent, in nanoseconds.
    pub begun: u64,
    /// When its answer was there; `None` if there was none, or one that does not tell.
    pub ended: Option<u64>,
    /// What was answered, if that tells.
    pub answered: Option<Answered>,
}

/// All requests about a session.
#[derive(Debug, Clone)]
pub struct History {
    /// The session as it began.
    pub start: State,
    /// In any order.
    pub operations: Vec<Operation>,
}
