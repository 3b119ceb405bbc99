//! A user's sessions, and everybody's: listed, counted, ended by their handles.

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

/// Sessions that are ended at a time.
const PAGE: usize = 500;

/// Counts that took so long to find are given again for ten times as long: whoever looks at them often must not keep the
/// store at it.
const LONG: Duration = Duration::from_millis(100);

/// Which of a user's sessions are to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// This one.
    One(Handle),
    /// All but the one that asks.
    Others,
}

/// Bounds of the classes of age.
const AGES: [Duration; 4] = [
    Duration::from_secs(3_600),
    Duration::from_secs(86_400),
    Duration::from_secs(7 * 86_400),
    Duration::from_secs(30 * 86_400),
];

impl Sessions {
    /// A page of live sessions: of all, or of one user's.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, listing: Listing<'_>) -> Result<Page<Summary>, StoreError> {
        let now = self.clock.now();
        let mut page = self.ask(Operation::List, self.store.list(listing, now)).await?;
        page.items.retain(|summary| !summary.life.is_pending() && self.rules.is_live(&summary.life, now));
        Ok(page)
    }

    /// The session that asks, and a page of its user's sessions; an anonymous one has only itself.
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
            Some(user_id) => self.list(Listing { user_id: Some(user_id), after, limit }).await?,
            None => Page { items: vec![own.summary()], ..Page::default() },
        };
        Ok((own, page))
    }

    /// Ends sessions of the user whose session asks; the handles of those that it ended. One that does not live and one
    /// of another user are the same: nothing ends.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the one that asks does not live; [`Error::Store`].
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

    /// Ends every session of a user; the handles of those that it ended.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Store`]; what ended before stays ended.
    pub async fn end_user(self: &Arc<Self>, user_id: String) -> Result<Vec<Handle>, Error> {
        check_user_id(&user_id)?;
        self.end_all_of(user_id, None).await
    }

    /// Ends the sessions with these handles; those that it ended.
    ///
    /// # Errors
    /// [`Error::Store`]; what ended before stays ended.
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
            let (mut ended, mut after) = (Vec::new(), None);
            loop {
                // Not `list`: what has ended by the rules that are in force now ends for good.
                let listing = Listing { user_id: Some(&user_id), after, limit: PAGE };
                let page = this.ask(Operation::List, this.store.list(listing, this.clock.now())).await?;
                let known =
                    page.items.iter().map(|summary| Target::incarnation(summary.handle, summary.mark));
                // What cannot be read can end.
                let unread = page.unread.iter().copied().map(Target::whatever);
                let targets = known.chain(unread).filter(|target| Some(target.handle) != except);
                let found = targets.map(|target| (target, Some(user_id.clone()))).collect();
                ended.extend(this.end_found(found).await?);
                match page.next {
                    Some(next) => after = Some(next),
                    None => return Ok(ended),
                }
            }
        })
        .await
    }

    /// Those of the handles that live, or that cannot be read, and whose they are as far as that is known.
    async fn found_live(&self, handles: &[Handle]) -> Result<Vec<(Target, Option<String>)>, StoreError> {
        let outlined = self.ask(Operation::Load, self.store.outlines(handles)).await?;
        let now = self.clock.now();
        let found = |(handle, outlined): (&Handle, Outlined)| match outlined {
            // One that is past its time does not live, and so does not end.
            Outlined::Found(outline) => self
                .rules
                .is_live(&outline.life, now)
                .then(|| (Target::incarnation(*handle, outline.mark), outline.user_id)),
            Outlined::Unreadable => Some((Target::whatever(*handle), None)),
            Outlined::Missing => None,
        };
        Ok(handles.iter().zip(outlined).filter_map(found).collect())
    }

    /// Ends sessions, each of which is somebody's or nobody's, and takes their places away.
    async fn end_found(&self, found: Vec<(Target, Option<String>)>) -> Result<Vec<Handle>, Error> {
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

    /// Counts sessions. It looks at all of them; those who ask at the same time share one look, and a look that takes long
    /// serves for a while.
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
        // Those that began a moment ago are among the younger of each bound.
        let Counts { active, expired, since } =
            self.store.counts(now, &AGES.map(|age| now.before(age))).await?;
        let mut by_age = Vec::new();
        let mut counted = 0;
        for (below, sessions) in AGES.iter().map(|age| Some(*age)).zip(since).chain([(None, active)]) {
            by_age.push(ByAge { below, sessions: sessions.saturating_sub(counted) });
            counted = sessions;
        }
        Ok(Stats { active, expired, by_age })
    }

    /// Ends every session; how many records there were.
    ///
    /// # Errors
    /// The store's; what was deleted before stays deleted.
    pub async fn clear(self: &Arc<Self>) -> Result<u64, Error> {
        let this = Arc::clone(self);
        to_the_end(async move {
            let cleared = this.store.clear().await?;
            // One that was under way ends first.
            *this.counted.0.lock().await = None;
            this.metrics.ended.add(cleared);
            this.events.tell_cleared(this.clock.now());
            Ok(cleared)
        })
        .await
    }
}
