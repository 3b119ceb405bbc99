//! Unreadable sessions: counted and reported, never silently skipped.

use std::time::Instant;

use sessman::id::Handle;
use sessman::store::{Listing, Store, StoreError};
use sessman::time::Timestamp;

use crate::output::number;
use crate::retry::while_unavailable;

/// How many are named in a report.
const NAMED: usize = 5;
/// Sessions per page of a scan.
const PAGE: usize = 1_000;
/// The reason if no other is known.
const UNKNOWN: &str = "it is damaged, or was written by a newer version";

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unread {
    pub(crate) handle: Handle,
    /// The reason, if it is known.
    pub(crate) why: Option<String>,
}

/// Their number, with the first few by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Unreadable {
    count: u64,
    named: Vec<Unread>,
}

impl Unreadable {
    pub(crate) fn add(&mut self, unread: &Unread) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(unread.clone());
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// A report of which they are and what to do, a line each.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for Unread { handle, why } in &self.named {
            text.push_str(&format!("\n  {handle}: {}", why.as_deref().unwrap_or(UNKNOWN)));
        }
        if self.count > self.named.len() as u64 {
            text.push_str(&format!("\n  and {} more", number(self.count - self.named.len() as u64)));
        }
        text + "\nUse the sessctl of the newest version that is at work, and the keys that they were written with; what nobody \
                can read any more, `sessctl end HANDLE` ends"
    }
}

/// The result of a scan of all sessions.
pub(crate) struct Look {
    pub(crate) unreadable: Unreadable,
    /// Whether the scan was completed.
    pub(crate) is_whole: bool,
}

/// Scans all sessions, without their data, until the deadline. Calls `seen` with the number for each page.
pub(crate) async fn look(
    store: &dyn Store,
    now: Timestamp,
    until: Option<Instant>,
    mut seen: impl FnMut(usize),
) -> Result<Look, StoreError> {
    let mut unreadable = Unreadable::default();
    let mut after = None;
    loop {
        let listing = Listing { after, limit: PAGE, ..Listing::default() };
        let page = while_unavailable(|_| store.list(listing, now)).await?;
        seen(page.items.len() + page.unread.len());
        for handle in page.unread {
            unreadable.add(&Unread { handle, why: None });
        }
        after = page.next;
        if after.is_none() || until.is_some_and(|until| Instant::now() >= until) {
            return Ok(Look { unreadable, is_whole: after.is_none() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_named_and_all_are_counted() {
        let mut unreadable = Unreadable::default();
        for n in 0..7 {
            let why = (n == 0).then(|| "the session is encrypted".to_owned());
            unreadable.add(&Unread { handle: Handle::from([n; 12]), why });
        }
        let text = unreadable.describe();
        assert_eq!(unreadable.count(), 7);
        assert!(text.contains("AAAAAAAAAAAAAAAA: the session is encrypted"), "{text}");
        assert!(text.contains("AQEBAQEBAQEBAQEB: it is damaged") && text.contains("and 2 more"), "{text}");
    }
}
