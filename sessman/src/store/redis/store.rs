//! The store itself: each call of the contract as one script, and for a session of a user a name beside it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use redis::{Cmd, Value};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};

use super::config::RedisConfig;
use super::failure::Trouble;
use super::keys::{Keys, Kind, Name};
use super::layout::{self, HEAD_BYTES, Life, MARK_BYTES, Mark, unreadable};
use super::scripts::{CREATE, DELETE, PURGE, UPDATE};
use super::servers::{CALL_LIMIT, Servers, deadline};
use super::sweep::{Scan, bytes, of_ours};
use super::users;
use crate::id::{Handle, SecretHash};
use crate::record::{Change, Record};
use crate::store::{
    Claim, Claimed, Counts, Created, Expected, Listing, Loaded, Page, Purged, Result, Store, StoreError,
    Updated,
};
use crate::time::Timestamp;

/// The servers' own expiry comes so much later, so that a clock of theirs that is ahead ends nothing early.
const LAG: Duration = Duration::from_secs(60);

/// Calls under way at once; what waits for a server that hangs stays bounded.
const MAX_CALLS: u32 = 1_024;

/// Records that are read or deleted in one go.
const SLICE: usize = 250;

/// Deletions under way at once, of many that are to be made.
const TOGETHER: usize = 64;

/// Sessions in Redis. See [the module](super) for what is promised.
pub struct RedisStore {
    servers: Arc<Servers>,
    keys: Keys,
    calls: Semaphore,
    /// The engine's time when it last said it, in milliseconds.
    latest: AtomicI64,
    /// Where the last slice of a purge ended.
    purged_to: Mutex<Option<String>>,
}

/// A call that is under way, and when it must have ended.
struct Turn<'a> {
    deadline: Instant,
    _permit: SemaphorePermit<'a>,
}

/// When a server may remove a record, in milliseconds.
pub(super) fn removal(expires_at: Timestamp) -> i64 {
    expires_at.after(LAG).as_millis()
}

fn unexpected() -> StoreError {
    StoreError::Unusable("Redis answered with something that its command does not have".into())
}

impl RedisStore {
    /// Opens the store and returns at once, whether a server is there or not: calls fail with
    /// [`StoreError::Unavailable`] until one is.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] for a configuration that [`RedisConfig::check`] refuses.
    pub fn open(config: &RedisConfig) -> Result<Self> {
        let settings = config.settings().map_err(|problem| StoreError::Unusable(problem.to_string()))?;
        let keys = Keys::new(&settings.prefix);
        Ok(Self {
            servers: Servers::new(settings),
            keys,
            calls: Semaphore::new(MAX_CALLS as usize),
            latest: AtomicI64::new(i64::MIN),
            purged_to: Mutex::default(),
        })
    }

    async fn turn(&self) -> Result<Turn<'_>> {
        let deadline = deadline();
        let permit = timeout_at(deadline, self.calls.acquire()).await;
        let permit = permit.map_err(|_| Trouble::TimedOut(CALL_LIMIT))?.map_err(|_| Trouble::Closed)?;
        Ok(Turn { deadline, _permit: permit })
    }

    fn saw(&self, now: Timestamp) {
        self.latest.fetch_max(now.as_millis(), Ordering::Relaxed);
    }

    /// The record of `handle`, live or not, and its mark. Reading may be done twice: a connection that broke is not the
    /// end of it.
    async fn read(&self, handle: Handle, deadline: Instant) -> Result<Option<(Record, Mark)>> {
        let key = self.keys.session(handle);
        let mut command = redis::cmd("GET");
        command.arg(&key);
        let answer = match self.servers.call(&key, &command, deadline).await {
            Err(Trouble::Broken(_)) => self.servers.call(&key, &command, deadline).await?,
            other => other?,
        };
        match answer {
            Value::Nil => Ok(None),
            value => layout::read(handle, &bytes(value).ok_or_else(unexpected)?).map(Some),
        }
    }

    /// The records of several handles, in their order. What is there and cannot be read is left out, and reported.
    async fn read_all(&self, handles: &[Handle], deadline: Instant) -> Result<Vec<Option<(Record, Mark)>>> {
        let commands: Vec<(Vec<u8>, Cmd)> = handles
            .iter()
            .map(|handle| {
                let key = self.keys.session(*handle);
                let mut command = redis::cmd("GET");
                command.arg(&key);
                (key, command)
            })
            .collect();
        let answers = self.servers.call_each(&commands, deadline).await?;
        let read = |(handle, answer)| {
            let Some(found) = of_ours(answer)?.and_then(bytes) else { return Ok(None) };
            Ok(layout::read(handle, &found)
                .inspect_err(|unreadable| tracing::warn!(%unreadable, "a key is left out of the sessions"))
                .ok())
        };
        handles.iter().copied().zip(answers).map(read).collect()
    }

    /// Deletes a record and its name.
    async fn delete_record(
        &self,
        handle: Handle,
        secret_hash: Option<SecretHash>,
        deadline: Instant,
    ) -> Result<bool> {
        let key = self.keys.session(handle);
        let secret = secret_hash.map_or(Vec::new(), |secret_hash| secret_hash.as_bytes().to_vec());
        let answer = self.servers.run(&DELETE, &key, &[secret], deadline).await?;
        let parts = match answer {
            Value::Int(0) => return Ok(false),
            Value::Array(parts) => parts,
            _ => return Err(unexpected()),
        };
        let parts = parts.into_iter().map(bytes).collect::<Option<Vec<_>>>().ok_or_else(unexpected)?;
        let [mark, user_id] = &parts[..] else { return Err(unexpected()) };
        let (mark, user_id) = (mark.as_slice().try_into(), std::str::from_utf8(user_id));
        if let (Ok(mark), Ok(user_id)) = (mark, user_id)
            && !user_id.is_empty()
        {
            let name = Name { handle, mark };
            users::take_name(&self.servers, &self.keys.names(user_id), &name, deadline).await;
        }
        Ok(true)
    }

    async fn list_of(
        &self,
        user_id: &str,
        after: Option<Handle>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page> {
        let turn = self.turn().await?;
        let names = users::names(&self.servers, &self.keys.names(user_id), turn.deadline).await?;
        let mut page = Page::default();
        let begin = names.partition_point(|name| Some(name.handle) <= after);
        for slice in names[begin..].chunks(SLICE) {
            let handles: Vec<Handle> = slice.iter().map(|name| name.handle).collect();
            for (name, found) in slice.iter().zip(self.read_all(&handles, turn.deadline).await?) {
                let Some((record, mark)) = found else { continue };
                let is_named = mark == name.mark && record.user_id.as_deref() == Some(user_id);
                if !is_named || !record.is_live(now) {
                    continue;
                }
                if page.records.len() == limit {
                    page.next = page.records.last().map(|record| record.handle);
                    return Ok(page);
                }
                page.records.push(Arc::new(record));
            }
        }
        Ok(page)
    }

    /// A page of all: the smallest handles behind `after` that a walk over all keys finds.
    async fn list_all(&self, mut after: Option<Handle>, limit: usize, now: Timestamp) -> Result<Page> {
        // Some that are found are past their time.
        let wanted = limit.saturating_add(limit / 4).saturating_add(16);
        let mut page = Page::default();
        loop {
            let smallest = self.smallest(after, wanted).await?;
            let handles: Vec<Handle> = smallest.iter().copied().collect();
            for slice in handles.chunks(SLICE) {
                for (record, _) in self.read_all(slice, deadline()).await?.into_iter().flatten() {
                    if !record.is_live(now) {
                        continue;
                    }
                    if page.records.len() == limit {
                        page.next = page.records.last().map(|record| record.handle);
                        return Ok(page);
                    }
                    page.records.push(Arc::new(record));
                }
            }
            if handles.len() < wanted {
                return Ok(page);
            }
            after = handles.last().copied();
        }
    }

    async fn smallest(&self, after: Option<Handle>, wanted: usize) -> Result<BTreeSet<Handle>> {
        let mut smallest = BTreeSet::new();
        let mut scan = self.scan(Kind::Session, None).await?;
        while let Some(found) = scan.next().await? {
            for handle in found.iter().filter_map(|key| self.keys.session_of(key)) {
                if Some(handle) > after {
                    smallest.insert(handle);
                    if smallest.len() > wanted {
                        smallest.pop_last();
                    }
                }
            }
        }
        Ok(smallest)
    }

    async fn scan(&self, kind: Kind, position: Option<&str>) -> Result<Scan> {
        Ok(Scan::resume(&self.servers, self.keys.pattern(kind), position).await?)
    }

    /// Hands over what every record's head says, each once.
    async fn lives(&self, mut each: impl FnMut(Life)) -> Result<()> {
        // A walk may find a key twice. The first bytes of a handle are as random as all of them.
        let mut seen = HashSet::new();
        let mut scan = self.scan(Kind::Session, None).await?;
        while let Some(found) = scan.next().await? {
            let mut handles: Vec<Handle> = found.iter().filter_map(|key| self.keys.session_of(key)).collect();
            handles.retain(|handle| seen.insert(beginning(*handle)));
            self.heads(&handles).await?.into_iter().flatten().for_each(&mut each);
        }
        Ok(())
    }

    async fn heads(&self, handles: &[Handle]) -> Result<Vec<Option<Life>>> {
        let commands: Vec<(Vec<u8>, Cmd)> = handles
            .iter()
            .map(|handle| {
                let key = self.keys.session(*handle);
                let mut command = redis::cmd("GETRANGE");
                command.arg(&key).arg(0).arg(HEAD_BYTES - 1);
                (key, command)
            })
            .collect();
        let answers = self.servers.call_each(&commands, deadline()).await?;
        answers
            .into_iter()
            .map(|answer| Ok(of_ours(answer)?.and_then(bytes).and_then(|head| layout::life(&head).ok())))
            .collect()
    }

    /// Deletes at most `limit` of what a walk from `position` finds past its time: how many, and where it was then.
    async fn purge_from(
        &self,
        position: Option<&str>,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<Purged>, Option<String>)> {
        let mut scan = self.scan(Kind::Session, position).await?;
        let (mut purged, mut from) = (Vec::new(), scan.position());
        while let Some(found) = scan.next().await? {
            let handles: Vec<Handle> = found.iter().filter_map(|key| self.keys.session_of(key)).collect();
            let heads = self.heads(&handles).await?;
            let expired = handles.iter().zip(heads);
            let expired = expired.filter(|(_, life)| life.is_some_and(|life| life.expires_at <= now));
            for (handle, _) in expired {
                let Some((record, _)) = self.read(*handle, deadline()).await? else { continue };
                // The condition again, in one step with the deletion: one that was extended since stays.
                let key = self.keys.session(*handle);
                let arguments = [now.as_millis().to_string()];
                let answer = self.servers.run(&PURGE, &key, &arguments, deadline()).await?;
                purged.extend((answer == Value::Int(1)).then(|| Purged::of(&record)));
                if purged.len() == limit {
                    return Ok((purged, from));
                }
            }
            from = scan.position();
        }
        Ok((purged, None))
    }
}

/// What stands for a handle where memory counts.
fn beginning(handle: Handle) -> u64 {
    let bytes = handle.as_bytes();
    u64::from_be_bytes(std::array::from_fn(|index| bytes[index]))
}

#[async_trait]
impl Store for RedisStore {
    async fn create(&self, record: Arc<Record>, now: Timestamp) -> Result<Created> {
        self.saw(now);
        let Turn { deadline, _permit } = self.turn().await?;
        let mut mark: Mark = [0; MARK_BYTES];
        getrandom::fill(&mut mark)
            .map_err(|error| StoreError::Unusable(format!("the system gives no randomness: {error}")))?;
        let named = record
            .user_id
            .as_deref()
            .map(|user_id| (self.keys.names(user_id), Name { handle: record.handle, mark }));
        if let Some((key, name)) = &named {
            users::add_name(&self.servers, key, name, record.expires_at, deadline).await?;
        }
        let arguments = [
            now.as_millis().to_string().into_bytes(),
            layout::write(&record, &mark),
            removal(record.expires_at).to_string().into_bytes(),
        ];
        let key = self.keys.session(record.handle);
        match self.servers.run(&CREATE, &key, &arguments, deadline).await? {
            Value::Int(1) => Ok(Created::Yes),
            Value::Int(0) => {
                if let Some((key, name)) = &named {
                    users::take_name(&self.servers, key, name, deadline).await;
                }
                Ok(Created::Exists)
            }
            _ => Err(unexpected()),
        }
    }

    async fn load(&self, handle: Handle, now: Timestamp) -> Result<Loaded> {
        self.saw(now);
        let turn = self.turn().await?;
        let found = self.read(handle, turn.deadline).await?;
        Ok(Loaded::of(found.map(|(record, _)| Arc::new(record)), now))
    }

    async fn update(&self, handle: Handle, expected: Expected, change: &Change) -> Result<Updated> {
        self.saw(change.now);
        let Turn { deadline, _permit } = self.turn().await?;
        let key = self.keys.session(handle);
        let mut mark = Vec::new();
        if let Some(user_id) = &change.user_id {
            let mut command = redis::cmd("GETRANGE");
            command.arg(&key).arg(0).arg(HEAD_BYTES - 1);
            let head = self.servers.call(&key, &command, deadline).await?;
            let head = bytes(head).ok_or_else(unexpected)?;
            if head.is_empty() {
                return Ok(Updated::Missing);
            }
            let name = Name { handle, mark: layout::mark(&head)? };
            let names = self.keys.names(user_id);
            users::add_name(&self.servers, &names, &name, change.times.expires_at, deadline).await?;
            mark = name.mark.to_vec();
        }
        let moment = |at: Option<Timestamp>| at.map_or(Vec::new(), |at| layout::moment(at).to_vec());
        let text = |text: Option<&str>| text.unwrap_or_default().as_bytes().to_vec();
        let times = [change.times.reset_at, change.times.last_activity, change.times.expires_at];
        let arguments = [
            change.now.as_millis().to_string().into_bytes(),
            expected.secret_hash.as_bytes().to_vec(),
            expected.version.map_or(Vec::new(), |version| layout::version(version).to_vec()),
            moment(expected.last_activity),
            times.map(layout::moment).concat(),
            removal(change.times.expires_at).to_string().into_bytes(),
            change.secret_hash.map_or(Vec::new(), |secret_hash| secret_hash.as_bytes().to_vec()),
            moment(change.counts().then_some(change.now)),
            text(change.user_id.as_deref()),
            text(change.data.as_ref().map(crate::data::Data::as_str)),
            text(change.metadata.as_ref().map(crate::data::Data::as_str)),
            mark,
        ];
        match self.servers.run(&UPDATE, &key, &arguments, deadline).await? {
            Value::Int(0) => Ok(Updated::Missing),
            Value::Array(parts) => match &parts[..] {
                [Value::BulkString(version)] => {
                    let version = version.as_slice().try_into().map_err(|_| unreadable())?;
                    Ok(Updated::Conflict(u64::from_be_bytes(version)))
                }
                _ => Err(unexpected()),
            },
            value => {
                let (record, _) = layout::read(handle, &bytes(value).ok_or_else(unexpected)?)?;
                Ok(Updated::Done(Arc::new(record)))
            }
        }
    }

    async fn delete(&self, handle: Handle, secret_hash: Option<SecretHash>) -> Result<bool> {
        let turn = self.turn().await?;
        self.delete_record(handle, secret_hash, turn.deadline).await
    }

    async fn list(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page> {
        self.saw(now);
        let (after, limit) = (listing.after, listing.limit.max(1));
        match listing.user_id {
            Some(user_id) => self.list_of(user_id, after, limit, now).await,
            None => self.list_all(after, limit, now).await,
        }
    }

    async fn counts(&self, now: Timestamp) -> Result<Counts> {
        let mut counts = Counts::default();
        self.lives(|life| match now < life.expires_at {
            true => counts.active += 1,
            false => counts.expired += 1,
        })
        .await?;
        Ok(counts)
    }

    async fn counts_since(&self, now: Timestamp, moments: &[Timestamp]) -> Result<Vec<u64>> {
        let mut counts = vec![0; moments.len()];
        self.lives(|life| {
            for (moment, count) in moments.iter().zip(&mut counts) {
                *count += u64::from(now < life.expires_at && life.created_at >= *moment);
            }
        })
        .await?;
        Ok(counts)
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed> {
        let turn = self.turn().await?;
        users::claim(&self.servers, &self.keys, claim, turn.deadline).await
    }

    async fn release(&self, user_id: &str, handles: &[Handle]) -> Result<()> {
        let turn = self.turn().await?;
        users::release(&self.servers, &self.keys.places(user_id), handles, turn.deadline).await
    }

    async fn tidy_claims(&self, now: Timestamp, after: Option<&str>, limit: usize) -> Result<Option<String>> {
        self.saw(now);
        if after.is_none() {
            users::tidy_names(&self.servers, &self.keys, now).await?;
        }
        users::tidy_places(&self.servers, &self.keys, now, after, limit).await
    }

    async fn forget_claims(&self) -> Result<()> {
        // Names are tidied with the places, and where there are no places instead of them.
        let latest = Timestamp::from_millis(self.latest.load(Ordering::Relaxed));
        users::tidy_names(&self.servers, &self.keys, latest).await?;
        let mut scan = self.scan(Kind::Places, None).await?;
        while let Some(found) = scan.next().await? {
            let delete = |key: Vec<u8>| {
                let mut command = redis::cmd("DEL");
                command.arg(&key);
                (key, command)
            };
            let commands: Vec<(Vec<u8>, Cmd)> = found.into_iter().map(delete).collect();
            for answer in self.servers.call_each(&commands, deadline()).await? {
                answer.map_err(Trouble::from)?;
            }
        }
        Ok(())
    }

    async fn purge_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Purged>> {
        self.saw(now);
        // Goes on where the last slice ended, and then over all of it, so that a long purge is not a walk over all keys
        // for each slice.
        let mut purged_to = self.purged_to.lock().await;
        let mut purged = Vec::new();
        if let Some(position) = purged_to.take() {
            (purged, *purged_to) = self.purge_from(Some(&position), now, limit).await?;
        }
        if purged.len() < limit {
            let (more, position) = self.purge_from(None, now, limit - purged.len()).await?;
            purged.extend(more);
            *purged_to = position;
        }
        Ok(purged)
    }

    async fn clear(&self) -> Result<u64> {
        let mut cleared = 0;
        let mut scan = self.scan(Kind::Session, None).await?;
        while let Some(found) = scan.next().await? {
            let handles: Vec<Handle> = found.iter().filter_map(|key| self.keys.session_of(key)).collect();
            let deletions = stream::iter(handles).map(|handle| async move {
                match self.delete_record(handle, None, deadline()).await {
                    // It is under one of our names, but not ours to delete.
                    Err(StoreError::Unusable(_)) => Ok(0),
                    deleted => deleted.map(u64::from),
                }
            });
            cleared += deletions
                .buffer_unordered(TOGETHER)
                .try_fold(0, |sum, one| async move { Ok(sum + one) })
                .await?;
        }
        self.forget_claims().await?;
        Ok(cleared)
    }

    async fn ping(&self) -> Result<()> {
        let turn = self.turn().await?;
        // A write that finds nothing to write to: a replica, a login that may not write and a full memory refuse it, too.
        let key = self.keys.ping();
        let mut command = redis::cmd("SET");
        command.arg(&key).arg("").arg("XX");
        self.servers.call(&key, &command, turn.deadline).await?;
        Ok(())
    }

    async fn close(&self) {
        // Nothing that still hangs after this long will be done.
        let _ = timeout(CALL_LIMIT, self.calls.acquire_many(MAX_CALLS)).await;
        self.calls.close();
        self.servers.close();
    }
}
