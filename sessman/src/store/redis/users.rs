//! The two keys of a user: the names of their sessions, and their places.
//!
//! A name has a time from which on it is worth a look: a minute after the session ends unless it is extended. Until then
//! the name stays whatever is there, for its session may be about to be written.

use std::collections::HashMap;
use std::sync::Arc;

use redis::{Cmd, Value};
use tokio::time::Instant;

use super::index;
use super::keys::{Keys, Kind, Name};
use super::layout::{self, HEAD_BYTES, unexpected};
use super::scripts::{CLAIM, FORGET, RELEASE};
use super::servers::{Servers, deadline};
use super::store::removal;
use super::sweep::{Scan, bytes, of_ours, texts};
use crate::id::Handle;
use crate::store::{Claim, Claimed, Result};
use crate::time::Timestamp;

/// Names that are looked at for a user in one go.
const SLICE: usize = 500;

/// A name, and its time as the server wrote it.
type Dated = (Name, Vec<u8>);

/// The command that writes down the name of a session that is about to be written, or to be the user's.
pub(super) fn add_name(key: Vec<u8>, name: &Name, score: i64) -> (Vec<u8>, Cmd) {
    let mut command = redis::cmd("ZADD");
    command.arg(&key).arg(score).arg(name.to_bytes());
    (key, command)
}

/// Takes away the name of a session that is not there any more. If that fails, it is done when its time has come.
pub(super) async fn take_name(servers: &Arc<Servers>, key: &[u8], name: &Name, deadline: Instant) {
    let mut command = redis::cmd("ZREM");
    command.arg(key).arg(name.to_bytes());
    if let Err(error) = servers.call(key, &command, deadline).await {
        tracing::debug!(%error, "the name of a session that ended stays for a while");
    }
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

/// See [`Store::claim`](crate::store::Store::claim).
pub(super) async fn claim(
    servers: &Arc<Servers>,
    keys: &Keys,
    claim: Claim<'_>,
    deadline: Instant,
) -> Result<Claimed> {
    let mut arguments =
        vec![claim.handle.to_string(), claim.room.map_or(String::new(), |room| room.to_string())];
    arguments.push(if claim.earlier.is_some() { "1" } else { "" }.into());
    arguments.extend(claim.earlier.into_iter().flatten().map(Handle::to_string));
    let key = keys.places(claim.user_id);
    let answer = servers.run(&CLAIM, &key, &arguments, deadline).await?;
    let Value::Array(parts) = answer else { return Err(unexpected()) };
    let [Value::Int(outcome), places] = <[Value; 2]>::try_from(parts).map_err(|_| unexpected())? else {
        return Err(unexpected());
    };
    let places = texts(places).ok_or_else(unexpected)?;
    let places =
        places.iter().map(|place| handle(place)).collect::<Option<Vec<_>>>().ok_or_else(unexpected)?;
    Ok(match outcome {
        1 => Claimed::Done(places),
        0 => Claimed::Full(places),
        _ => Claimed::Unknown,
    })
}

/// Takes places away.
pub(super) async fn release(
    servers: &Arc<Servers>,
    key: &[u8],
    handles: &[Handle],
    deadline: Instant,
) -> Result<()> {
    if !handles.is_empty() {
        let handles: Vec<String> = handles.iter().map(Handle::to_string).collect();
        servers.run(&RELEASE, key, &handles, deadline).await?;
    }
    Ok(())
}

/// Tidies what about `limit` users have: names of sessions that are not there, and, if `now` is given, places of such.
/// The result is where to go on.
pub(super) async fn tidy_places(
    servers: &Arc<Servers>,
    keys: &Keys,
    now: Timestamp,
    position: Option<&str>,
    limit: usize,
) -> Result<Option<String>> {
    let mut scan = Scan::resume(servers, keys.pattern(Kind::Places), position).await?;
    let mut users = 0;
    while users < limit {
        let Some(found) = scan.next().await? else { break };
        users += found.len();
        tidy_places_of(servers, keys, &found, now).await?;
    }
    Ok(scan.position())
}

async fn tidy_places_of(
    servers: &Arc<Servers>,
    keys: &Keys,
    found: &[Vec<u8>],
    now: Timestamp,
) -> Result<()> {
    let all = |key: &Vec<u8>| {
        let mut command = redis::cmd("LRANGE");
        command.arg(key).arg(0).arg(-1);
        (key.clone(), command)
    };
    let commands: Vec<(Vec<u8>, Cmd)> = found.iter().map(all).collect();
    let mut places = Vec::new();
    for (key, answer) in found.iter().zip(servers.call_each(&commands, deadline()).await?) {
        let handles = of_ours(answer)?.and_then(texts).unwrap_or_default();
        places.extend(handles.iter().filter_map(|text| handle(text)).map(|handle| (key, handle)));
    }
    let mut dead: HashMap<&Vec<u8>, Vec<Handle>> = HashMap::new();
    for slice in places.chunks(SLICE) {
        let beginnings = beginnings(servers, keys, slice.iter().map(|(_, handle)| (*handle, 0))).await?;
        for ((key, handle), beginning) in slice.iter().zip(beginnings) {
            let is_live = layout::life(&beginning).is_ok_and(|life| now < life.expires_at);
            if !is_live {
                dead.entry(*key).or_default().push(*handle);
            }
        }
    }
    for (key, handles) in dead {
        release(servers, key, &handles, deadline()).await?;
    }
    Ok(())
}

/// Takes away the names whose time has come and whose sessions are not there; those of sessions that were extended get
/// a later time.
pub(super) async fn tidy_names(servers: &Arc<Servers>, keys: &Keys, now: Timestamp) -> Result<()> {
    let mut scan = Scan::resume(servers, keys.pattern(Kind::Names), None).await?;
    while let Some(found) = scan.next().await? {
        let due = |key: &Vec<u8>| {
            let mut command = redis::cmd("ZRANGEBYSCORE");
            command
                .arg(key)
                .arg("-inf")
                .arg(now.as_millis())
                .arg("WITHSCORES")
                .arg("LIMIT")
                .arg(0)
                .arg(SLICE);
            (key.clone(), command)
        };
        let commands: Vec<(Vec<u8>, Cmd)> = found.iter().map(due).collect();
        for (key, answer) in found.iter().zip(servers.call_each(&commands, deadline()).await?) {
            let Some(user_id) = keys.user_of_names(key) else { continue };
            let mut names = dated(&of_ours(answer)?.and_then(texts).unwrap_or_default());
            // Those that were looked at have no due time any more: a long list shortens with each round.
            while !names.is_empty() {
                let is_slice = names.len() == SLICE;
                tidy_names_of(servers, keys, key, user_id, &names, now).await?;
                if !is_slice {
                    break;
                }
                let next = servers.call(key, &due(key).1, deadline()).await?;
                names = dated(&texts(next).unwrap_or_default());
            }
        }
    }
    Ok(())
}

async fn tidy_names_of(
    servers: &Arc<Servers>,
    keys: &Keys,
    key: &[u8],
    user_id: &str,
    names: &[Dated],
    now: Timestamp,
) -> Result<()> {
    let wanted = names.iter().map(|(name, _)| (name.handle, user_id.len()));
    let mut later = redis::cmd("ZADD");
    later.arg(key).arg("XX");
    let (mut any_later, mut gone) = (false, Vec::new());
    for ((name, time), beginning) in names.iter().zip(beginnings(servers, keys, wanted).await?) {
        let life = layout::life(&beginning).ok().filter(|life| now < life.expires_at);
        match life.filter(|_| layout::is_of(&beginning, &name.mark, user_id)) {
            Some(life) => {
                later.arg(removal(life.expires_at)).arg(name.to_bytes());
                any_later = true;
            }
            None => gone.extend([name.to_bytes(), time.clone()]),
        }
    }
    if any_later {
        servers.call(key, &later, deadline()).await?;
    }
    if !gone.is_empty() {
        servers.run(&FORGET, key, &gone, deadline()).await?;
    }
    Ok(())
}

/// Writes the names of these sessions that are not written down: a server may have lost them with its last writes, and has
/// other sessions than the one that lost them.
pub(super) async fn mend_names(servers: &Arc<Servers>, keys: &Keys, handles: &[Handle]) -> Result<()> {
    let heads = beginnings(servers, keys, handles.iter().map(|handle| (*handle, 0))).await?;
    let users = handles.iter().zip(heads);
    let users = users.filter_map(|(handle, head)| Some((*handle, layout::user_length(&head).ok()?)));
    let users: Vec<(Handle, usize)> = users.collect();
    let mut commands = Vec::new();
    for ((handle, _), beginning) in users.iter().zip(beginnings(servers, keys, users.iter().copied()).await?)
    {
        let (Ok(mark), Ok(life)) = (layout::mark(&beginning), layout::life(&beginning)) else { continue };
        let name = Name { handle: *handle, mark };
        let mut add = |key: Vec<u8>, score: i64| {
            let mut command = redis::cmd("ZADD");
            command.arg(&key).arg("NX").arg(score).arg(name.to_bytes());
            commands.push((key, command));
        };
        add(keys.index(handle.as_bytes()[0]), index::SCORE);
        if let Some(user_id) = layout::user(&beginning) {
            add(keys.names(user_id), removal(life.expires_at));
        }
    }
    for answer in servers.call_each(&commands, deadline()).await? {
        of_ours(answer)?;
    }
    Ok(())
}

/// The beginnings of records: what comes before the user, and so many bytes of the user. Empty where there is none.
pub(super) async fn beginnings(
    servers: &Arc<Servers>,
    keys: &Keys,
    wanted: impl Iterator<Item = (Handle, usize)>,
) -> Result<Vec<Vec<u8>>> {
    let commands: Vec<(Vec<u8>, Cmd)> = wanted
        .map(|(handle, more)| {
            let key = keys.session(handle);
            let mut command = redis::cmd("GETRANGE");
            command.arg(&key).arg(0).arg(HEAD_BYTES + more - 1);
            (key, command)
        })
        .collect();
    let answers = servers.call_each(&commands, deadline()).await?;
    answers.into_iter().map(|answer| Ok(of_ours(answer)?.and_then(bytes).unwrap_or_default())).collect()
}

fn dated(texts: &[Vec<u8>]) -> Vec<Dated> {
    let pairs = texts.chunks_exact(2);
    pairs.filter_map(|pair| Some((Name::parse(&pair[0])?, pair[1].clone()))).collect()
}

fn handle(text: &[u8]) -> Option<Handle> {
    Handle::parse(std::str::from_utf8(text).ok()?)
}
