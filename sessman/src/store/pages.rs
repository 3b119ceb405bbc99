//! What is read, counted and removed of many records.

use crate::id::Handle;
use crate::record::Outline;

/// Some records or summaries, and where to go on.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// In the order of their handles.
    pub items: Vec<T>,
    /// Handles, in the same range, of what is stored and cannot be read.
    pub unread: Vec<Handle>,
    /// Pass it as `after` for the next page; `None` after the last.
    pub next: Option<Handle>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { items: Vec::new(), unread: Vec::new(), next: None }
    }
}

/// A page ends, short, once its items take so many bytes of memory. It has one at least.
pub const PAGE_BYTES: usize = 4 << 20;

/// Which sessions [`Store::list`](super::Store::list) gives.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listing<'a> {
    /// Only this user's.
    pub user_id: Option<&'a str>,
    /// Only those with a greater handle.
    pub after: Option<Handle>,
    /// At most so many; at least 1.
    pub limit: usize,
}

/// What [`Store::outlines`](super::Store::outlines) found of one handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlined {
    /// A record, live or not.
    Found(Outline),
    /// Something that this build cannot read.
    Unreadable,
    /// No record.
    Missing,
}

/// Counts of records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Sessions that exist.
    pub active: u64,
    /// Records past their `expires_at` that are still stored.
    pub expired: u64,
    /// Of the sessions that exist, those that began at each of the moments that were asked for, or later.
    pub since: Vec<u64>,
}

/// A record that was removed because its time was over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// The session that it was.
    pub handle: Handle,
    /// Whose it was.
    pub user_id: Option<String>,
}
