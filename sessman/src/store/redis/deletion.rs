//! Deletes records, and then their names from the indexes.
//!
//! A session is gone once its record is. Its names are removed in the background. If that fails, or too much is in progress,
//! they stay until the [tidying](super::tidying), and readers skip them.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use redis::{Cmd, Value};
use tokio::time::Instant;

use super::failure::Trouble;
use super::index;
use super::keys::{Keys, Name};
use super::layout::{self, unexpected};
use super::scripts::DELETE;
use super::servers::{Servers, deadline};
use super::state::RedisStore;
use super::values::{NOT_OURS, bytes};
use crate::id::Handle;
use crate::labels::Labels;
use crate::mark::Mark;
use crate::record::Record;
use crate::store::tail::Tail;
use crate::store::{Result, StoreError, Target};
use crate::time::Timestamp;

/// Records deleted per batch, and names removed per command.
const SLICE: usize = 250;

/// A record that was deleted.
#[derive(Debug, Clone)]
pub(super) struct Deleted {
    pub(super) handle: Handle,
    /// `None` if it could not be read.
    mark: Option<Mark>,
    pub(super) user_id: Option<String>,
    labels: Labels,
}

/// The result of deletions. Some records may be deleted although others failed.
pub(super) struct Deletion {
    pub(super) deleted: Vec<Deleted>,
    /// Whether something was not deleted because it is no record, or cannot be compared with its target.
    pub(super) is_any_refused: bool,
    pub(super) done: Result<()>,
}

impl Deletion {
    /// Adds the script's reply for one record.
    fn heed(&mut self, handle: Handle, answer: std::result::Result<Value, Trouble>) {
        let one = match answer {
            Ok(answer) => outcome(handle, answer),
            Err(Trouble::Refused(refusal)) if NOT_OURS.contains(&refusal.code.as_str()) => {
                self.is_any_refused = true;
                Ok(None)
            }
            Err(trouble) => Err(trouble.into()),
        };
        match one {
            Ok(one) => self.deleted.extend(one),
            Err(error) if self.done.is_ok() => self.done = Err(error),
            Err(_) => {}
        }
    }
}

impl RedisStore {
    /// Deletes the records that match their targets; if `now` is given, only expired ones.
    pub(super) async fn delete_records(
        &self,
        targets: &[Target],
        now: Option<Timestamp>,
        first_deadline: Instant,
    ) -> Deletion {
        let mut deletion = Deletion { deleted: Vec::new(), is_any_refused: false, done: Ok(()) };
        // An expired session stays expired after a failover.
        let durably = now.is_none() && self.servers.waits_for_replicas();
        if let [target] = targets {
            let answer = self.delete_one(target, now, durably, first_deadline).await;
            deletion.heed(target.handle, answer);
            return deletion;
        }
        for slice in targets.chunks(SLICE) {
            if durably {
                // They are grouped, and one `WAIT` covers all of them.
                let deadline = deadline();
                let deleting = slice.iter().map(|target| self.delete_one(target, now, true, deadline));
                for (target, answer) in slice.iter().zip(join_all(deleting).await) {
                    deletion.heed(target.handle, answer);
                }
                if deletion.done.is_err() {
                    break;
                }
                continue;
            }
            let calls =
                slice.iter().map(|target| (self.keys.session(target.handle), conditions(target, now).into()));
            let calls: Vec<(Vec<u8>, Vec<Vec<u8>>)> = calls.collect();
            match self.servers.run_each(&DELETE, &calls, deadline()).await {
                Ok(answers) => slice
                    .iter()
                    .zip(answers)
                    .for_each(|(target, answer)| deletion.heed(target.handle, answer)),
                Err(trouble) => deletion.done = Err(trouble.into()),
            }
            // A server that did not reply would not reply to the next batch either.
            if deletion.done.is_err() {
                break;
            }
        }
        deletion
    }

    async fn delete_one(
        &self,
        target: &Target,
        now: Option<Timestamp>,
        durably: bool,
        deadline: Instant,
    ) -> std::result::Result<Value, Trouble> {
        let (key, conditions) = (self.keys.session(target.handle), conditions(target, now));
        match durably {
            true => self.servers.run_durably(&DELETE, &key, &conditions, deadline).await,
            false => self.servers.run(&DELETE, &key, &conditions, deadline).await,
        }
    }

    /// Removes the names of deleted records.
    pub(super) async fn take_names(&self, deleted: &[Deleted]) {
        take_names(&self.servers, &self.keys, deleted, self.latest()).await;
    }

    /// The same in the background.
    pub(super) async fn take_names_later(&self, deleted: Vec<Deleted>) {
        if deleted.is_empty() {
            return;
        }
        let (servers, keys, now) = (Arc::clone(&self.servers), self.keys.clone(), self.latest());
        self.leftovers.take_away(async move { take_names(&servers, &keys, &deleted, now).await }).await;
    }

    /// Removes the names of a session whose creation failed, in the background.
    pub(super) async fn take_name_later(&self, record: &Record) {
        let Record { handle, mark, ref user_id, ref labels, .. } = *record;
        let (user_id, labels) = (user_id.clone(), labels.clone());
        self.take_names_later(vec![Deleted { handle, mark: Some(mark), user_id, labels }]).await;
    }
}

/// The arguments of the script.
fn conditions(target: &Target, now: Option<Timestamp>) -> [Vec<u8>; 5] {
    let Target { handle: _, mark, secret_hash, last_activity, version } = target;
    [
        mark.map_or(Vec::new(), |mark| mark.as_bytes().to_vec()),
        secret_hash.map_or(Vec::new(), |secret_hash| secret_hash.as_bytes().to_vec()),
        last_activity.map_or(Vec::new(), |moment| layout::moment(moment).to_vec()),
        now.map_or(Vec::new(), |now| now.as_millis().to_string().into_bytes()),
        version.map_or(Vec::new(), |version| layout::version(version).to_vec()),
    ]
}

/// Parses the script's reply for one record.
fn outcome(handle: Handle, answer: Value) -> Result<Option<Deleted>> {
    let parts = match answer {
        Value::Int(0) => return Ok(None),
        Value::Array(parts) => parts.into_iter().map(bytes).collect::<Option<Vec<_>>>(),
        _ => None,
    };
    let [mark, user_id, tail] =
        <[Vec<u8>; 3]>::try_from(parts.unwrap_or_default()).map_err(|_| unexpected())?;
    let mark = <[u8; Mark::BYTES]>::try_from(mark).ok().map(Mark::from);
    let user_id = String::from_utf8(user_id).ok().filter(|user_id| !user_id.is_empty());
    // A tail that cannot be read leaves its names to the tidying.
    let labels = Tail::read(&tail).unwrap_or_default().labels;
    Ok(Some(Deleted { handle, mark, user_id, labels }))
}

/// Removes the names of deleted records from the index of all sessions, and from their users' indexes.
async fn take_names(servers: &Arc<Servers>, keys: &Keys, deleted: &[Deleted], now: Timestamp) {
    let mut names: HashMap<Vec<u8>, Vec<Vec<u8>>> = HashMap::new();
    for Deleted { handle, mark, user_id, labels } in deleted {
        let Some(mark) = *mark else {
            // The user is unknown, so the name in the user's index stays until it is due.
            let taken = index::tidy_handle(servers, keys, *handle, now).await;
            report(taken.err());
            continue;
        };
        let name = Name { handle: *handle, mark }.to_bytes();
        let of_user = user_id.as_ref().map(|user_id| keys.names(user_id));
        let first = handle.as_bytes()[0];
        let of_labels = labels.iter().map(|label| keys.label(first, label));
        for key in [keys.index(first)].into_iter().chain(of_user).chain(of_labels) {
            names.entry(key).or_default().push(name.clone());
        }
    }
    let remove = |(key, names): (Vec<u8>, &[Vec<u8>])| {
        let mut command = redis::cmd("ZREM");
        command.arg(&key).arg(names);
        (key, command)
    };
    let commands: Vec<(Vec<u8>, Cmd)> = names
        .iter()
        .flat_map(|(key, names)| names.chunks(SLICE).map(|names| remove((key.clone(), names))))
        .collect();
    for slice in commands.chunks(SLICE) {
        match servers.call_each_apart(slice, deadline()).await {
            Ok(answers) => {
                report(answers.into_iter().find_map(std::result::Result::err).map(StoreError::from))
            }
            Err(trouble) => report(Some(trouble.into())),
        }
    }
}

fn report(error: Option<StoreError>) {
    if let Some(error) = error {
        tracing::debug!(%error, "the names of sessions that ended stay for a while");
    }
}
