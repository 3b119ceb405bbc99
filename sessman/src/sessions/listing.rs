//! List, count and revoke sessions: a user's, or all.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::completion::to_the_end;
use super::stats::{ByAge, Stats};
use super::{Credentials, Sessions, check_user_id};
use crate::error::Error;
use crate::events::Kind;
use crate::id::Handle;
use crate::metrics::Operation;
use crate::record::{Record, Summary};
use crate::store::{Counts, Listing, Outlined, Page, StoreError, Target};
use crate::time::Timestamp;

/// Sessions ended per batch.
const PAGE: usize = 500;

/// A count that took at least this long is cached for ten times as long as it took, so that frequent polling does not load
/// the store.
const LONG: Duration = Duration::from_millis(100);

/// Which of a user's sessions to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The one with this handle.
    One(Handle),
    /// All except the caller's own ("log out everywhere else").
    Others,
}

/// Upper bounds of the age classes.
const AGES: [Duration; 4] = [
    Duration::from_secs(3_600),
    Duration::from_secs(86_400),
    Duration::from_secs(7 * 86_400),
    Duration::from_secs(30 * 86_400),
];

/// When a session of each age was created that is at its upper bound now.
pub(super) fn moments_of_ages(now: Timestamp) -> [Timestamp; AGES.len()] {
    AGES.map(|age| now.before(age))
}

/// The age classes, from the numbers of sessions created since each of these moments and of all.
pub(super) fn by_age(since: Vec<u64>, active: u64) -> Vec<ByAge> {
    let mut counted = 0;
    let bounds = AGES.iter().map(|age| Some(*age)).zip(since).chain([(None, active)]);
    let class = |(below, sessions): (Option<Duration>, u64)| {
        let class = ByAge { below, sessions: sessions.saturating_sub(counted) };
        counted = sessions;
        class
    };
    bounds.map(class).collect()
}

/// Repeats a search that ends sessions, as long as it missed some: a session that moves to another id meanwhile is under
/// another handle, where the search may have been already.
#[derive(Debug, Default)]
pub(super) struct Passes {
    count: usize,
    missed: bool,
}

impl Passes {
    /// The most of them.
    const MOST: usize = 4;

    /// Whether the first one goes on.
    pub(super) fn is_first(&self) -> bool {
        self.count == 0
    }

    /// So many were to end, and so many did.
    pub(super) fn note(&mut self, asked: usize, ended: usize) {
        self.missed |= ended < asked;
    }

    /// After a pass: whether there is to be another one.
    pub(super) fn again(&mut self) -> bool {
        self.count += 1;
        std::mem::take(&mut self.missed) && self.count < Self::MOST
    }
}

impl Sessions {
    /// A page of live sessions, of all users or of one.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, listing: Listing<'_>) -> Result<Page<Summary>, StoreError> {
        let now = self.clock.now();
        let mut page = self.ask(Operation::List, self.store.list(listing, now)).await?;
        page.items.retain(|summary| !summary.life.is_pending() && self.rules.is_live(&summary.life, now));
        Ok(page)
    }

    /// The caller's own session, and a page of its user's sessions. For an anonymous session the page holds only itself.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn mine(
        &self,
        credentials: Credentials<'_>,
        after: Option<Handle>,
        limit: usize,
    ) -> Result<(Arc<Record>, Page<Summary>), Error> {
        let own = self.get(credentials).await?;
        let page = match own.user_id.as_deref() {
            Some(user_id) => self.list(Listing { user_id: Some(user_id), after, limit, label: None }).await?,
            None => Page { items: vec![own.summary()], ..Page::default() },
        };
        Ok((own, page))
    }

    /// Ends sessions of the user who owns the caller's session; returns the handles of those ended. A session that is not live
    /// and one of another user give the same result: nothing ends.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the caller's own session is not live; [`Error::Store`].
    pub async fn end_mine(
        self: &Arc<Self>,
        credentials: Credentials<'_>,
        ending: Ending,
    ) -> Result<Vec<Handle>, Error> {
        let own = self.find(credentials).await?;
        match (ending, own.user_id.clone()) {
            (Ending::Others, None) => Ok(Vec::new()),
            (Ending::Others, Some(user_id)) => self.end_all_of(user_id, Some(own.handle)).await,
            (Ending::One(handle), user_id) if handle == own.handle => {
                self.end_found(vec![(Target::incarnation(handle, own.mark), user_id)]).await
            }
            (Ending::One(_), None) => Ok(Vec::new()),
            (Ending::One(handle), user_id) => {
                let mut found = self.found_live(&[handle]).await?;
                found.retain(|(_, owner)| *owner == user_id);
                self.end_found(found).await
            }
        }
    }

    /// Ends all sessions of a user ("log out everywhere"); returns the handles of those ended.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Store`]. Sessions ended before the failure stay ended.
    pub async fn end_user(self: &Arc<Self>, user_id: String) -> Result<Vec<Handle>, Error> {
        check_user_id(&user_id)?;
        self.end_all_of(user_id, None).await
    }

    /// Ends the sessions with these handles; returns those ended.
    ///
    /// # Errors
    /// [`Error::Store`]. Sessions ended before the failure stay ended.
    pub async fn end_handles(self: &Arc<Self>, handles: Vec<Handle>) -> Result<Vec<Handle>, Error> {
        let this = Arc::clone(self);
        to_the_end(async move {
            let (mut ended, mut seen) = (Vec::new(), HashSet::new());
            for slice in handles.chunks(PAGE) {
                let once: Vec<Handle> =
                    slice.iter().filter(|handle| seen.insert(**handle)).copied().collect();
                let found = this.found_live(&once).await?;
                ended.extend(this.end_found(found).await?);
            }
            Ok(ended)
        })
        .await
    }

    async fn end_all_of(
        self: &Arc<Self>,
        user_id: String,
        except: Option<Handle>,
    ) -> Result<Vec<Handle>, Error> {
        let this = Arc::clone(self);
        to_the_end(async move {
            let (mut ended, mut after, mut passes) = (Vec::new(), None, Passes::default());
            let asked_at = this.clock.now();
            loop {
                // Not `list`: a session that is expired only by the rules in force now is deleted too, so it cannot come back.
                let listing = Listing { user_id: Some(&user_id), after, limit: PAGE, label: None };
                let page = this.ask(Operation::List, this.store.list(listing, this.clock.now())).await?;
                // A later pass is for sessions that moved: a login since then goes on.
                let is_first = passes.is_first();
                let known = page
                    .items
                    .iter()
                    .filter(|summary| is_first || summary.life.created_at <= asked_at)
                    .map(|summary| Target::incarnation(summary.handle, summary.mark));
                // A record that cannot be read can still be deleted.
                let unread = page.unread.iter().filter(|_| is_first).copied().map(Target::whatever);
                let targets = known.chain(unread).filter(|target| Some(target.handle) != except);
                let found: Vec<_> = targets.map(|target| (target, Some(user_id.clone()))).collect();
                let asked = found.len();
                let deleted = this.end_found(found).await?;
                passes.note(asked, deleted.len());
                ended.extend(deleted);
                after = page.next;
                if after.is_none() && !passes.again() {
                    return Ok(ended);
                }
            }
        })
        .await
    }

    /// Those of the handles that are live or unreadable, each with its owner if that is known.
    async fn found_live(&self, handles: &[Handle]) -> Result<Vec<(Target, Option<String>)>, StoreError> {
        let outlined = self.ask(Operation::Load, self.store.outlines(handles)).await?;
        let now = self.clock.now();
        let found = |(handle, outlined): (&Handle, Outlined)| match outlined {
            // An expired session is not reported as ended.
            Outlined::Found(outline) => self
                .rules
                .is_live(&outline.life, now)
                .then(|| (Target::incarnation(*handle, outline.mark), outline.user_id)),
            Outlined::Unreadable => Some((Target::whatever(*handle), None)),
            Outlined::Missing => None,
        };
        Ok(handles.iter().zip(outlined).filter_map(found).collect())
    }

    /// Ends sessions, each with its owner if it has one, and releases their places.
    pub(super) async fn end_found(&self, found: Vec<(Target, Option<String>)>) -> Result<Vec<Handle>, Error> {
        let targets: Vec<Target> = found.iter().map(|(target, _)| *target).collect();
        let ended = self.delete(&targets).await?;
        let owners: BTreeMap<Handle, Option<String>> =
            found.into_iter().map(|(target, owner)| (target.handle, owner)).collect();
        let mut released: BTreeMap<String, Vec<Handle>> = BTreeMap::new();
        for handle in &ended {
            let owner = owners.get(handle).and_then(Option::as_ref);
            self.metrics.ended.increment();
            self.tell(Kind::Ended, *handle, owner.map(String::as_str));
            if let Some(owner) = owner {
                released.entry(owner.clone()).or_default().push(*handle);
            }
        }
        self.release_all(released).await;
        Ok(ended)
    }

    /// Counts sessions, with a scan of all. Concurrent callers share one scan, and the result of a slow one is cached for a
    /// while.
    ///
    /// # Errors
    /// The store's.
    pub async fn stats(&self) -> Result<Stats, StoreError> {
        let mut counted = self.counted.0.lock().await;
        if let Some((stats, until)) = &*counted
            && Instant::now() < *until
        {
            return Ok(stats.clone());
        }
        let started = Instant::now();
        let stats = self.count().await?;
        let took = started.elapsed();
        *counted = (took >= LONG).then(|| (stats.clone(), Instant::now() + 10 * took));
        Ok(stats)
    }

    async fn count(&self) -> Result<Stats, StoreError> {
        let now = self.clock.now();
        // A session created during the scan counts in the youngest class.
        let Counts { active, expired, since } = self.store.counts(now, &moments_of_ages(now)).await?;
        Ok(Stats { active, expired, by_age: by_age(since, active) })
    }

    /// Ends all sessions; returns the number of records.
    ///
    /// # Errors
    /// The store's. Records deleted before the failure stay deleted.
    pub async fn clear(self: &Arc<Self>) -> Result<u64, Error> {
        let this = Arc::clone(self);
        to_the_end(async move {
            let cleared = this.store.clear().await?;
            // A count in progress finishes first, so that no stale result is cached after this.
            *this.counted.0.lock().await = None;
            this.metrics.ended.add(cleared);
            this.events.tell_cleared(this.clock.now());
            Ok(cleared)
        })
        .await
    }
}
