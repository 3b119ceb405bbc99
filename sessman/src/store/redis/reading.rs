//! How several records are read, whole or without their data: many together, and few of those that are large.

use std::sync::Arc;

use redis::Cmd;
use tokio::time::Instant;

use super::keys::Keys;
use super::layout;
use super::scripts::BEGINNING;
use super::servers::Servers;
use super::values::{bytes, of_ours};
use crate::id::Handle;
use crate::record::{Outline, Record, Summary};
use crate::store::{Result, StoreError};

/// Records that are read in one go.
const SLICE: usize = 250;

/// Bytes of each of them that come in one go: all before the data of most, and all of the small ones.
const FIRST: usize = 512;

/// Records that are larger are read so many at a time.
const LARGE: usize = 8;

/// What is stored under a handle.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stored<T> {
    Found(T),
    /// Something that this build cannot read.
    Unreadable,
    Missing,
}

/// What can be read of a record.
pub(super) trait Part: Sized + Send {
    /// Whether the whole value is needed, and not only what is before the data.
    const WITH_DATA: bool;

    /// # Errors
    /// Those of [`layout::read`].
    fn read(handle: Handle, bytes: &[u8]) -> Result<Self>;
}

impl Part for Arc<Record> {
    const WITH_DATA: bool = true;

    fn read(handle: Handle, bytes: &[u8]) -> Result<Self> {
        layout::read(handle, bytes).map(Arc::new)
    }
}

impl Part for Summary {
    const WITH_DATA: bool = false;

    fn read(handle: Handle, bytes: &[u8]) -> Result<Self> {
        layout::summary(handle, bytes)
    }
}

impl Part for Outline {
    const WITH_DATA: bool = false;

    fn read(_: Handle, bytes: &[u8]) -> Result<Self> {
        layout::outline(bytes)
    }
}

/// Hands over what is stored under each of these handles, in their order, until `each` has enough; whether it has.
pub(super) async fn read_each<T: Part>(
    servers: &Arc<Servers>,
    keys: &Keys,
    handles: &[Handle],
    deadline: Instant,
    mut each: impl FnMut(Handle, Stored<T>) -> bool + Send,
) -> Result<bool> {
    for slice in handles.chunks(SLICE) {
        let mut found = beginnings(servers, keys, slice, FIRST, deadline).await?;
        let mut from = 0;
        while from < slice.len() {
            let (mut to, mut large) = (from, Vec::new());
            while to < slice.len() {
                if is_short::<T>(&found[to]) {
                    if large.len() == LARGE {
                        break;
                    }
                    large.push(to);
                }
                to += 1;
            }
            let wanted: Vec<Handle> = large.iter().map(|index| slice[*index]).collect();
            for (index, whole) in large.into_iter().zip(rest::<T>(servers, keys, &wanted, deadline).await?) {
                found[index] = whole;
            }
            for (handle, stored) in slice[from..to].iter().zip(&mut found[from..to]) {
                // What was read is let go of before the next ones are.
                let read = match std::mem::replace(stored, Stored::Missing) {
                    Stored::Found(bytes) => {
                        T::read(*handle, &bytes).map_or(Stored::Unreadable, Stored::Found)
                    }
                    Stored::Unreadable => Stored::Unreadable,
                    Stored::Missing => Stored::Missing,
                };
                if each(*handle, read) {
                    return Ok(true);
                }
            }
            from = to;
        }
    }
    Ok(false)
}

/// The first bytes of each record.
pub(super) async fn beginnings(
    servers: &Arc<Servers>,
    keys: &Keys,
    handles: &[Handle],
    length: usize,
    deadline: Instant,
) -> Result<Vec<Stored<Vec<u8>>>> {
    let range = |handle: &Handle| {
        let key = keys.session(*handle);
        let mut command = redis::cmd("GETRANGE");
        command.arg(&key).arg(0).arg(length - 1);
        (key, command)
    };
    let commands: Vec<(Vec<u8>, Cmd)> = handles.iter().map(range).collect();
    let answers = servers.call_each(&commands, deadline).await?;
    answers.into_iter().map(|answer| Ok(stored(of_ours(answer)?.map(bytes)))).collect()
}

/// Whether more is needed of a record than came in one go.
fn is_short<T: Part>(found: &Stored<Vec<u8>>) -> bool {
    match found {
        Stored::Found(bytes) if bytes.len() == FIRST => {
            T::WITH_DATA || layout::data_at(bytes).is_ok_and(|data| data > FIRST)
        }
        _ => false,
    }
}

/// All that is needed of large records.
async fn rest<T: Part>(
    servers: &Arc<Servers>,
    keys: &Keys,
    handles: &[Handle],
    deadline: Instant,
) -> Result<Vec<Stored<Vec<u8>>>> {
    if handles.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<Vec<u8>> = handles.iter().map(|handle| keys.session(*handle)).collect();
    if T::WITH_DATA {
        let get = |key: Vec<u8>| {
            let mut command = redis::cmd("GET");
            command.arg(&key);
            (key, command)
        };
        let commands: Vec<(Vec<u8>, Cmd)> = keys.into_iter().map(get).collect();
        let answers = servers.call_each(&commands, deadline).await?;
        return answers.into_iter().map(|answer| Ok(stored(of_ours(answer)?.map(bytes)))).collect();
    }
    let calls: Vec<(Vec<u8>, Vec<Vec<u8>>)> = keys.into_iter().map(|key| (key, Vec::new())).collect();
    let answers = servers.run_each(&BEGINNING, &calls, deadline).await?;
    let stored = |answer| match answer {
        Ok(value) => Ok(stored(Some(bytes(value)))),
        Err(trouble) => match StoreError::from(trouble) {
            StoreError::Unusable(_) => Ok(Stored::Unreadable),
            error => Err(error),
        },
    };
    answers.into_iter().map(stored).collect()
}

/// The outer `None` is of a key that holds something of another kind, the inner one of no key.
fn stored(answer: Option<Option<Vec<u8>>>) -> Stored<Vec<u8>> {
    match answer {
        None => Stored::Unreadable,
        Some(bytes) => bytes.filter(|bytes| !bytes.is_empty()).map_or(Stored::Missing, Stored::Found),
    }
}
