//! The places of users: a list of the sessions of each user, in the order of arrival.

use crate::id::Handle;

/// A session's claim of a place among its user's.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The session's owner.
    pub user_id: &'a str,
    /// The session.
    pub handle: Handle,
    /// Only a place among the first `room` is acceptable; `None` for any.
    pub room: Option<usize>,
    /// If it already has a place, give that up for the last one.
    pub moves_last: bool,
    /// The sessions that came before it, for a user who has no list of places yet.
    pub earlier: Option<&'a [Handle]>,
}

/// The result of a [`Claim`]. Lists are in the order of arrival, and may include sessions that have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It has its place; the user's handles, including its own.
    Done(Vec<Handle>),
    /// The user's places are full; the user's handles. A place that it had before is kept.
    Full(Vec<Handle>),
    /// The user has no list of places and the claim had no earlier sessions, or the list was created only now. Retry.
    Unknown,
}

/// The places of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The user.
    pub user_id: String,
    /// In the order of arrival.
    pub handles: Vec<Handle>,
}

/// The places of some users, and the cursor of the next page.
#[derive(Debug, Clone, Default)]
pub struct PlacesPage {
    /// Each user once.
    pub users: Vec<Places>,
    /// Pass it as `after` to get the next page; `None` after the last. Its form is private to the store.
    pub next: Option<String>,
}
