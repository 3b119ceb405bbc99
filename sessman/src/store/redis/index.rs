//! The index of all sessions in the order of their handles, for pages and counts, and those of the sessions of each label.
//!
//! Each is 256 sorted sets, one for each first byte of a handle, so that a cluster spreads them over its members. All scores
//! are 0, so a set is ordered by its members, the names, which begin with the handle. Names are kept like those of a user:
//! written before the session or its label, removed after it, and skipped if there is no session with the label.

use std::sync::Arc;

use redis::Cmd;
use tokio::time::Instant;

use super::keys::{Keys, Name};
use super::layout::{self, UP_TO_MARK};
use super::reading::{Stored, beginnings, read_each};
use super::servers::{Servers, deadline};
use super::values::{of_ours, texts};
use crate::id::{Handle, SessionId};
use crate::labels::Label;
use crate::mark::Mark;
use crate::record::Summary;
use crate::store::Result;
use crate::time::Timestamp;

/// The score of every name.
pub(super) const SCORE: i64 = 0;

/// Number of sets: one for each first byte.
const PARTS: usize = 256;

/// The most sets that are read in parallel, if there are few names in each.
const MOST_PARTS: usize = 64;

/// Names examined per batch.
const SLICE: usize = 500;

/// Age in seconds from which a name is not that of a session about to be written: much longer than any call, and than the
/// clock skew between processes that write and those that tidy.
const OLD: u32 = 600;

/// A cursor over the names in the order of handles.
pub(super) struct Walk<'a> {
    servers: &'a Arc<Servers>,
    keys: &'a Keys,
    /// Only those with this label.
    label: Option<&'a Label>,
    /// The current set.
    part: usize,
    /// The last member that was read of it.
    after: Vec<u8>,
    /// How many sets are read in parallel.
    width: usize,
    last: Option<Handle>,
}

impl<'a> Walk<'a> {
    /// Starts with the smallest handle greater than `after`.
    pub(super) fn new(
        servers: &'a Arc<Servers>,
        keys: &'a Keys,
        label: Option<&'a Label>,
        after: Option<Handle>,
    ) -> Self {
        let part = after.map_or(0, |after| usize::from(after.as_bytes()[0]));
        // After every name that the handle can have.
        let after_names =
            |after: Handle| Name { handle: after, mark: Mark::from([0xFF; Mark::BYTES]) }.to_bytes();
        let after = after.map(after_names).unwrap_or_default();
        // Most labels have few sessions in each set.
        let width = if label.is_some() { 16 } else { 1 };
        Self { servers, keys, label, part, after, width, last: None }
    }

    /// The next handles, about `count` and maybe none, each once; `None` at the end.
    pub(super) async fn next(&mut self, count: usize, deadline: Instant) -> Result<Option<Vec<Handle>>> {
        let parts = self.part..(self.part + self.width).min(PARTS);
        if parts.is_empty() {
            return Ok(None);
        }
        let asked = parts.clone().enumerate().map(|(index, part)| {
            let after: &[u8] = if index == 0 { &self.after } else { &[] };
            let part = u8::try_from(part).unwrap_or(u8::MAX);
            let key = match self.label {
                Some(label) => self.keys.label(part, label),
                None => self.keys.index(part),
            };
            range(&key, after, count)
        });
        let asked: Vec<(Vec<u8>, Cmd)> = asked.collect();
        let answers = self.servers.call_each(&asked, deadline).await?;
        let mut handles = Vec::new();
        self.width = (2 * self.width).min(MOST_PARTS);
        for (part, answer) in parts.zip(answers) {
            let members = of_ours(answer)?.and_then(texts).unwrap_or_default();
            for name in members.iter().filter_map(|member| Name::parse(member)) {
                // A handle used by several sessions in sequence has several names for a while.
                if self.last.replace(name.handle) != Some(name.handle) {
                    handles.push(name.handle);
                }
            }
            match members.last() {
                Some(last) if members.len() == count => {
                    (self.part, self.after, self.width) = (part, last.clone(), 1);
                    break;
                }
                _ => (self.part, self.after) = (part + 1, Vec::new()),
            }
        }
        Ok(Some(handles))
    }
}

/// The command for at most `count` members of a set, after the member `after`.
fn range(key: &[u8], after: &[u8], count: usize) -> (Vec<u8>, Cmd) {
    let begin = if after.is_empty() { b"-".to_vec() } else { [b"(", after].concat() };
    let mut command = redis::cmd("ZRANGEBYLEX");
    command.arg(key).arg(begin).arg("+").arg("LIMIT").arg(0).arg(count);
    (key.to_vec(), command)
}

/// Removes names without a session from one set, a batch after the member `after`. Returns the last one examined, or `None`
/// at the end of the set.
pub(super) async fn tidy(
    servers: &Arc<Servers>,
    keys: &Keys,
    part: u8,
    after: &[u8],
    now: Timestamp,
) -> Result<Option<Vec<u8>>> {
    let key = keys.index(part);
    let (_, command) = range(&key, after, SLICE);
    let members = of_ours(servers.call_each(&[(key.clone(), command)], deadline()).await?.remove(0))?;
    let mut members = members.and_then(texts).unwrap_or_default();
    let names: Vec<Name> = members.iter().filter_map(|member| Name::parse(member)).collect();
    take_gone(servers, keys, &names, now).await?;
    Ok(if members.len() == SLICE { members.pop() } else { None })
}

/// Removes the names of one handle that have no session.
pub(super) async fn tidy_handle(
    servers: &Arc<Servers>,
    keys: &Keys,
    handle: Handle,
    now: Timestamp,
) -> Result<()> {
    let key = keys.index(handle.as_bytes()[0]);
    // Before every name of the handle; it has fewer names than this.
    let (_, command) = range(&key, handle.as_bytes(), SLICE);
    let members = texts(servers.call(&key, &command, deadline()).await?).unwrap_or_default();
    let names = members.iter().filter_map(|member| Name::parse(member));
    let names: Vec<Name> = names.take_while(|name| name.handle == handle).collect();
    take_gone(servers, keys, &names, now).await
}

/// Removes from these sets of labels names without a session, and those of sessions that have other labels now. Of each set a
/// batch is examined, from a random name on: a label may have millions of sessions, and readers skip what is left.
pub(super) async fn tidy_labels(
    servers: &Arc<Servers>,
    keys: &Keys,
    found: &[Vec<u8>],
    now: Timestamp,
) -> Result<()> {
    for key in found {
        let Some((first, label)) = keys.label_of(key) else { continue };
        let mut from = *SessionId::generate().handle().as_bytes();
        from[0] = first;
        let mut names = names_after(servers, key, &from).await?;
        if names.len() < SLICE {
            names.extend(names_after(servers, key, &[]).await?);
        }
        names.retain(|name| name.mark.age(now) >= OLD);
        let gone = without_label(servers, keys, &names, &label).await?;
        if gone.is_empty() {
            continue;
        }
        let mut remove = redis::cmd("ZREM");
        remove.arg(key).arg(gone.iter().map(Name::to_bytes).collect::<Vec<_>>());
        servers.call(key, &remove, deadline()).await?;
        // Others may have given one the label since it was read, and added its name before that.
        let still = without_label(servers, keys, &gone, &label).await?;
        for name in gone.iter().filter(|name| !still.contains(name)) {
            let mut add = redis::cmd("ZADD");
            add.arg(key).arg("NX").arg(SCORE).arg(name.to_bytes());
            servers.call(key, &add, deadline()).await?;
        }
    }
    Ok(())
}

/// A batch of names of a set, after a member.
async fn names_after(servers: &Arc<Servers>, key: &[u8], after: &[u8]) -> Result<Vec<Name>> {
    let (key, command) = range(key, after, SLICE);
    let members = of_ours(servers.call_each(&[(key, command)], deadline()).await?.remove(0))?;
    Ok(members.and_then(texts).unwrap_or_default().iter().filter_map(|member| Name::parse(member)).collect())
}

/// Those of these names whose session is gone, or has no such label.
async fn without_label(
    servers: &Arc<Servers>,
    keys: &Keys,
    names: &[Name],
    label: &Label,
) -> Result<Vec<Name>> {
    let handles: Vec<Handle> = names.iter().map(|name| name.handle).collect();
    let (mut without, mut asked) = (Vec::new(), names.iter());
    read_each(servers, keys, &handles, deadline(), |_, stored: Stored<Summary>| {
        let Some(name) = asked.next() else { return true };
        let is_without = match stored {
            Stored::Found(summary) => summary.mark != name.mark || !summary.labels.has(label),
            Stored::Unreadable => false,
            Stored::Missing => true,
        };
        if is_without {
            without.push(name.clone());
        }
        false
    })
    .await?;
    Ok(without)
}

/// Removes those of these names, all of one set, that are old and have no session. The name of an unreadable record stays:
/// otherwise nobody could find that record.
async fn take_gone(servers: &Arc<Servers>, keys: &Keys, names: &[Name], now: Timestamp) -> Result<()> {
    let old: Vec<&Name> = names.iter().filter(|name| name.mark.age(now) >= OLD).collect();
    let handles: Vec<Handle> = old.iter().map(|name| name.handle).collect();
    let stored = beginnings(servers, keys, &handles, UP_TO_MARK, deadline()).await?;
    let is_gone = |name: &Name, stored: Stored<Vec<u8>>| match stored {
        Stored::Found(beginning) => layout::mark(&beginning).is_some_and(|mark| mark != name.mark),
        Stored::Unreadable => false,
        Stored::Missing => true,
    };
    let gone = old.into_iter().zip(stored).filter_map(|(name, stored)| is_gone(name, stored).then_some(name));
    let gone: Vec<Vec<u8>> = gone.map(Name::to_bytes).collect();
    if let Some(name) = names.first()
        && !gone.is_empty()
    {
        let key = keys.index(name.handle.as_bytes()[0]);
        let mut remove = redis::cmd("ZREM");
        remove.arg(&key).arg(&gone);
        servers.call(&key, &remove, deadline()).await?;
    }
    Ok(())
}
