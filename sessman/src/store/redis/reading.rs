//! Reads several records, whole or without their data: many per round trip, but only a few large ones.

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

/// Records read per batch.
const SLICE: usize = 250;

/// Bytes of each record that the first read returns: everything before the data for most, and the whole of small ones.
const FIRST: usize = 512;

/// Larger records are read this many at a time.
const LARGE: usize = 8;

/// What is stored under a handle.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stored<T> {
    Found(T),
    /// A value that this build cannot read.
    Unreadable,
    Missing,
}

/// A part of a record that can be read.
pub(super) trait Part: Sized + Send {
    /// Whether it needs the whole value, and not only what is before the data.
    const WITH_DATA: bool;

    /// # Errors
    /// As for [`layout::read`].
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

/// Calls `each` with what is stored under each of these handles, in their order, until it returns that it has enough.
/// Returns whether it did.
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
                // Each item's memory is freed before the next one is read.
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

/// Whether the first read of a record returned too little.
fn is_short<T: Part>(found: &Stored<Vec<u8>>) -> bool {
    match found {
        Stored::Found(bytes) if bytes.len() == FIRST => {
            T::WITH_DATA || layout::data_at(bytes).is_ok_and(|data| data > FIRST)
        }
        _ => false,
    }
}

/// Reads the needed rest of large records.
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

/// The outer `None` means a key of another type, the inner one no key.
fn stored(answer: Option<Option<Vec<u8>>>) -> Stored<Vec<u8>> {
    match answer {
        None => Stored::Unreadable,
        Some(bytes) => bytes.filter(|bytes| !bytes.is_empty()).map_or(Stored::Missing, Stored::Found),
    }
}
