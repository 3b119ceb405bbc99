//! An iterator over all records of a store in the order of their handles, with at most one page in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use sessman::id::Handle;
use sessman::record::Record;
use sessman::store::sealed::{Keys, check_unsealed};
use sessman::store::{Store, StoreError};
use sessman::time::Timestamp;

use crate::retry::while_unavailable;
use crate::unread::Unread;

/// The target size of a page, in bytes of records.
const PAGE_BYTES: usize = 4 << 20;
/// Records of the first page, of the smallest and of the largest. A page must arrive within the deadline of a call.
const FIRST: usize = 100;
const LEAST: usize = 4;
const MOST: usize = 4_000;

/// What to do with a stored record.
#[derive(Clone, Copy)]
pub(crate) enum Reading<'a> {
    /// Leave it as it is, encrypted or not.
    AsStored,
    /// Decrypt it with these keys, if it is encrypted. A record that cannot be decrypted is an error: its ciphertext must not
    /// pass for its data, and its origin is unknown. The MAC is removed, as it covers the record in its own store.
    Opened(Option<&'a Keys>),
}

impl Reading<'_> {
    /// Converts a record.
    ///
    /// # Errors
    /// It cannot be decrypted.
    pub(crate) fn of(self, record: &Arc<Record>) -> Result<Arc<Record>, StoreError> {
        let opened = match self {
            Self::AsStored => return Ok(Arc::clone(record)),
            Self::Opened(Some(keys)) => keys.open_record(record)?,
            Self::Opened(None) => check_unsealed(record).map(|()| Arc::clone(record))?,
        };
        Ok(match opened.mac {
            Some(_) => Arc::new(Record { mac: None, ..(*opened).clone() }),
            None => opened,
        })
    }

    fn found(self, record: &Arc<Record>) -> Result<Found, StoreError> {
        match self.of(record) {
            Ok(record) => Ok(Found::Read(record)),
            Err(StoreError::Unusable(why)) => {
                Ok(Found::Unread(Unread { handle: record.handle, why: Some(why) }))
            }
            Err(error) => Err(error),
        }
    }
}

/// What is stored under a handle.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    /// A record.
    Read(Arc<Record>),
    /// Something that cannot be read.
    Unread(Unread),
}

impl Found {
    pub(crate) fn handle(&self) -> Handle {
        match self {
            Self::Read(record) => record.handle,
            Self::Unread(unread) => unread.handle,
        }
    }
}

/// All records that are live at one moment, and those that cannot be read.
pub(crate) struct Pages<'a> {
    store: &'a dyn Store,
    reading: Reading<'a>,
    now: Timestamp,
    after: Option<Handle>,
    limit: usize,
    found: VecDeque<Found>,
    is_last: bool,
}

impl<'a> Pages<'a> {
    /// Those of `store` that are live at `now`. The store must not decrypt by itself.
    pub(crate) fn new(store: &'a dyn Store, reading: Reading<'a>, now: Timestamp) -> Self {
        Self { store, reading, now, after: None, limit: FIRST, found: VecDeque::new(), is_last: false }
    }

    /// The next one, without consuming it.
    pub(crate) async fn peek(&mut self) -> Result<Option<&Found>, StoreError> {
        while self.found.is_empty() && !self.is_last {
            self.fetch().await?;
        }
        Ok(self.found.front())
    }

    /// The next one; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Found>, StoreError> {
        self.peek().await?;
        Ok(self.found.pop_front())
    }

    async fn fetch(&mut self) -> Result<(), StoreError> {
        let (store, now, after) = (self.store, self.now, self.after);
        let limit = &mut self.limit;
        let page = while_unavailable(|attempt| {
            // The store may have failed because the page was too large.
            if attempt > 0 {
                *limit = (*limit / 4).max(LEAST);
            }
            store.records(after, *limit, now)
        });
        let page = page.await?;
        let bytes: usize = page.items.iter().map(|record| size(record)).sum();
        let each = bytes / page.items.len().max(1) + 1;
        // Grows gradually, as the next page may have larger records.
        self.limit = (PAGE_BYTES / each).clamp(LEAST, MOST).min(self.limit * 4);
        self.after = page.next;
        self.is_last = page.next.is_none();
        let read = page.items.iter().map(|record| self.reading.found(record));
        let unread = page.unread.into_iter().map(|handle| Ok(Found::Unread(Unread { handle, why: None })));
        let mut found = read.chain(unread).collect::<Result<Vec<Found>, StoreError>>()?;
        found.sort_by_key(Found::handle);
        self.found = found.into();
        Ok(())
    }
}

fn size(record: &Record) -> usize {
    size_of::<Record>() + record.data.as_str().len() + record.metadata.as_str().len()
}

#[cfg(test)]
#[cfg(feature = "memory")]
pub(crate) mod tests {
    use sessman::store::memory::{MemoryConfig, MemoryStore};
    use sessman::store::sealed::SealedStore;
    use sessman::time::ManualClock;

    use super::*;
    use crate::line::tests::record;

    pub(crate) fn keys(n: u8) -> Keys {
        Keys::new(&[[n; 32]], false).unwrap()
    }

    /// Sessions 0 to 299; each third one is sealed with another key.
    pub(crate) async fn mixed(now: Timestamp) -> Arc<dyn Store> {
        let stored: Arc<dyn Store> =
            Arc::new(MemoryStore::new(MemoryConfig::default(), Arc::new(ManualClock::new(now))));
        for n in 0..300_u16 {
            let [high, low] = n.to_be_bytes();
            let mut handle = [low; 12];
            handle[0] = high;
            let record = Record { handle: Handle::from(handle), mac: None, ..record(low) };
            let sealed = SealedStore::new(Arc::clone(&stored), keys(if n % 3 == 1 { 2 } else { 1 }));
            sealed.create(Arc::new(record), now).await.unwrap();
        }
        stored
    }

    /// A store with these sessions that cannot read those of the other key.
    pub(crate) async fn in_part_unreadable(now: Timestamp) -> Arc<dyn Store> {
        Arc::new(SealedStore::new(mixed(now).await, keys(1)))
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_in_its_place_among_the_others() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let (stored, of_store) = (mixed(now).await, in_part_unreadable(now).await);
        let keys = keys(1);
        for (store, reading) in [(&stored, Reading::Opened(Some(&keys))), (&of_store, Reading::AsStored)] {
            let mut pages = Pages::new(&**store, reading, now);
            let mut found = Vec::new();
            while let Some(next) = pages.next().await.unwrap() {
                found.push(next);
            }
            assert_eq!(found.len(), 300);
            assert!(found.is_sorted_by_key(Found::handle));
            let is_unread =
                |(index, found): (usize, &Found)| (index % 3 == 1) == matches!(found, Found::Unread(_));
            assert!(found.iter().enumerate().all(is_unread));
        }
    }
}
