//! Pages of sessions, and what is counted over all of them.

use std::sync::Arc;

use redis::Cmd;
use tokio::time::Instant;

use super::index::Walk;
use super::layout::{self, Life, Mark};
use super::servers::deadline;
use super::store::RedisStore;
use super::sweep::{bytes, of_ours};
use super::users;
use crate::id::Handle;
use crate::record::Record;
use crate::store::{Page, Result};
use crate::time::Timestamp;

/// Records that are read in one go.
const SLICE: usize = 250;

/// Heads of records that are read in one go.
const HEADS: usize = 1_000;

/// Handles that a page looks at for each record that it may have, and before that: where most sessions have ended a page
/// is cut short rather than late.
const LOOKS: usize = 10;
const FIRST_LOOKS: usize = 2_000;

impl RedisStore {
    /// The records of several handles, in their order. What is there and cannot be read is left out, and reported.
    async fn read_all(&self, handles: &[Handle], deadline: Instant) -> Result<Vec<Option<(Record, Mark)>>> {
        let commands: Vec<(Vec<u8>, Cmd)> = handles
            .iter()
            .map(|handle| {
                let key = self.keys.session(*handle);
                let mut command = redis::cmd("GET");
                command.arg(&key);
                (key, command)
            })
            .collect();
        let answers = self.servers.call_each(&commands, deadline).await?;
        let read = |(handle, answer)| {
            let Some(found) = of_ours(answer)?.and_then(bytes) else { return Ok(None) };
            Ok(layout::read(handle, &found)
                .inspect_err(|unreadable| tracing::warn!(%unreadable, "a key is left out of the sessions"))
                .ok())
        };
        handles.iter().copied().zip(answers).map(read).collect()
    }

    /// A page of one user's.
    pub(super) async fn list_of(
        &self,
        user_id: &str,
        after: Option<Handle>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page> {
        let turn = self.turn().await?;
        let names = users::names(&self.servers, &self.keys.names(user_id), turn.deadline).await?;
        let mut page = Page::default();
        let begin = names.partition_point(|name| Some(name.handle) <= after);
        // One more than fits tells whether there is a next page; records may be large, so no more are asked for.
        for slice in names[begin..].chunks(limit.saturating_add(1).min(SLICE)) {
            let handles: Vec<Handle> = slice.iter().map(|name| name.handle).collect();
            let found = slice.iter().zip(self.read_all(&handles, turn.deadline).await?);
            let named = found.filter_map(|(name, found)| {
                let (record, mark) = found?;
                (mark == name.mark && record.user_id.as_deref() == Some(user_id)).then_some(record)
            });
            if fill(&mut page, named.filter(|record| record.is_live(now)), limit) {
                break;
            }
        }
        Ok(page)
    }

    /// A page of all. It may be short although others follow.
    pub(super) async fn list_all(&self, after: Option<Handle>, limit: usize, now: Timestamp) -> Result<Page> {
        let turn = self.turn().await?;
        let mut page = Page::default();
        let mut walk = Walk::new(&self.servers, &self.keys, after);
        let (mut looked_at, most) = (0, limit.saturating_mul(LOOKS).saturating_add(FIRST_LOOKS));
        // One more than fits tells whether there is a next page.
        while let Some(handles) = walk.next(limit.saturating_add(1).min(SLICE), turn.deadline).await? {
            for slice in handles.chunks(SLICE) {
                let found = self.read_all(slice, turn.deadline).await?.into_iter().flatten();
                let live = found.map(|(record, _)| record).filter(|record| record.is_live(now));
                if fill(&mut page, live, limit) {
                    return Ok(page);
                }
                looked_at += slice.len();
                if looked_at >= most {
                    page.next = slice.last().copied();
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    /// Hands over what every record's head says, each once.
    pub(super) async fn lives(&self, mut each: impl FnMut(Life)) -> Result<()> {
        let mut walk = Walk::new(&self.servers, &self.keys, None);
        while let Some(handles) = walk.next(HEADS, deadline()).await? {
            for slice in handles.chunks(HEADS) {
                self.heads(slice).await?.into_iter().flatten().for_each(&mut each);
            }
        }
        Ok(())
    }

    /// What the head of each record says; `None` where there is none.
    pub(super) async fn heads(&self, handles: &[Handle]) -> Result<Vec<Option<Life>>> {
        let wanted = handles.iter().map(|handle| (*handle, 0));
        let heads = users::beginnings(&self.servers, &self.keys, wanted).await?;
        Ok(heads.iter().map(|head| layout::life(head).ok()).collect())
    }
}

/// Puts records into a page, and says whether it is full and there are more.
fn fill(page: &mut Page, records: impl Iterator<Item = Record>, limit: usize) -> bool {
    for record in records {
        if page.records.len() == limit {
            page.next = page.records.last().map(|record| record.handle);
            return true;
        }
        page.records.push(Arc::new(record));
    }
    false
}
