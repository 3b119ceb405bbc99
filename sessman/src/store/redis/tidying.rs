//! What is put in order from time to time: names of sessions that are not there, and sessions without names.
//!
//! Each time a bounded share of everything is looked at, and the next time what comes behind it: with many millions of keys
//! one look at all of them would keep a server busy for minutes. What waits for its turn meanwhile are a few bytes of
//! sessions that ended by their time; whoever reads them passes over them.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::index;
use super::keys::{Keys, Kind};
use super::places;
use super::servers::{Servers, deadline};
use super::sweep::Scan;
use super::users;
use crate::id::Handle;
use crate::store::Result;
use crate::time::Timestamp;

/// Steps of a walk over the keys of all users, of [some keys](super::sweep) each, in one go.
pub(super) const USERS_STEPS: usize = 250;

/// Steps of a walk over all sessions, in one go, to look for their names.
const SESSIONS_STEPS: usize = 32;

/// Parts of the index of all sessions that are gone over at one time, and slices of them at most.
pub(super) const PARTS: usize = 16;
const SLICES: usize = 200;

/// Where the next time begins.
pub(super) struct Tidying {
    users: Mutex<Option<String>>,
    sessions: Mutex<Option<String>>,
    /// In which part of the index, and behind which member of it.
    index: Mutex<(u8, Vec<u8>)>,
    users_steps: usize,
}

impl Tidying {
    /// Begins with a part of the index; several processes that begin with different ones are round sooner together.
    pub(super) fn new(part: u8, users_steps: usize) -> Self {
        Self {
            users: Mutex::default(),
            sessions: Mutex::default(),
            index: Mutex::new((part, Vec::new())),
            users_steps,
        }
    }

    /// See [`Store::tidy`](crate::store::Store::tidy). A server that does not answer holds up its own keys alone.
    pub(super) async fn tidy(&self, servers: &Arc<Servers>, keys: &Keys, now: Timestamp) -> Result<()> {
        let users = self.tidy_users(servers, keys, now).await;
        let index = self.tidy_index(servers, keys, now).await;
        let sessions = self.mend_names(servers, keys).await;
        users.and(index).and(sessions)
    }

    async fn tidy_users(&self, servers: &Arc<Servers>, keys: &Keys, now: Timestamp) -> Result<()> {
        let in_cluster = servers.are_cluster(deadline()).await?;
        let mut position = self.users.lock().await;
        let mut scan = Scan::resume(servers, keys.pattern_of_users(), position.as_deref()).await?;
        let done = async {
            for _ in 0..self.users_steps {
                let Some(found) = scan.next().await? else { break };
                let (places, names): (Vec<_>, Vec<_>) =
                    found.into_iter().partition(|key| keys.is_of_places(key));
                users::tidy(servers, keys, &names, now).await?;
                if in_cluster {
                    // Those of a version before, which nobody reads any more.
                    let left = places.into_iter().filter(|key| keys.user_of_places(key, true).is_none());
                    places::delete(servers, left.collect()).await?;
                }
            }
            Ok(())
        }
        .await;
        if done.is_err() {
            scan.pass_over();
        }
        *position = scan.position();
        done
    }

    async fn tidy_index(&self, servers: &Arc<Servers>, keys: &Keys, now: Timestamp) -> Result<()> {
        let mut position = self.index.lock().await;
        let (part, after) = &mut *position;
        let (mut done, mut parts) = (Ok(()), 0);
        for _ in 0..SLICES {
            match index::tidy(servers, keys, *part, after, now).await {
                Ok(Some(last)) => {
                    *after = last;
                    continue;
                }
                Ok(None) => {}
                Err(error) => done = done.and(Err(error)),
            }
            (*part, *after) = (part.wrapping_add(1), Vec::new());
            parts += 1;
            if parts == PARTS {
                break;
            }
        }
        done
    }

    async fn mend_names(&self, servers: &Arc<Servers>, keys: &Keys) -> Result<()> {
        let mut position = self.sessions.lock().await;
        let mut scan = Scan::resume(servers, keys.pattern(Kind::Session), position.as_deref()).await?;
        let done = async {
            for _ in 0..SESSIONS_STEPS {
                let Some(found) = scan.next().await? else { break };
                let handles: Vec<Handle> = found.iter().filter_map(|key| keys.session_of(key)).collect();
                users::mend_names(servers, keys, &handles).await?;
            }
            Ok(())
        }
        .await;
        if done.is_err() {
            scan.pass_over();
        }
        *position = scan.position();
        done
    }
}
