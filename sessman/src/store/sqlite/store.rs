//! The store itself: each method as a job for the writer or a query for a reader.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::claims::{ForgetPlaces, Release, TakePlace};
use super::deletion::Delete;
use super::operation::{Clear, ClearSome, Create, GiveBack, Look, Operation, Ping, Sweep, Update};
use super::state::SqliteStore;
use super::{metrics, questions, reader, row, schema};
use crate::id::Handle;
use crate::record::{Change, Record, Summary};
use crate::store::{
    Checkup, Claim, Claimed, Counts, Created, Listing, Loaded, Outlined, Page, PlacesPage, Purged, Result,
    Store, StoreError, Target, Unless, Updated,
};
use crate::time::Timestamp;

/// Handles per query: it delays other reads by some milliseconds.
const LOOKED_UP: usize = 500;

/// Rows per batch of the clean-up: it delays queued writes by a few milliseconds.
const SLICE: usize = 250;

/// Pause between two batches of one clean-up, during which the writer serves others.
const PAUSE: Duration = Duration::from_millis(20);

/// Unused pages returned to the file system at a time; each costs moving a page.
const PAGES: u64 = 64;

impl SqliteStore {
    /// Deletions free space and must not fail on a full disk: if the WAL has no space for all of them at once, they are made in
    /// parts.
    async fn write_in_parts<T: Clone, O: Operation<Output = Vec<R>>, R>(
        &self,
        items: Vec<T>,
        operation: impl Fn(Vec<T>) -> O,
    ) -> Result<Vec<R>> {
        let (mut parts, mut done) = (vec![items], Vec::new());
        while let Some(mut part) = parts.pop() {
            match self.write(operation(part.clone())).await {
                Err(StoreError::Full) if part.len() > 1 => {
                    let rest = part.split_off(part.len() / 2);
                    parts.extend([rest, part]);
                }
                other => done.extend(other?),
            }
        }
        Ok(done)
    }

    /// Shrinks the file in steps, if the clean-up left much of it unused.
    async fn give_back(&self) -> Result<()> {
        loop {
            match self.scan(schema::spare_pages).await? {
                0 => return Ok(()),
                spare => self.write(GiveBack { pages: spare.min(PAGES) }).await?,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn create(&self, record: Arc<Record>, now: Timestamp) -> Result<Created> {
        self.write(Create { record, now }).await
    }

    async fn load(&self, handle: Handle, now: Timestamp) -> Result<Loaded> {
        let ticket = match self.cache.get(handle) {
            Ok(record) => return Ok(Loaded::of(Some(record), now)),
            Err(ticket) => ticket,
        };
        let (cache, health) = (self.cache.clone(), self.health.clone());
        let (row, is_current) = self
            .read(move |connection| {
                let row = reader::load(connection, handle)?;
                let is_current =
                    row.as_ref().is_none_or(|row| !health.is_settled() || cache.fill(ticket, row));
                Ok((row, is_current))
            })
            .await?;
        let record = row.map(|row| row.record);
        // The file says expired, but a queued write may extend the session. So ask the writer, after that write.
        if !is_current && record.as_ref().is_some_and(|record| !record.is_live(now)) {
            return Ok(Loaded::of(self.write(Look { handle }).await?, now));
        }
        Ok(Loaded::of(record, now))
    }

    fn has_records_at_hand(&self) -> bool {
        true
    }

    fn load_now(&self, handle: Handle, now: Timestamp) -> Option<Result<Loaded>> {
        let record = self.cache.get(handle).ok()?;
        Some(Ok(Loaded::of(Some(record), now)))
    }

    async fn update(&self, read: &Record, unless: Unless, change: &Change) -> Result<Updated> {
        self.write(Update::new(read, unless, change)).await
    }

    async fn delete(&self, targets: &[Target]) -> Result<Vec<Handle>> {
        self.write_in_parts(targets.to_vec(), |targets| Delete { targets }).await
    }

    async fn outlines(&self, handles: &[Handle]) -> Result<Vec<Outlined>> {
        let mut outlines = Vec::with_capacity(handles.len());
        for handles in handles.chunks(LOOKED_UP) {
            outlines.extend(self.read(questions::outlines(handles)).await?);
        }
        Ok(outlines)
    }

    async fn list(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page<Summary>> {
        match listing.user_id {
            Some(_) => self.read(questions::list(listing, now)).await,
            None => self.scan(questions::list(listing, now)).await,
        }
    }

    async fn records(
        &self,
        after: Option<Handle>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<Arc<Record>>> {
        self.scan(questions::records(after, limit, now)).await
    }

    async fn counts(&self, now: Timestamp, since: &[Timestamp]) -> Result<Counts> {
        self.scan(questions::counts(now, since)).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed> {
        self.write(TakePlace::new(claim)).await
    }

    async fn release(&self, user_id: &str, handles: &[Handle]) -> Result<()> {
        self.write(Release { user_id: user_id.to_owned(), handles: handles.to_vec() }).await
    }

    async fn places(&self, user_id: &str) -> Result<Vec<Handle>> {
        self.read(questions::places(user_id)).await
    }

    async fn all_places(&self, after: Option<&str>, limit: usize) -> Result<PlacesPage> {
        self.scan(questions::all_places(after, limit)).await
    }

    async fn forget_places(&self) -> Result<()> {
        self.write(ForgetPlaces).await
    }

    /// Readers find the rows that are due, and the writer only changes them. One pass visits each row whose bucket is due once:
    /// a row that was extended gets a later bucket.
    async fn purge_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Purged>> {
        let (mut purged, mut after) = (Vec::new(), None);
        loop {
            let found = self.read(move |connection| reader::due(connection, now, after, SLICE)).await?;
            let is_last = found.len() < SLICE;
            after = found.last().copied().or(after);
            let mut room = limit - purged.len();
            let mut rows = found;
            rows.retain(|row| match row.expires_at <= now {
                true => {
                    let fits = room > 0;
                    room -= usize::from(fits);
                    fits
                }
                false => row::bucket(row.expires_at) > row.expiry_bucket,
            });
            if !rows.is_empty() {
                purged.extend(self.write_in_parts(rows, |rows| Sweep { rows, now }).await?);
            }
            if is_last && let Err(error) = self.give_back().await {
                // Shrinking is retried later; the deleted sessions must be reported all the same.
                tracing::debug!(%error, "the file is made smaller another time");
            }
            if is_last || purged.len() >= limit {
                return Ok(purged);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn clear(&self) -> Result<u64> {
        let mut records = 0;
        loop {
            match self.write(Clear).await {
                Ok(rest) => return Ok(records + rest),
                Err(StoreError::Full) => {}
                Err(error) => return Err(error),
            }
            // As many as fit into the WAL on a full disk; deleting them frees space for more.
            match self.write(ClearSome { most: SLICE / 10 }).await? {
                0 => return Err(StoreError::Full),
                some => records += some,
            }
        }
    }

    async fn ping(&self) -> Result<()> {
        self.write(Ping).await
    }

    fn metrics(&self) -> String {
        let page = metrics::Page {
            health: &self.health,
            counts: self.write_counts(),
            waiting_writes: self.jobs.len(),
            waiting_bytes: self.waiting.taken(),
        };
        page.to_string()
    }

    async fn checkup(&self) -> Result<Checkup> {
        self.scan(schema::checkup).await
    }

    async fn close(&self) {
        self.jobs.close();
        // After this another process may own the file, so cached records could be stale.
        let forgotten = self.cache.close();
        // Locked while it waits, so that a concurrent call of close waits too.
        let mut writer = self.writer.lock().await;
        if let Some(thread) = writer.take() {
            let end = move || {
                drop(forgotten);
                // A writer that panicked was reported by the panic hook, and has released the file.
                thread.join()
            };
            let _ = tokio::task::spawn_blocking(end).await;
        }
    }
}
