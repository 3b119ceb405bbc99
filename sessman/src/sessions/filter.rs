//! Filters: which sessions are listed, counted or ended.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::completion::to_the_end;
use super::listing::{Passes, by_age, moments_of_ages};
use super::stats::Stats;
use super::{Sessions, client_ip};
use crate::error::Error;
use crate::id::Handle;
use crate::labels::Label;
use crate::record::Summary;
use crate::store::{Listing, Page, StoreError, Target};
use crate::time::Timestamp;

/// Sessions examined per call of the store, where not all of them match.
const SLICE: usize = 500;

/// How long a page looks for sessions that match; then it is short, and others follow.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a count goes on; then it is incomplete.
const COUNTING: Duration = Duration::from_secs(10);

/// Conditions on sessions, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this user's.
    pub user_id: Option<String>,
    /// Only those with all of these labels.
    pub labels: Vec<Label>,
    /// Only those whose `metadata.client_ip` is this address.
    pub client_ip: Option<IpAddr>,
    /// Only those created before.
    pub created_before: Option<Timestamp>,
    /// Only those created then or later.
    pub created_after: Option<Timestamp>,
    /// Only those last active before.
    pub active_before: Option<Timestamp>,
    /// Only those last active then or later.
    pub active_after: Option<Timestamp>,
    /// Only those that expire before, unless they are extended.
    pub expires_before: Option<Timestamp>,
}

impl Filter {
    /// Whether every session matches.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The conditions as parameters of the HTTP routes: a name and a value each.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let Self {
            user_id,
            labels,
            client_ip,
            created_before,
            created_after,
            active_before,
            active_after,
            expires_before,
        } = self;
        let times = [
            ("created_before", created_before),
            ("created_after", created_after),
            ("active_before", active_before),
            ("active_after", active_after),
            ("expires_before", expires_before),
        ];
        let user_id = user_id.iter().map(|user_id| ("user_id", user_id.clone()));
        let labels = labels.iter().map(|label| ("label", label.to_string()));
        let address = client_ip.iter().map(|address| ("client_ip", address.to_string()));
        let times = times.into_iter().filter_map(|(name, time)| Some((name, (*time)?.to_string())));
        user_id.chain(labels).chain(address).chain(times).collect()
    }

    /// Whether the store finds exactly those that match: all, or by a user, a label or both.
    fn is_of_index(&self) -> bool {
        let Self { user_id, labels, .. } = self;
        let of_index = Self { user_id: user_id.clone(), labels: labels.clone(), ..Self::default() };
        labels.len() <= 1 && *self == of_index
    }

    /// The same, without sessions created after `cutoff`.
    fn up_to(&self, cutoff: Timestamp) -> Self {
        let end = cutoff.after(Duration::from_millis(1));
        Self {
            created_before: Some(self.created_before.map_or(end, |before| before.min(end))),
            ..self.clone()
        }
    }

    fn matches(&self, session: &Summary) -> bool {
        let Self {
            user_id,
            labels,
            client_ip: address,
            created_before,
            created_after,
            active_before,
            active_after,
            expires_before,
        } = self;
        let life = &session.life;
        let before = |limit: &Option<Timestamp>, time: Timestamp| limit.is_none_or(|limit| time < limit);
        let after = |limit: &Option<Timestamp>, time: Timestamp| limit.is_none_or(|limit| time >= limit);
        user_id.as_ref().is_none_or(|user_id| session.user_id.as_ref() == Some(user_id))
            && labels.iter().all(|label| session.labels.has(label))
            && before(created_before, life.created_at)
            && after(created_after, life.created_at)
            && before(active_before, life.last_activity)
            && after(active_after, life.last_activity)
            && before(expires_before, life.expires_at)
            && address.is_none_or(|address| {
                client_ip(&session.metadata).ok().flatten() == Some(address.to_canonical())
            })
    }
}

/// The result of [`Sessions::preview_end`].
#[derive(Debug, Clone)]
pub struct Preview {
    /// How many sessions match.
    pub matching: u64,
    /// Whether all sessions were examined: a very large store takes too long, some may not be readable, and then there may be
    /// more.
    pub is_complete: bool,
    /// The first ones.
    pub first: Vec<Summary>,
    /// Pass it to [`Sessions::end_matching`]: a session created later is not ended.
    pub cutoff: Timestamp,
}

impl Sessions {
    /// A page of the live sessions that match. It may be short, or empty, although others follow.
    ///
    /// # Errors
    /// The store's.
    pub async fn search(
        &self,
        filter: &Filter,
        mut after: Option<Handle>,
        limit: usize,
    ) -> Result<Page<Summary>, StoreError> {
        let (mut page, until) = (Page::default(), Instant::now() + PATIENCE);
        loop {
            let missing = limit - page.items.len();
            let asked = if filter.is_of_index() { missing } else { SLICE };
            let mut found = self.some(filter, after, asked).await?;
            page.unread.append(&mut found.unread);
            page.next = found.next;
            if found.items.len() > missing {
                found.items.truncate(missing);
                page.next = found.items.last().map(|last| last.handle);
                page.unread.retain(|handle| Some(*handle) <= page.next);
            }
            page.items.append(&mut found.items);
            after = page.next;
            if after.is_none() || page.items.len() == limit || filter.is_of_index() || Instant::now() >= until
            {
                return Ok(page);
            }
        }
    }

    /// Those that match on a page of the store.
    async fn some(
        &self,
        filter: &Filter,
        after: Option<Handle>,
        limit: usize,
    ) -> Result<Page<Summary>, StoreError> {
        let (user_id, label) = (filter.user_id.as_deref(), filter.labels.first());
        let mut page = self.list(Listing { user_id, label, after, limit }).await?;
        page.items.retain(|session| filter.matches(session));
        Ok(page)
    }

    /// Counts the live sessions that match, by their age; `false` if that takes too long and there are more.
    ///
    /// # Errors
    /// The store's.
    pub async fn stats_of(&self, filter: &Filter) -> Result<(Stats, bool), StoreError> {
        let moments = moments_of_ages(self.clock.now());
        let mut since = vec![0; moments.len()];
        let (active, is_complete) = self
            .walk(filter, COUNTING, |session| {
                for (moment, count) in moments.iter().zip(&mut since) {
                    *count += u64::from(session.life.created_at >= *moment);
                }
            })
            .await?;
        Ok((Stats { active, expired: 0, by_age: by_age(since, active) }, is_complete))
    }

    /// Calls `each` with every session that matches, for at most `time`; returns how many, and whether these are all.
    async fn walk(
        &self,
        filter: &Filter,
        time: Duration,
        mut each: impl FnMut(Summary),
    ) -> Result<(u64, bool), StoreError> {
        let (mut matching, mut after, mut is_all_read, until) = (0, None, true, Instant::now() + time);
        loop {
            let page = self.some(filter, after, SLICE).await?;
            matching += page.items.len() as u64;
            is_all_read &= page.unread.is_empty();
            page.items.into_iter().for_each(&mut each);
            after = page.next;
            if after.is_none() || Instant::now() >= until {
                return Ok((matching, after.is_none() && is_all_read));
            }
        }
    }

    /// What [`end_matching`](Self::end_matching) would end.
    ///
    /// # Errors
    /// The store's.
    pub async fn preview_end(&self, filter: &Filter, shown: usize) -> Result<Preview, StoreError> {
        let (cutoff, mut first) = (self.clock.now(), Vec::new());
        let filter = filter.up_to(cutoff);
        let (matching, is_complete) = self
            .walk(&filter, COUNTING, |session| {
                if first.len() < shown {
                    first.push(session);
                }
            })
            .await?;
        Ok(Preview { matching, is_complete, first, cutoff })
    }

    /// Ends the sessions that match and were created up to `cutoff`; returns their handles. If there are more than `at_most`,
    /// it ends none.
    ///
    /// # Errors
    /// [`Error::TooManyMatch`], [`Error::Store`]. Sessions ended before a failure of the store stay ended.
    pub async fn end_matching(
        self: &Arc<Self>,
        filter: &Filter,
        cutoff: Timestamp,
        at_most: u64,
    ) -> Result<Vec<Handle>, Error> {
        // Of one user, those that cannot be read end too, as with `end_user`.
        let of_user = Filter { user_id: filter.user_id.clone(), ..Filter::default() };
        let is_of_user = filter.user_id.is_some() && *filter == of_user;
        let (this, filter) = (Arc::clone(self), filter.up_to(cutoff));
        to_the_end(async move {
            let (mut ended, mut passes) = (Vec::new(), Passes::default());
            loop {
                let room = at_most.saturating_sub(ended.len() as u64);
                let found = this.found_matching(&filter, is_of_user, room).await?;
                let mut found = found.ok_or(Error::TooManyMatch { at_most })?;
                while !found.is_empty() {
                    let rest = found.split_off(found.len().min(SLICE));
                    let asked = found.len();
                    let deleted = this.end_found(found).await?;
                    passes.note(asked, deleted.len());
                    ended.extend(deleted);
                    found = rest;
                }
                if !passes.again() {
                    return Ok(ended);
                }
            }
        })
        .await
    }

    /// What of the stored sessions matches, each with its owner; `None` if that are more than `at_most`.
    async fn found_matching(
        &self,
        filter: &Filter,
        with_unread: bool,
        at_most: u64,
    ) -> Result<Option<Vec<(Target, Option<String>)>>, StoreError> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.some(filter, after, SLICE).await?;
            if with_unread {
                let unread =
                    page.unread.iter().map(|handle| (Target::whatever(*handle), filter.user_id.clone()));
                found.extend(unread);
            }
            found.extend(page.items.into_iter().map(|session| {
                let target = Target::incarnation(session.handle, session.mark);
                // One that was used since then, or extended, may not match any more.
                let last_activity =
                    filter.active_before.or(filter.expires_before).map(|_| session.life.last_activity);
                (Target { last_activity, ..target }, session.user_id)
            }));
            if found.len() as u64 > at_most {
                return Ok(None);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(Some(found)),
            }
        }
    }
}
