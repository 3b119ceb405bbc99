//! The index of a user's sessions: a sorted set of their names.
//!
//! The score of a name is the time when it is due for a check: a minute after the session ends unless it is extended. Until
//! then the name stays even without a session, which may be about to be written.

use std::sync::Arc;

use redis::Cmd;
use tokio::time::Instant;

use super::index;
use super::keys::{Keys, Name};
use super::layout::unexpected;
use super::reading::{Stored, read_each};
use super::retention::removal;
use super::scripts::FORGET;
use super::servers::{Servers, deadline};
use super::values::{of_ours, texts};
use crate::id::Handle;
use crate::record::{Outline, Summary};
use crate::store::Result;
use crate::time::Timestamp;

/// Names of a user examined per batch.
const SLICE: usize = 500;

/// A name, and its score as the server wrote it.
type Dated = (Name, Vec<u8>);

/// The command that adds the name of a session, before the session is written or becomes the user's.
pub(super) fn add_name(key: Vec<u8>, name: &Name, score: i64) -> (Vec<u8>, Cmd) {
    let mut command = redis::cmd("ZADD");
    command.arg(&key).arg(score).arg(name.to_bytes());
    (key, command)
}

/// All names of a user, in the order of their handles.
pub(super) async fn names(servers: &Arc<Servers>, key: &[u8], deadline: Instant) -> Result<Vec<Name>> {
    let mut command = redis::cmd("ZRANGE");
    command.arg(key).arg(0).arg(-1);
    let found = texts(servers.call(key, &command, deadline).await?).ok_or_else(unexpected)?;
    let mut names: Vec<Name> = found.iter().filter_map(|name| Name::parse(name)).collect();
    names.sort_unstable_by_key(|name| name.handle);
    Ok(names)
}

/// For the users of these index keys: removes the names that are due and have no session; names of extended sessions get a
/// later score.
pub(super) async fn tidy(
    servers: &Arc<Servers>,
    keys: &Keys,
    found: &[Vec<u8>],
    now: Timestamp,
) -> Result<()> {
    let due = |key: &Vec<u8>| {
        let mut command = redis::cmd("ZRANGEBYSCORE");
        let moment = now.as_millis();
        command.arg(key).arg("-inf").arg(moment).arg("WITHSCORES").arg("LIMIT").arg(0).arg(SLICE);
        (key.clone(), command)
    };
    let commands: Vec<(Vec<u8>, Cmd)> = found.iter().map(due).collect();
    for (key, answer) in found.iter().zip(servers.call_each(&commands, deadline()).await?) {
        let Some(user_id) = keys.user_of_names(key) else { continue };
        let mut names = dated(&of_ours(answer)?.and_then(texts).unwrap_or_default());
        // Names that were examined are no longer due, so a long list shrinks with each round.
        while !names.is_empty() {
            let is_slice = names.len() == SLICE;
            tidy_names(servers, keys, key, user_id, &names, now).await?;
            if !is_slice {
                break;
            }
            let next = servers.call(key, &due(key).1, deadline()).await?;
            names = dated(&texts(next).unwrap_or_default());
        }
    }
    Ok(())
}

async fn tidy_names(
    servers: &Arc<Servers>,
    keys: &Keys,
    key: &[u8],
    user_id: &str,
    names: &[Dated],
    now: Timestamp,
) -> Result<()> {
    let mut later = redis::cmd("ZADD");
    later.arg(key).arg("XX");
    let (mut any_later, mut gone) = (false, Vec::new());
    let handles: Vec<Handle> = names.iter().map(|(name, _)| name.handle).collect();
    let mut dated = names.iter();
    read_each(servers, keys, &handles, deadline(), |_, stored: Stored<Outline>| {
        let Some((name, time)) = dated.next() else { return true };
        let look_at = match stored {
            Stored::Found(outline) => (now < outline.life.expires_at
                && outline.mark == name.mark
                && outline.user_id.as_deref() == Some(user_id))
            .then(|| removal(outline.life.expires_at)),
            // Ending all of a user's sessions must find it, and its name alone says whose it is.
            Stored::Unreadable => Some(removal(now)),
            Stored::Missing => None,
        };
        match look_at {
            Some(moment) => {
                later.arg(moment).arg(name.to_bytes());
                any_later = true;
            }
            None => gone.extend([name.to_bytes(), time.clone()]),
        }
        false
    })
    .await?;
    if any_later {
        servers.call(key, &later, deadline()).await?;
    }
    if !gone.is_empty() {
        servers.run(&FORGET, key, &gone, deadline()).await?;
    }
    Ok(())
}

/// Adds missing names of these sessions: a failover may have lost the last writes of one server, and the sessions may be on
/// another one.
pub(super) async fn mend_names(servers: &Arc<Servers>, keys: &Keys, handles: &[Handle]) -> Result<()> {
    let mut commands = Vec::new();
    read_each(servers, keys, handles, deadline(), |handle, stored: Stored<Summary>| {
        let Stored::Found(Summary { mark, user_id, life, labels, .. }) = stored else { return false };
        let name = Name { handle, mark };
        let mut add = |key: Vec<u8>, score: i64| {
            let mut command = redis::cmd("ZADD");
            command.arg(&key).arg("NX").arg(score).arg(name.to_bytes());
            commands.push((key, command));
        };
        let first = handle.as_bytes()[0];
        add(keys.index(first), index::SCORE);
        for label in labels.iter() {
            add(keys.label(first, label), index::SCORE);
        }
        if let Some(user_id) = user_id {
            add(keys.names(&user_id), removal(life.expires_at));
        }
        false
    })
    .await?;
    for answer in servers.call_each(&commands, deadline()).await? {
        of_ours(answer)?;
    }
    Ok(())
}

fn dated(texts: &[Vec<u8>]) -> Vec<Dated> {
    let pairs = texts.chunks_exact(2);
    pairs.filter_map(|pair| Some((Name::parse(&pair[0])?, pair[1].clone()))).collect()
}
