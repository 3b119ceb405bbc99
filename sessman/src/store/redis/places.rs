//! The places of users; see [`Claim`].

use std::collections::HashSet;
use std::sync::Arc;

use redis::{Cmd, Value};
use tokio::time::Instant;

use super::failure::Trouble;
use super::keys::{Keys, Kind};
use super::layout::unexpected;
use super::scripts::{CLAIM, RELEASE};
use super::servers::{Servers, deadline};
use super::sweep::Scan;
use super::values::{of_ours, texts};
use crate::id::Handle;
use crate::store::{Claim, Claimed, Places, PlacesPage, Result};

/// See [`Store::claim`](crate::store::Store::claim).
pub(super) async fn claim(
    servers: &Arc<Servers>,
    keys: &Keys,
    claim: Claim<'_>,
    deadline: Instant,
) -> Result<Claimed> {
    let Claim { user_id, handle, room, moves_last, earlier } = claim;
    let flag = |is_set: bool| if is_set { "1" } else { "" }.to_owned();
    let mut arguments = vec![
        handle.to_string(),
        room.map_or(String::new(), |room| room.to_string()),
        flag(moves_last),
        flag(earlier.is_some()),
    ];
    arguments.extend(earlier.into_iter().flatten().map(Handle::to_string));
    let key = keys.places(user_id, servers.are_cluster(deadline).await?);
    let mut is_mended = false;
    loop {
        let answer = servers.run(&CLAIM, &key, &arguments, deadline).await?;
        let Value::Array(parts) = answer else { return Err(unexpected()) };
        let [Value::Int(outcome), places] = <[Value; 2]>::try_from(parts).map_err(|_| unexpected())? else {
            return Err(unexpected());
        };
        let (handles, damaged) = read(texts(places).ok_or_else(unexpected)?);
        if !damaged.is_empty() && !is_mended {
            // Otherwise these unreadable entries would count as sessions of the user.
            report(user_id);
            servers.run(&RELEASE, &key, &damaged, deadline).await?;
            is_mended = true;
            continue;
        }
        return Ok(match outcome {
            1 => Claimed::Done(handles),
            0 => Claimed::Full(handles),
            _ => Claimed::Unknown,
        });
    }
}

/// Releases places.
pub(super) async fn release(
    servers: &Arc<Servers>,
    keys: &Keys,
    user_id: &str,
    handles: &[Handle],
    deadline: Instant,
) -> Result<()> {
    if !handles.is_empty() {
        let handles: Vec<String> = handles.iter().map(Handle::to_string).collect();
        let key = keys.places(user_id, servers.are_cluster(deadline).await?);
        servers.run(&RELEASE, &key, &handles, deadline).await?;
    }
    Ok(())
}

/// The handles in a user's places.
pub(super) async fn of(
    servers: &Arc<Servers>,
    keys: &Keys,
    user_id: &str,
    deadline: Instant,
) -> Result<Vec<Handle>> {
    let key = keys.places(user_id, servers.are_cluster(deadline).await?);
    let (_, command) = all_of(&key);
    let (handles, damaged) =
        read(texts(servers.call(&key, &command, deadline).await?).ok_or_else(unexpected)?);
    if !damaged.is_empty() {
        report(user_id);
    }
    Ok(handles)
}

/// See [`Store::all_places`](crate::store::Store::all_places).
pub(super) async fn page(
    servers: &Arc<Servers>,
    keys: &Keys,
    position: Option<&str>,
    limit: usize,
) -> Result<PlacesPage> {
    let in_cluster = servers.are_cluster(deadline()).await?;
    let mut scan = Scan::resume(servers, keys.pattern(Kind::Places), position).await?;
    let (mut users, mut seen) = (Vec::new(), HashSet::new());
    while users.len() < limit {
        let Some(mut found) = scan.next().await? else { break };
        found.retain(|key| seen.insert(key.clone()));
        let commands: Vec<(Vec<u8>, Cmd)> = found.iter().map(|key| all_of(key)).collect();
        for (key, answer) in found.iter().zip(servers.call_each(&commands, deadline()).await?) {
            let Some(user_id) = keys.user_of_places(key, in_cluster) else {
                if !in_cluster {
                    report("(an id that is no text)");
                }
                continue;
            };
            let (handles, is_damaged) = match of_ours(answer)? {
                Some(places) => {
                    let (handles, damaged) = read(texts(places).unwrap_or_default());
                    (handles, !damaged.is_empty())
                }
                None => (Vec::new(), true),
            };
            if is_damaged {
                report(user_id);
            }
            if !handles.is_empty() {
                users.push(Places { user_id: user_id.to_owned(), handles });
            }
        }
    }
    Ok(PlacesPage { users, next: scan.position() })
}

/// Deletes the places of all users, including those of older versions in a cluster.
pub(super) async fn forget(servers: &Arc<Servers>, keys: &Keys) -> Result<()> {
    let mut scan = Scan::resume(servers, keys.pattern(Kind::Places), None).await?;
    while let Some(found) = scan.next().await? {
        delete(servers, found).await?;
    }
    Ok(())
}

/// Deletes keys.
pub(super) async fn delete(servers: &Arc<Servers>, keys: Vec<Vec<u8>>) -> Result<()> {
    let delete = |key: Vec<u8>| {
        let mut command = redis::cmd("DEL");
        command.arg(&key);
        (key, command)
    };
    let commands: Vec<(Vec<u8>, Cmd)> = keys.into_iter().map(delete).collect();
    for answer in servers.call_each(&commands, deadline()).await? {
        answer.map_err(Trouble::from)?;
    }
    Ok(())
}

fn all_of(key: &[u8]) -> (Vec<u8>, Cmd) {
    let mut command = redis::cmd("LRANGE");
    command.arg(key).arg(0).arg(-1);
    (key.to_vec(), command)
}

/// The handles, and the entries that are not handles.
fn read(places: Vec<Vec<u8>>) -> (Vec<Handle>, Vec<Vec<u8>>) {
    let (mut handles, mut damaged) = (Vec::with_capacity(places.len()), Vec::new());
    for place in places {
        match std::str::from_utf8(&place).ok().and_then(Handle::parse) {
            Some(handle) => handles.push(handle),
            None => damaged.push(place),
        }
    }
    (handles, damaged)
}

fn report(user_id: &str) {
    tracing::warn!(user_id, "places of a user cannot be read and are passed over");
}
