//! Periodic maintenance of the indexes: removes names without sessions, and restores missing names of sessions.
//!
//! Each run examines a bounded share, and the next run continues after it: with many millions of keys, a full pass would
//! keep a server busy for minutes. Until its turn, an expired session leaves a few bytes in the indexes, which readers skip.

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

/// Steps per run of the [scan](super::sweep) over the keys of all users.
pub(super) const USERS_STEPS: usize = 250;

/// Steps per run of the scan over all sessions, to check their names.
const SESSIONS_STEPS: usize = 32;

/// Sets of the index of all sessions that are examined per run, and the most batches of them.
pub(super) const PARTS: usize = 16;
const SLICES: usize = 200;

/// Where the next run continues.
pub(super) struct Tidying {
    users: Mutex<Option<String>>,
    sessions: Mutex<Option<String>>,
    /// The current set of the index, and the last member examined.
    index: Mutex<(u8, Vec<u8>)>,
    users_steps: usize,
}

impl Tidying {
    /// Starts with a set of the index. Several processes that start with different ones finish a pass sooner together.
    pub(super) fn new(part: u8, users_steps: usize) -> Self {
        Self {
            users: Mutex::default(),
            sessions: Mutex::default(),
            index: Mutex::new((part, Vec::new())),
            users_steps,
        }
    }

    /// See [`Store::tidy`](crate::store::Store::tidy). An unreachable server delays only its own keys.
    pub(super) async fn tidy(&self, servers: &Arc<Servers>, keys: &Keys, now: Timestamp) -> Result<()> {
        let users = self.tidy_users_and_labels(servers, keys, now).await;
        let index = self.tidy_index(servers, keys, now).await;
        let sessions = self.mend_names(servers, keys).await;
        users.and(index).and(sessions)
    }

    async fn tidy_users_and_labels(&self, servers: &Arc<Servers>, keys: &Keys, now: Timestamp) -> Result<()> {
        let in_cluster = servers.are_cluster(deadline()).await?;
        let mut position = self.users.lock().await;
        let mut scan = Scan::resume(servers, keys.pattern_of_indexes(), position.as_deref()).await?;
        let done = async {
            for _ in 0..self.users_steps {
                let Some(found) = scan.next().await? else { break };
                let (labels, found): (Vec<_>, Vec<_>) =
                    found.into_iter().partition(|key| keys.label_of(key).is_some());
                index::tidy_labels(servers, keys, &labels, now).await?;
                let (places, names): (Vec<_>, Vec<_>) =
                    found.into_iter().partition(|key| keys.is_of_places(key));
                users::tidy(servers, keys, &names, now).await?;
                if in_cluster {
                    // Keys of an older version, which no version reads any more.
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
