//! Pages of sessions, and counts over all of them.

use std::sync::Arc;

use super::index::Walk;
use super::layout::{self, HEAD_2, Span};
use super::reading::{self, Part, Stored, read_each};
use super::servers::deadline;
use super::state::RedisStore;
use super::users;
use crate::id::Handle;
use crate::labels::{Label, Labels};
use crate::record::{Record, Summary};
use crate::store::{Counts, Listing, PAGE_BYTES, Page, Result};
use crate::time::Timestamp;

/// Handles read from the index per batch.
const SLICE: usize = 250;

/// Heads of records read per batch.
const HEADS: usize = 1_000;

/// The most handles that a page examines, as a multiple of the records that it may have. If most sessions have ended, a page
/// is short rather than slow.
const LOOKS: usize = 10;
const FIRST_LOOKS: usize = 2_000;

/// An item of a page.
pub(super) trait Item: Part {
    fn expires_at(&self) -> Timestamp;
    fn labels(&self) -> &Labels;
    /// Its memory in bytes.
    fn bytes(&self) -> usize;
}

impl Item for Summary {
    fn expires_at(&self) -> Timestamp {
        self.life.expires_at
    }

    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn bytes(&self) -> usize {
        Summary::bytes(self)
    }
}

impl Item for Arc<Record> {
    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn bytes(&self) -> usize {
        Record::bytes(self)
    }
}

/// A page under construction.
struct Filling<T> {
    page: Page<T>,
    limit: usize,
    now: Timestamp,
    bytes: usize,
    last: Option<Handle>,
}

impl<T: Item> Filling<T> {
    fn new(limit: usize, now: Timestamp) -> Self {
        Self { page: Page::default(), limit, now, bytes: 0, last: None }
    }

    /// Adds what is stored under the next handle; returns whether the page was full, so that this one belongs to the next page.
    fn put(&mut self, handle: Handle, stored: Stored<T>) -> bool {
        match stored {
            Stored::Found(item) if self.now < item.expires_at() => {
                if self.page.items.len() == self.limit || self.bytes >= PAGE_BYTES {
                    self.end_at(self.last);
                    return true;
                }
                self.bytes += item.bytes();
                self.page.items.push(item);
                self.last = Some(handle);
            }
            Stored::Unreadable => self.page.unread.push(handle),
            Stored::Found(_) | Stored::Missing => {}
        }
        false
    }

    fn end_at(&mut self, next: Option<Handle>) {
        self.page.next = next;
        // The others are on the next page.
        self.page.unread.retain(|handle| Some(*handle) <= next);
    }
}

impl RedisStore {
    /// A page of one user's sessions.
    pub(super) async fn list_of(
        &self,
        user_id: &str,
        label: Option<&Label>,
        after: Option<Handle>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<Summary>> {
        let turn = self.turn().await?;
        let names = users::names(&self.servers, &self.keys.names(user_id), turn.deadline).await?;
        let begin = names.partition_point(|name| Some(name.handle) <= after);
        let mut handles: Vec<Handle> = names[begin..].iter().map(|name| name.handle).collect();
        // A handle used by several sessions in sequence has several names for a while.
        handles.dedup();
        let mut filling = Filling::new(limit, now);
        // One more than fits shows whether there is a next page.
        for slice in handles.chunks(limit.saturating_add(1).min(SLICE)) {
            let full = read_each(&self.servers, &self.keys, slice, turn.deadline, |handle, stored| {
                // After a change of the user, the name stays for a while in the previous user's index. For an unreadable record,
                // the name alone says whose it is.
                match stored {
                    Stored::Found(found) if !is_of(&found, user_id) || !has(&found, label) => false,
                    stored => filling.put(handle, stored),
                }
            });
            if full.await? {
                break;
            }
        }
        Ok(filling.page)
    }

    /// A page of all sessions, or of those with a label. It may be short although others follow.
    pub(super) async fn list_all<T: Item>(
        &self,
        label: Option<&Label>,
        after: Option<Handle>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<T>> {
        let turn = self.turn().await?;
        let mut filling = Filling::new(limit, now);
        let mut walk = Walk::new(&self.servers, &self.keys, label, after);
        let (mut looked_at, most) = (0, limit.saturating_mul(LOOKS).saturating_add(FIRST_LOOKS));
        // One more than fits shows whether there is a next page. If many sessions have ended, the batches grow.
        let mut asked = limit.saturating_add(1).min(SLICE);
        while let Some(handles) = walk.next(asked, turn.deadline).await? {
            asked = (2 * asked).min(SLICE);
            for slice in handles.chunks(SLICE) {
                // A name stays for a while among those of a label that its session has lost.
                let put = |handle, stored: Stored<T>| match stored {
                    Stored::Found(found) if label.is_some_and(|label| !found.labels().has(label)) => false,
                    stored => filling.put(handle, stored),
                };
                if read_each(&self.servers, &self.keys, slice, turn.deadline, put).await? {
                    return Ok(filling.page);
                }
                looked_at += slice.len();
                if looked_at >= most {
                    filling.end_at(slice.last().copied());
                    return Ok(filling.page);
                }
            }
        }
        Ok(filling.page)
    }

    /// See [`Store::list`](crate::store::Store::list).
    pub(super) async fn page(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page<Summary>> {
        let (after, limit) = (listing.after, listing.limit.max(1));
        match listing.user_id {
            Some(user_id) => self.list_of(user_id, listing.label, after, limit, now).await,
            None => self.list_all(listing.label, after, limit, now).await,
        }
    }

    /// See [`Store::counts`](crate::store::Store::counts).
    pub(super) async fn count(&self, now: Timestamp, since: &[Timestamp]) -> Result<Counts> {
        let mut counts = Counts { since: vec![0; since.len()], ..Counts::default() };
        let mut walk = Walk::new(&self.servers, &self.keys, None, None);
        while let Some(handles) = walk.next(HEADS, deadline()).await? {
            for slice in handles.chunks(HEADS) {
                for span in self.spans(slice).await?.into_iter().flatten() {
                    if now >= span.expires_at {
                        counts.expired += 1;
                        continue;
                    }
                    counts.active += 1;
                    for (moment, count) in since.iter().zip(&mut counts.since) {
                        *count += u64::from(span.created_at >= *moment);
                    }
                }
            }
        }
        Ok(counts)
    }

    /// The span of each session; `None` if there is none, or it cannot be read.
    pub(super) async fn spans(&self, handles: &[Handle]) -> Result<Vec<Option<Span>>> {
        let heads = reading::beginnings(&self.servers, &self.keys, handles, HEAD_2, deadline()).await?;
        let span = |head: Stored<Vec<u8>>| match head {
            Stored::Found(head) => layout::span(&head).ok(),
            Stored::Unreadable | Stored::Missing => None,
        };
        Ok(heads.into_iter().map(span).collect())
    }
}

fn has(summary: &Summary, label: Option<&Label>) -> bool {
    label.is_none_or(|label| summary.labels.has(label))
}

fn is_of(summary: &Summary, user_id: &str) -> bool {
    summary.user_id.as_deref() == Some(user_id)
}
