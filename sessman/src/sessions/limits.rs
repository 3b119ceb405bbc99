//! The limit on the sessions of a user.
//!
//! Order of arrival decides, never a clock. Each user has an ordered list of places in the store. A session claims its
//! place in one atomic step, which returns all places before it. So the last to arrive evicts the surplus before it, and
//! nothing evicts the last one.
//!
//! A place counts only while its record belongs to that user. It is released only after that record is gone: an expired
//! record is deleted first, by its mark, so that a concurrent activation of it finds nothing. So a wrong clock neither ends
//! a session whose creation was acknowledged, nor lets more sessions in than the limit.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::{CLOCKS_DIFFER, Sessions};
use crate::error::Error;
use crate::events::Kind;
use crate::id::Handle;
use crate::mark::Mark;
use crate::metrics::Operation;
use crate::record::{Life, Outline};
use crate::rules::OnLimit;
use crate::store::{Claim, Claimed, Listing, Outlined, Places, StoreError, Target};
use crate::time::Timestamp;

/// The most attempts to claim a place; each is retried because others released or took places meanwhile.
const ATTEMPTS: usize = 16;
/// Sessions checked per batch.
const PAGE: usize = 250;
/// A session unused for this long since its creation may belong to a login whose response never arrived.
const UNUSED: Duration = CLOCKS_DIFFER;

/// A session that counts against the limit.
#[derive(Debug, Clone, Copy)]
struct Counted {
    handle: Handle,
    /// `None` if the record cannot be read: it counts, and is never evicted.
    known: Option<(Mark, Life)>,
}

/// An eviction that failed, or whose outcome is unknown.
#[derive(Debug)]
pub(super) struct NotEvicted {
    /// Sessions that may have been deleted.
    pub(super) asked: Vec<Target>,
    /// The store's error.
    pub(super) error: StoreError,
}

impl From<StoreError> for NotEvicted {
    /// The failure came before any session was asked to end.
    fn from(error: StoreError) -> Self {
        Self { asked: Vec::new(), error }
    }
}

/// An expired session.
struct Over<'a> {
    target: Target,
    user_id: &'a str,
    /// It was pending: its creation was never acknowledged.
    is_pending: bool,
}

/// The places of a user, sorted by whether their sessions are live.
#[derive(Debug, Default)]
struct Standing {
    /// Live sessions, in the order of their places.
    live: Vec<Counted>,
    /// Places of sessions that are gone or belong to another user.
    gone: Vec<Handle>,
}

impl Sessions {
    /// Claims a place for a session whose record exists; with `moves_last`, the last place. Returns the user's places after
    /// that.
    ///
    /// # Errors
    /// [`Error::LimitReached`] if there is no free place, [`Error::Contended`], [`Error::Store`].
    pub(super) async fn reserve(
        &self,
        user_id: &str,
        handle: Handle,
        moves_last: bool,
    ) -> Result<Vec<Handle>, Error> {
        let Some(limit) = self.rules.max_sessions_per_user else { return Ok(Vec::new()) };
        let room = (self.rules.on_limit == OnLimit::Reject).then_some(limit);
        for _ in 0..ATTEMPTS {
            match self.claim(user_id, handle, room, moves_last).await? {
                Claimed::Done(handles) => return Ok(handles),
                Claimed::Full(handles) => {
                    let others: Vec<Handle> = handles.into_iter().filter(|other| *other != handle).collect();
                    if !self.make_room(user_id, others).await? {
                        return Err(Error::LimitReached { limit });
                    }
                }
                // The user's places were dropped meanwhile.
                Claimed::Unknown => {}
            }
        }
        Err(Error::Contended)
    }

    /// Claims a place. If the user has no list of places yet, it is built from the user's stored sessions.
    pub(super) async fn claim(
        &self,
        user_id: &str,
        handle: Handle,
        room: Option<usize>,
        moves_last: bool,
    ) -> Result<Claimed, StoreError> {
        let claim = Claim { user_id, handle, room, moves_last, earlier: None };
        let claimed = self.ask(Operation::Claim, self.store.claim(claim)).await?;
        if claimed != Claimed::Unknown {
            return Ok(claimed);
        }
        let earlier = self.sessions_of(user_id, handle).await?;
        let claim = Claim { earlier: Some(&earlier), ..claim };
        self.ask(Operation::Claim, self.store.claim(claim)).await
    }

    /// The user's live sessions except `except`, the oldest first; unreadable ones come before all others.
    async fn sessions_of(&self, user_id: &str, except: Handle) -> Result<Vec<Handle>, StoreError> {
        let (mut found, mut unread, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            let listing = Listing { user_id: Some(user_id), after, limit: PAGE, label: None };
            let page = self.ask(Operation::List, self.store.list(listing, self.clock.now())).await?;
            found.extend(page.items.iter().map(|summary| (summary.life.created_at, summary.handle)));
            unread.extend(page.unread);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        found.sort_unstable();
        let found = found.into_iter().map(|(_, handle)| handle);
        Ok(unread.into_iter().chain(found).filter(|handle| *handle != except).collect())
    }

    /// Releases places that do not count; returns whether there were any. If all count, evicts a session of a login whose
    /// response may never have arrived.
    async fn make_room(&self, user_id: &str, handles: Vec<Handle>) -> Result<bool, StoreError> {
        let mut standing = self.standing(user_id, handles).await?;
        if standing.gone.is_empty() {
            let now = self.clock.now();
            let is_unused = |life: &Life| life.was_never_used() && now >= life.created_at.after(UNUSED);
            let unused = standing.live.iter().find_map(|counted| {
                let (mark, life) = counted.known.filter(|(_, life)| is_unused(life))?;
                let last_activity = Some(life.last_activity);
                Some(Target { last_activity, ..Target::incarnation(counted.handle, mark) })
            });
            if let Some(unused) = unused {
                standing.gone = self.delete(&[unused]).await?;
                self.tell_evicted(user_id, &standing.gone);
            }
        }
        self.release(user_id, &standing.gone).await;
        Ok(!standing.gone.is_empty())
    }

    /// Evicts the user's oldest sessions over the limit and releases their places. `own` was the last to arrive among
    /// `handles`.
    ///
    /// # Errors
    /// [`NotEvicted`]: for the sessions in `asked` the outcome is unknown.
    pub(super) async fn evict(
        &self,
        user_id: &str,
        handles: &[Handle],
        own: Handle,
    ) -> Result<(), NotEvicted> {
        let limit = self.rules.max_sessions_per_user.unwrap_or(usize::MAX);
        if self.rules.on_limit == OnLimit::Reject || handles.len() <= limit {
            return Ok(());
        }
        // `own` may be gone: evicted by a later session. Then it does not count, and the surplus without it is evicted all the
        // same.
        let Standing { live, mut gone } = self.standing(user_id, handles.to_vec()).await?;
        let surplus = live.len().saturating_sub(limit);
        // `own` is not the last if another process listed it when it built the user's places. Then it is as old as its place
        // says.
        let evictable = live.iter().enumerate();
        let evictable = evictable.filter(|(place, counted)| counted.handle != own || *place < surplus);
        let known =
            evictable.filter_map(|(_, counted)| Some(Target::incarnation(counted.handle, counted.known?.0)));
        let targets: Vec<Target> = known.take(surplus).collect();
        let evicted = match self.delete(&targets).await {
            Ok(evicted) => evicted,
            // The outcome is unknown. Deletion is idempotent: after a retry none of them exists, whoever deleted them.
            Err(_) => match self.delete(&targets).await {
                Ok(_) => targets.iter().map(|target| target.handle).collect(),
                Err(error) => return Err(NotEvicted { asked: targets, error }),
            },
        };
        self.tell_evicted(user_id, &evicted);
        // Released only after deletion: while a session is live it has a place, so that others count it.
        gone.extend(evicted);
        self.release(user_id, &gone).await;
        Ok(())
    }

    /// For a session that claimed the last of `places` and was deleted before its activation: whether a later session
    /// evicted it.
    pub(super) async fn was_evicted(&self, user_id: &str, places: &[Handle]) -> Result<bool, StoreError> {
        let limit = self.rules.max_sessions_per_user.unwrap_or(usize::MAX);
        if self.rules.on_limit == OnLimit::Reject {
            return Ok(false);
        }
        let now = self.ask(Operation::Claim, self.store.places(user_id)).await?;
        Ok(now.iter().filter(|handle| !places.contains(handle)).count() >= limit)
    }

    /// Whether one of these sessions has ended.
    pub(super) async fn has_any_ended(&self, targets: &[Target]) -> Result<bool, StoreError> {
        if targets.is_empty() {
            return Ok(false);
        }
        let handles: Vec<Handle> = targets.iter().map(|target| target.handle).collect();
        let outlined = self.ask(Operation::Load, self.store.outlines(&handles)).await?;
        let has_ended = |(target, outlined): (&Target, &Outlined)| match outlined {
            Outlined::Found(outline) => target.mark.is_some_and(|mark| mark != outline.mark),
            Outlined::Unreadable => false,
            Outlined::Missing => true,
        };
        Ok(targets.iter().zip(&outlined).any(has_ended))
    }

    fn tell_evicted(&self, user_id: &str, evicted: &[Handle]) {
        for handle in evicted {
            self.metrics.evicted.increment();
            self.tell(Kind::Evicted, *handle, Some(user_id));
        }
    }

    async fn standing(&self, user_id: &str, handles: Vec<Handle>) -> Result<Standing, StoreError> {
        let places = Places { user_id: user_id.to_owned(), handles };
        Ok(self.standings(&[places], self.clock.now()).await?.pop().unwrap_or_default())
    }

    /// Sorts the sessions of places, and deletes those that were expired at `moment`.
    async fn standings(&self, users: &[Places], moment: Timestamp) -> Result<Vec<Standing>, StoreError> {
        let (mut standings, over) = self.look(users, moment).await?;
        let mut deleted = self.delete_over(&over).await?;
        if deleted.len() < over.len() {
            // A record was written to or deleted since it was read: read again, and it then counts as live if it still exists.
            let (again, over) = self.look(users, moment).await?;
            deleted = self.delete_over(&over).await?;
            standings = again;
        }
        for Standing { live, gone } in &mut standings {
            gone.extend(live.iter().map(|counted| counted.handle).filter(|handle| deleted.contains(handle)));
            live.retain(|counted| !deleted.contains(&counted.handle));
        }
        Ok(standings)
    }

    /// Deletes expired sessions and emits their events.
    async fn delete_over(&self, over: &[Over<'_>]) -> Result<HashSet<Handle>, StoreError> {
        let targets: Vec<Target> = over.iter().map(|over| over.target).collect();
        let deleted: HashSet<Handle> = self.delete(&targets).await?.into_iter().collect();
        for Over { target, user_id, .. } in over.iter().filter(|over| !over.is_pending) {
            if deleted.contains(&target.handle) {
                self.metrics.expired.increment();
                self.tell(Kind::Expired, target.handle, Some(user_id));
            }
        }
        Ok(deleted)
    }

    /// Sorts the sessions of places. Sessions expired at `moment` are returned among the live ones, and as ones to delete.
    async fn look<'a>(
        &self,
        users: &'a [Places],
        moment: Timestamp,
    ) -> Result<(Vec<Standing>, Vec<Over<'a>>), StoreError> {
        let handles: Vec<Handle> = users.iter().flat_map(|places| &places.handles).copied().collect();
        let mut outlined = self.ask(Operation::Load, self.store.outlines(&handles)).await?.into_iter();
        let (mut standings, mut over) = (Vec::new(), Vec::new());
        for Places { user_id, handles } in users {
            let mut standing = Standing::default();
            for (handle, outlined) in handles.iter().copied().zip(outlined.by_ref()) {
                match outlined {
                    Outlined::Missing => standing.gone.push(handle),
                    Outlined::Unreadable => standing.live.push(Counted { handle, known: None }),
                    Outlined::Found(Outline { user_id: owner, mark, life }) => {
                        if owner.as_ref() != Some(user_id) {
                            standing.gone.push(handle);
                            continue;
                        }
                        if !self.rules.is_live(&life, moment) {
                            let last_activity = Some(life.last_activity);
                            let target = Target { last_activity, ..Target::incarnation(handle, mark) };
                            over.push(Over { target, user_id, is_pending: life.is_pending() });
                        }
                        standing.live.push(Counted { handle, known: Some((mark, life)) });
                    }
                }
            }
            standings.push(standing);
        }
        Ok((standings, over))
    }

    /// For several users: deletes the sessions expired at `moment`, and releases the places of all that are gone.
    pub(super) async fn tidy(&self, users: &[Places], moment: Timestamp) -> Result<(), StoreError> {
        let standings = self.standings(users, moment).await?;
        for (Places { user_id, .. }, Standing { gone, .. }) in users.iter().zip(standings) {
            self.take_away(user_id, gone).await?;
        }
        Ok(())
    }

    /// Releases the places of ended sessions. On failure, a later session or the clean-up releases them.
    pub(super) async fn release(&self, user_id: &str, handles: &[Handle]) {
        if self.rules.max_sessions_per_user.is_none() {
            return;
        }
        if let Err(error) = self.take_away(user_id, handles.to_vec()).await {
            tracing::debug!(%error, "the places of sessions that ended could not be taken away");
        }
    }

    /// Like [`release`](Self::release), for several users.
    pub(super) async fn release_all(&self, users: BTreeMap<String, Vec<Handle>>) {
        for (user_id, handles) in users {
            self.release(&user_id, &handles).await;
        }
    }

    /// Releases places. A place holds only a handle, and an external id may be in use again by the same user. A session claims
    /// its place after its record is written, so the check after the release finds it and restores the place.
    async fn take_away(&self, user_id: &str, handles: Vec<Handle>) -> Result<(), StoreError> {
        if handles.is_empty() {
            return Ok(());
        }
        self.ask(Operation::Claim, self.store.release(user_id, &handles)).await?;
        let places = Places { user_id: user_id.to_owned(), handles };
        // A session that may be live by another node's clock is left to that node.
        let standings = self.standings(&[places], self.over_everywhere()).await?;
        for Counted { handle, known } in standings.into_iter().flat_map(|standing| standing.live) {
            let claimed = self.claim(user_id, handle, None, true).await?;
            // A pending session evicts nobody before it is activated.
            let has_begun = known.is_some_and(|(_, life)| !life.is_pending());
            if let (Claimed::Done(places), true) = (claimed, has_begun) {
                Box::pin(self.evict(user_id, &places, handle)).await.map_err(|failed| failed.error)?;
            }
        }
        Ok(())
    }
}
