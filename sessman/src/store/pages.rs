//! Arguments and results of operations on many records.

use crate::id::Handle;
use crate::labels::Label;
use crate::record::Outline;

/// Some records or summaries, and the cursor of the next page.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// In the order of their handles.
    pub items: Vec<T>,
    /// Handles, within the page's range, of records that cannot be read.
    pub unread: Vec<Handle>,
    /// Pass it as `after` to get the next page; `None` after the last.
    pub next: Option<Handle>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { items: Vec::new(), unread: Vec::new(), next: None }
    }
}

/// A page ends early once its items take this many bytes of memory. It has at least one item.
pub const PAGE_BYTES: usize = 4 << 20;

/// Which sessions [`Store::list`](super::Store::list) returns: those that match all that is given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listing<'a> {
    /// Only this user's.
    pub user_id: Option<&'a str>,
    /// Only those with this label.
    pub label: Option<&'a Label>,
    /// Only handles greater than this.
    pub after: Option<Handle>,
    /// The most items of the page; at least 1.
    pub limit: usize,
}

/// What [`Store::outlines`](super::Store::outlines) found for one handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlined {
    /// A record, live or not.
    Found(Outline),
    /// A record that this build cannot read.
    Unreadable,
    /// No record.
    Missing,
}

/// Counts of records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Live sessions.
    pub active: u64,
    /// Expired records that are still stored.
    pub expired: u64,
    /// For each requested moment, the live sessions that were created then or later.
    pub since: Vec<u64>,
}

/// A record that was deleted because it had expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// Its handle.
    pub handle: Handle,
    /// Its owner.
    pub user_id: Option<String>,
}
