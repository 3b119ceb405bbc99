//! The store itself: each call of the contract as one command or script, and names beside what it begins or ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use redis::{Cmd, Value};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::checkup;
use super::config::RedisConfig;
use super::failure::Trouble;
use super::index;
use super::keys::{Keys, Kind, Name};
use super::layout::{self, HEAD_BYTES, Mark, is_unreadable, unexpected, unreadable};
use super::scripts::{CREATE, DELETE, UPDATE};
use super::servers::{CALL_LIMIT, Servers, deadline};
use super::sweep::{Scan, bytes};
use super::users;
use crate::id::{Handle, SecretHash};
use crate::record::{Change, Record};
use crate::store::{
    Checkup, Claim, Claimed, Counts, Created, Expected, Listing, Loaded, Page, Purged, Result, Store,
    StoreError, Updated,
};
use crate::time::Timestamp;

/// The servers' own expiry comes so much later, so that a clock of theirs that is ahead ends nothing early.
const LAG: Duration = Duration::from_secs(60);

/// Calls under way at once, which `close` waits for: as many as there can be. What is bounded is how many wait for one server.
const MAX_CALLS: u32 = 1 << 28;

/// Steps of a walk over all sessions, of [some keys](super::sweep) each, in which one clean-up looks for their names.
const MENDED_STEPS: usize = 32;

/// Deletions under way at once, of many that are to be made.
const TOGETHER: usize = 64;

/// Sessions in Redis. See [the module](super) for what is promised.
pub struct RedisStore {
    pub(super) servers: Arc<Servers>,
    pub(super) keys: Keys,
    calls: Semaphore,
    /// The engine's time when it last said it, in milliseconds.
    latest: AtomicI64,
    /// Where the last slice of a purge ended.
    purged_to: Mutex<Option<String>>,
    /// From which part of the index on the next clean-up tidies.
    tidied_to: AtomicU8,
    /// Where the last clean-up ended to mend names.
    mended_to: Mutex<Option<String>>,
}

/// A call that is under way, and when it must have ended.
pub(super) struct Turn<'a> {
    pub(super) deadline: Instant,
    _permit: SemaphorePermit<'a>,
}

/// When a server may remove a record, in milliseconds.
pub(super) fn removal(expires_at: Timestamp) -> i64 {
    expires_at.after(LAG).as_millis()
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
        // Several processes begin in different places, so that together they are round sooner.
        let mut tidied_to = [0];
        layout::fill_at_random(&mut tidied_to)?;
        Ok(Self {
            servers: Servers::new(settings),
            keys,
            calls: Semaphore::new(MAX_CALLS as usize),
            latest: AtomicI64::new(i64::MIN),
            purged_to: Mutex::default(),
            tidied_to: AtomicU8::new(tidied_to[0]),
            mended_to: Mutex::default(),
        })
    }

    pub(super) async fn turn(&self) -> Result<Turn<'_>> {
        let permit = self.calls.try_acquire().map_err(|_| Trouble::Closed)?;
        Ok(Turn { deadline: deadline(), _permit: permit })
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

    /// Deletes a record and its names, with conditions: its secret's hash, and that its time is over. Whose it was, if it
    /// did: the outer `None` says that it did not.
    async fn delete_record(
        &self,
        handle: Handle,
        secret_hash: Option<SecretHash>,
        now: Option<Timestamp>,
        deadline: Instant,
    ) -> Result<Option<Option<String>>> {
        let arguments = [
            secret_hash.map_or(Vec::new(), |secret_hash| secret_hash.as_bytes().to_vec()),
            now.map_or(Vec::new(), |now| now.as_millis().to_string().into_bytes()),
        ];
        let key = self.keys.session(handle);
        let deleted = match now {
            // What is past its time ends by itself, too.
            Some(_) => self.servers.run(&DELETE, &key, &arguments, deadline).await?,
            None => self.servers.run_durably(&DELETE, &key, &arguments, deadline).await?,
        };
        let parts = match deleted {
            Value::Int(0) => return Ok(None),
            Value::Array(parts) => parts.into_iter().map(bytes).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        let [mark, user_id] =
            <[Vec<u8>; 2]>::try_from(parts.unwrap_or_default()).map_err(|_| unexpected())?;
        let user_id = String::from_utf8(user_id).ok().filter(|user_id| !user_id.is_empty());
        if let Ok(mark) = mark.try_into() {
            self.take_names(&Name { handle, mark }, user_id.as_deref(), deadline).await;
        }
        Ok(Some(user_id))
    }

    /// The commands that write down the names of a session: among all, and among those of its user.
    fn add_names(&self, name: &Name, record: &Record) -> impl Iterator<Item = (Vec<u8>, Cmd)> {
        let among_all = users::add_name(self.keys.index(name.handle.as_bytes()[0]), name, index::SCORE);
        let among_users = record
            .user_id
            .as_ref()
            .map(|user_id| users::add_name(self.keys.names(user_id), name, removal(record.expires_at)));
        [among_all].into_iter().chain(among_users)
    }

    /// Writes a record where there is none, its names before it, and says whether it did.
    async fn write_new(&self, name: &Name, record: &Record, value: &[u8], deadline: Instant) -> Result<bool> {
        let key = self.keys.session(record.handle);
        let mut command = redis::cmd("SET");
        command.arg(&key).arg(value).arg("NX").arg("PXAT").arg(removal(record.expires_at));
        let commands: Vec<_> = self.add_names(name, record).chain([(key, command)]).collect();
        let mut answers = self.servers.call_in_order(&commands, deadline).await?;
        let written = if answers.len() == commands.len() { answers.pop() } else { None };
        if let Some(Err(refusal)) = answers.into_iter().find(|answer| answer.is_err()) {
            if let Some(Ok(Value::Okay)) = written {
                // Without its names it would be in no list.
                self.delete_record(record.handle, Some(record.secret_hash), None, deadline).await?;
            }
            return Err(Trouble::from(refusal).into());
        }
        match written.transpose().map_err(Trouble::from)? {
            Some(Value::Okay) => Ok(true),
            Some(Value::Nil) => Ok(false),
            _ => Err(unexpected()),
        }
    }

    /// Takes away the names of a session that is not there any more.
    async fn take_names(&self, name: &Name, user_id: Option<&str>, deadline: Instant) {
        let index = self.keys.index(name.handle.as_bytes()[0]);
        let from_all = users::take_name(&self.servers, &index, name, deadline);
        let Some(user_id) = user_id else { return from_all.await };
        let key = self.keys.names(user_id);
        join(from_all, users::take_name(&self.servers, &key, name, deadline)).await;
    }

    /// Takes away names of sessions that are not there: those of users, and a share of those of all. Of a share of the
    /// sessions it writes names that are not there.
    async fn tidy_names(&self, now: Timestamp) -> Result<()> {
        users::tidy_names(&self.servers, &self.keys, now).await?;
        let from = self.tidied_to.fetch_add(index::SHARE, Ordering::Relaxed);
        for part in 0..index::SHARE {
            index::tidy(&self.servers, &self.keys, from.wrapping_add(part), now).await?;
        }
        let mut mended_to = self.mended_to.lock().await;
        let mut scan = self.scan(Kind::Session, mended_to.take().as_deref()).await?;
        for _ in 0..MENDED_STEPS {
            let Some(found) = scan.next().await? else { break };
            let handles: Vec<Handle> = found.iter().filter_map(|key| self.keys.session_of(key)).collect();
            users::mend_names(&self.servers, &self.keys, &handles).await?;
        }
        *mended_to = scan.position();
        Ok(())
    }

    async fn scan(&self, kind: Kind, position: Option<&str>) -> Result<Scan> {
        Ok(Scan::resume(&self.servers, self.keys.pattern(kind), position).await?)
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
                // The condition again, in one step with the deletion: one that was extended since stays.
                let deleted = self.delete_record(*handle, None, Some(now), deadline()).await?;
                purged.extend(deleted.map(|user_id| Purged { handle: *handle, user_id }));
                if purged.len() == limit {
                    return Ok((purged, from));
                }
            }
            from = scan.position();
        }
        Ok((purged, None))
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn create(&self, record: Arc<Record>, now: Timestamp) -> Result<Created> {
        self.saw(now);
        let Turn { deadline, _permit } = self.turn().await?;
        let name = Name { handle: record.handle, mark: layout::new_mark(now)? };
        let value = layout::write(&record, &name.mark);
        if self.write_new(&name, &record, &value, deadline).await? {
            return Ok(Created::Yes);
        }
        // The server keeps records a little longer than they live.
        let arguments = [
            now.as_millis().to_string().into_bytes(),
            value,
            removal(record.expires_at).to_string().into_bytes(),
        ];
        let key = self.keys.session(record.handle);
        match self.servers.run(&CREATE, &key, &arguments, deadline).await? {
            Value::Int(1) => Ok(Created::Yes),
            Value::Int(0) => {
                self.take_names(&name, record.user_id.as_deref(), deadline).await;
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
            let score = removal(change.times.expires_at);
            let (names, command) = users::add_name(self.keys.names(user_id), &name, score);
            self.servers.call(&names, &command, deadline).await?;
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
        let updated = match change.secret_hash {
            Some(_) => self.servers.run_durably(&UPDATE, &key, &arguments, deadline).await?,
            None => self.servers.run(&UPDATE, &key, &arguments, deadline).await?,
        };
        match updated {
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
        Ok(self.delete_record(handle, secret_hash, None, turn.deadline).await?.is_some())
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
            self.tidy_names(now).await?;
        }
        users::tidy_places(&self.servers, &self.keys, now, after, limit).await
    }

    async fn forget_claims(&self) -> Result<()> {
        // Names are tidied with the places, and where there are no places instead of them.
        // Before the first call nobody knows how old a name is.
        let latest = self.latest.load(Ordering::Relaxed);
        if latest > i64::MIN {
            self.tidy_names(Timestamp::from_millis(latest)).await?;
        }
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
                match self.delete_record(handle, None, None, deadline()).await {
                    // It is under one of our names, but not ours to delete.
                    Err(error) if is_unreadable(&error) => Ok(0),
                    deleted => deleted.map(|deleted| u64::from(deleted.is_some())),
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
        self.servers.ping(&self.keys.ping(), turn.deadline).await?;
        Ok(())
    }

    fn metrics(&self) -> String {
        self.servers.to_string()
    }

    async fn checkup(&self) -> Result<Checkup> {
        checkup::of(&self.servers).await
    }

    async fn close(&self) {
        // Nothing that still hangs after this long will be done.
        let _ = timeout(CALL_LIMIT, self.calls.acquire_many(MAX_CALLS)).await;
        self.calls.close();
        self.servers.close();
    }
}
