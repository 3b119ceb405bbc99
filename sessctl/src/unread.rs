//! What is stored and cannot be read: it is counted and said, and never passed over.

use std::time::Instant;

use sessman::id::Handle;
use sessman::store::{Listing, Store, StoreError};
use sessman::time::Timestamp;

use crate::output::number;
use crate::retry::while_unavailable;

/// So many are named.
const NAMED: usize = 5;
/// Sessions of a page while they are only looked for.
const PAGE: usize = 1_000;
/// Where nothing else is known.
const UNKNOWN: &str = "it is damaged, or was written by a newer version";

/// Something that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unread {
    pub(crate) handle: Handle,
    /// Why, where more is known than that the store cannot.
    pub(crate) why: Option<String>,
}

/// So many, the first of them by name.
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

    /// Which they are and what to do, a line each.
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

/// What a look at all sessions found.
pub(crate) struct Look {
    pub(crate) unreadable: Unreadable,
    /// Whether it came to the end.
    pub(crate) is_whole: bool,
}

/// Looks at all sessions, without their data, as far as it comes until then. `seen` is told how many, page by page.
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
