//! All records of a store, one after the other in the order of their handles, with a page in memory at most.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sessman::id::Handle;
use sessman::record::Record;
use sessman::store::sealed::{Keys, check_unsealed};
use sessman::store::{Listing, Store, StoreError};
use sessman::time::Timestamp;

/// Bytes of records that a page is meant to have.
const PAGE_BYTES: usize = 4 << 20;
/// Records of the first page, and of the smallest and largest. A page has to come within the time of a call.
const FIRST: usize = 100;
const LEAST: usize = 4;
const MOST: usize = 4_000;

/// What is waited for a store that is away, again and again: about a minute, in which a server starts again.
const PAUSES: [u64; 8] = [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000];

/// What is made of a record as the store has it.
#[derive(Clone, Copy)]
pub(crate) enum Reading<'a> {
    /// Nothing.
    AsStored,
    /// It is opened with these keys, or is one that needs none. What cannot be read is an error: it is not taken for what is
    /// in it, and nobody knows who put it there.
    Opened(Option<&'a Keys>),
}

impl Reading<'_> {
    /// Reads a record.
    ///
    /// # Errors
    /// It does not open.
    pub(crate) fn of(self, record: &Arc<Record>) -> Result<Arc<Record>, StoreError> {
        match self {
            Self::AsStored => Ok(Arc::clone(record)),
            Self::Opened(Some(keys)) => keys.open_record(record),
            Self::Opened(None) => check_unsealed(record).map(|()| Arc::clone(record)),
        }
    }
}

/// All records that are live at one moment.
pub(crate) struct Pages<'a> {
    store: &'a dyn Store,
    reading: Reading<'a>,
    now: Timestamp,
    after: Option<Handle>,
    limit: usize,
    found: VecDeque<Arc<Record>>,
    is_last: bool,
}

impl<'a> Pages<'a> {
    /// Those of `store`, which does not open them itself, that are live at `now`.
    pub(crate) fn new(store: &'a dyn Store, reading: Reading<'a>, now: Timestamp) -> Self {
        Self { store, reading, now, after: None, limit: FIRST, found: VecDeque::new(), is_last: false }
    }

    /// The next one, without going on.
    pub(crate) async fn peek(&mut self) -> Result<Option<&Arc<Record>>, StoreError> {
        while self.found.is_empty() && !self.is_last {
            self.fetch().await?;
        }
        Ok(self.found.front())
    }

    /// The next one; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Arc<Record>>, StoreError> {
        self.peek().await?;
        Ok(self.found.pop_front())
    }

    async fn fetch(&mut self) -> Result<(), StoreError> {
        let (store, now, after) = (self.store, self.now, self.after);
        let limit = &mut self.limit;
        let page = patiently(|attempt| {
            // It may have been away because so much was asked of it.
            if attempt > 0 {
                *limit = (*limit / 4).max(LEAST);
            }
            store.list(Listing { user_id: None, after, limit: *limit }, now)
        });
        let page = page.await?;
        let bytes: usize = page.records.iter().map(|record| size(record)).sum();
        let each = bytes / page.records.len().max(1) + 1;
        // Not by leaps, for one page may be unlike the next.
        self.limit = (PAGE_BYTES / each).clamp(LEAST, MOST).min(self.limit * 4);
        self.after = page.next;
        self.is_last = page.next.is_none();
        self.found = page.records.iter().map(|record| self.reading.of(record)).collect::<Result<_, _>>()?;
        Ok(())
    }
}

fn size(record: &Record) -> usize {
    size_of::<Record>() + record.data.as_str().len() + record.metadata.as_str().len()
}

/// Asks again while the store is away; what is asked must be such that it may be done twice. It is told the number of the
/// attempt.
pub(crate) async fn patiently<T, Asking>(mut ask: impl FnMut(usize) -> Asking) -> Result<T, StoreError>
where
    Asking: Future<Output = Result<T, StoreError>>,
{
    for (attempt, pause) in PAUSES.into_iter().enumerate() {
        match ask(attempt).await {
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(pause)).await,
            other => return other,
        }
    }
    ask(PAUSES.len()).await
}
