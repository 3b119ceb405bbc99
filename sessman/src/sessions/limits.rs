//! How many sessions a user may have.
//!
//! The order of arrival decides, in one place of the store, and never a clock: each session takes its place among its
//! user's in one atomic step, and sees all that came before. So the last to arrive ends the surplus before it, and
//! nobody ends the last.
//!
//! A place counts only where its record is that user's, and is taken away only once that record is gone: one that is
//! past its time is deleted first, by its mark, so that whoever was about to begin it finds nothing. So a clock that is
//! wrong ends no session that somebody was told of, and lets nobody in beyond the limit.

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

/// How often a session tries to take its place: each time others have left theirs, or taken it.
const ATTEMPTS: usize = 16;
/// Sessions that are looked through at a time.
const PAGE: usize = 250;
/// A session that nobody has used for so long since it began may be of a login whose answer never arrived.
const UNUSED: Duration = CLOCKS_DIFFER;

/// A session that counts.
#[derive(Debug, Clone, Copy)]
struct Counted {
    handle: Handle,
    /// `None` where what is stored cannot be read: it counts, and is not ended for another.
    known: Option<(Mark, Life)>,
}

/// An eviction that failed, or may have been made.
#[derive(Debug)]
pub(super) struct NotEvicted {
    /// Sessions that may have ended.
    pub(super) asked: Vec<Target>,
    /// Why.
    pub(super) error: StoreError,
}

impl From<StoreError> for NotEvicted {
    /// Before any session was to end.
    fn from(error: StoreError) -> Self {
        Self { asked: Vec::new(), error }
    }
}

/// A session that is past its time.
struct Over<'a> {
    target: Target,
    user_id: &'a str,
    /// Nobody was told that it had begun.
    is_pending: bool,
}

/// What the places of a user come to.
#[derive(Debug, Default)]
struct Standing {
    /// In the order of the places.
    live: Vec<Counted>,
    /// Places of sessions that are gone, or not the user's.
    gone: Vec<Handle>,
}

impl Sessions {
    /// Gives the session, whose record is there, a place among its user's, the last if it `moves_last`; the user's places
    /// then.
    ///
    /// # Errors
    /// [`Error::LimitReached`] where there is no place, [`Error::Contended`], [`Error::Store`].
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
                // Somebody forgot the user in between.
                Claimed::Unknown => {}
            }
        }
        Err(Error::Contended)
    }

    /// Claims a place, and says which sessions the user has if nothing is written down of them.
    async fn claim(
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

    /// The user's live sessions but for `except`, the oldest first, and what of theirs cannot be read before them.
    async fn sessions_of(&self, user_id: &str, except: Handle) -> Result<Vec<Handle>, StoreError> {
        let (mut found, mut unread, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            let listing = Listing { user_id: Some(user_id), after, limit: PAGE };
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

    /// Takes away places that do not count; whether there were any. Where all count, that of a session which may be of a
    /// login whose answer never arrived.
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

    /// Ends the oldest of the user's sessions that are too many, where `own` was the last to arrive among `handles`, and
    /// takes their places away.
    ///
    /// # Errors
    /// [`NotEvicted`]: where sessions were asked to end, nobody knows whether they did.
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
        // Its own may be among those that are gone: ended by a later one. Then it does not count, and what is too many
        // without it has to go all the same.
        let Standing { live, mut gone } = self.standing(user_id, handles.to_vec()).await?;
        let surplus = live.len().saturating_sub(limit);
        // It is not the last where somebody wrote it down with those that came before a first claim: then it is as old as its
        // place says.
        let evictable = live.iter().enumerate();
        let evictable = evictable.filter(|(place, counted)| counted.handle != own || *place < surplus);
        let known =
            evictable.filter_map(|(_, counted)| Some(Target::incarnation(counted.handle, counted.known?.0)));
        let targets: Vec<Target> = known.take(surplus).collect();
        let evicted = match self.delete(&targets).await {
            Ok(evicted) => evicted,
            // It may have been done. Done once more, none of them is there, whoever ended them.
            Err(_) => match self.delete(&targets).await {
                Ok(_) => targets.iter().map(|target| target.handle).collect(),
                Err(error) => return Err(NotEvicted { asked: targets, error }),
            },
        };
        self.tell_evicted(user_id, &evicted);
        // After they ended: as long as one lives it has its place, so that others see it.
        gone.extend(evicted);
        self.release(user_id, &gone).await;
        Ok(())
    }

    /// Whether a session that took its place behind `places`, itself the last of them, and is gone before it began, was
    /// ended for later ones.
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

    /// Tells the sessions of places apart, and deletes those whose time was over at `moment`.
    async fn standings(&self, users: &[Places], moment: Timestamp) -> Result<Vec<Standing>, StoreError> {
        let (mut standings, over) = self.look(users, moment).await?;
        let mut deleted = self.delete_over(&over).await?;
        if deleted.len() < over.len() {
            // One was written to since it was looked at, or is gone: it is looked at once more, and then lives.
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

    /// Deletes what is past its time, and tells of it.
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

    /// Tells the sessions of places apart: those whose time was over at `moment` are among the live ones, and to be deleted.
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

    /// Takes away the places of the sessions that are gone, of several users, and what was over at `moment`.
    pub(super) async fn tidy(&self, users: &[Places], moment: Timestamp) -> Result<(), StoreError> {
        let standings = self.standings(users, moment).await?;
        for (Places { user_id, .. }, Standing { gone, .. }) in users.iter().zip(standings) {
            self.take_away(user_id, gone).await?;
        }
        Ok(())
    }

    /// Takes places away of sessions that are gone. If that fails they are taken away by a later session, or by clean-up.
    pub(super) async fn release(&self, user_id: &str, handles: &[Handle]) {
        if self.rules.max_sessions_per_user.is_none() {
            return;
        }
        if let Err(error) = self.take_away(user_id, handles.to_vec()).await {
            tracing::debug!(%error, "the places of sessions that ended could not be taken away");
        }
    }

    /// As [`release`](Self::release), of several users.
    pub(super) async fn release_all(&self, users: BTreeMap<String, Vec<Handle>>) {
        for (user_id, handles) in users {
            self.release(&user_id, &handles).await;
        }
    }

    /// Places bear handles, and one that the caller chose may be its user's again meanwhile: a session takes its place once
    /// it is there, so that one whose place was taken away is seen afterwards, and gets it back.
    async fn take_away(&self, user_id: &str, handles: Vec<Handle>) -> Result<(), StoreError> {
        if handles.is_empty() {
            return Ok(());
        }
        self.ask(Operation::Claim, self.store.release(user_id, &handles)).await?;
        let places = Places { user_id: user_id.to_owned(), handles };
        // What may live by the clock of another node is left to it.
        let standings = self.standings(&[places], self.over_everywhere()).await?;
        for Counted { handle, known } in standings.into_iter().flat_map(|standing| standing.live) {
            let claimed = self.claim(user_id, handle, None, true).await?;
            // One that is pending has nobody evicted before it begins.
            let has_begun = known.is_some_and(|(_, life)| !life.is_pending());
            if let (Claimed::Done(places), true) = (claimed, has_begun) {
                Box::pin(self.evict(user_id, &places, handle)).await.map_err(|failed| failed.error)?;
            }
        }
        Ok(())
    }
}
