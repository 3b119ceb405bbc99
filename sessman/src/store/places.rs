//! The places of users: which sessions each of them has, in the order of arrival.

use crate::id::Handle;

/// A session that asks for a place among its user's.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Whose session it is.
    pub user_id: &'a str,
    /// The session.
    pub handle: Handle,
    /// Only a place among so many first ones will do; `None` for any.
    pub room: Option<usize>,
    /// A place that it has already counts for nothing: it asks for the last one.
    pub moves_last: bool,
    /// Those that came before it, for a user of whom nothing is written down yet.
    pub earlier: Option<&'a [Handle]>,
}

/// What became of a [`Claim`]. Lists are in the order of arrival, and may hold handles of sessions that have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It has its place; the user's handles, its own among them.
    Done(Vec<Handle>),
    /// There is no room for it; the user's handles. If it had a place, it has that one still.
    Full(Vec<Handle>),
    /// Nothing is written down of that user, and nothing was said of earlier sessions; or it was written down only now.
    /// It is to be tried again.
    Unknown,
}

/// The places of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Whose they are.
    pub user_id: String,
    /// In the order of arrival.
    pub handles: Vec<Handle>,
}

/// The places of some users, and where to go on.
#[derive(Debug, Clone, Default)]
pub struct PlacesPage {
    /// Each user once.
    pub users: Vec<Places>,
    /// Pass it as `after` for the next page; `None` after the last. What it is, the store knows alone.
    pub next: Option<String>,
}
