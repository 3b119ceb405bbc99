//! The store itself: each method as one command or script, with the index entries of what it creates or ends.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Value};
use tokio::time::{Instant, timeout};

use super::checkup;
use super::deletion::{Deleted, Deletion};
use super::failure::Trouble;
use super::index;
use super::keys::{Kind, Name};
use super::layout::{self, unexpected, unreadable};
use super::places;
use super::reading::{Stored, read_each};
use super::retention::{kept, removal};
use super::scripts::{CREATE, LEAD, UPDATE};
use super::servers::{CALL_LIMIT, deadline};
use super::state::{MAX_CALLS, RedisStore, Turn};
use super::sweep::Scan;
use super::users;
use super::values::{bytes, of_ours};
use crate::data::Data;
use crate::id::Handle;
use crate::record::{Change, Outline, Record, Summary, Times};
use crate::store::{
    Checkup, Claim, Claimed, Counts, Created, Listing, Loaded, Outlined, Page, PlacesPage, Purged, Result,
    Store, Target, Unless, Updated,
};
use crate::time::Timestamp;

impl RedisStore {
    /// The record of `handle`, live or not. Reads are idempotent, so one retry follows a broken connection.
    async fn read(&self, handle: Handle, deadline: Instant) -> Result<Option<Record>> {
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

    /// The commands that add the names of a session: to the index of all, and to that of its user.
    fn add_names(&self, name: &Name, record: &Record) -> impl Iterator<Item = (Vec<u8>, Cmd)> {
        let among_all = users::add_name(self.keys.index(name.handle.as_bytes()[0]), name, index::SCORE);
        let among_users = record
            .user_id
            .as_ref()
            .map(|user_id| users::add_name(self.keys.names(user_id), name, removal(record.expires_at)));
        let first = name.handle.as_bytes()[0];
        let among_labels = record
            .labels
            .iter()
            .map(move |label| users::add_name(self.keys.label(first, label), name, index::SCORE));
        [among_all].into_iter().chain(among_users).chain(among_labels)
    }

    /// Writes a record if the handle is free, after its names; returns whether it was written.
    async fn write_new(
        &self,
        record: &Record,
        value: &[u8],
        now: Timestamp,
        deadline: Instant,
    ) -> Result<bool> {
        let key = self.keys.session(record.handle);
        let mut command = redis::cmd("SET");
        command.arg(&key).arg(value).arg("NX").arg("PX").arg(kept(record.expires_at, now));
        let commands: Vec<_> = self.add_names(&Name::of(record), record).chain([(key, command)]).collect();
        let mut answers = self.servers.call_in_order(&commands, deadline).await?;
        let written = if answers.len() == commands.len() { answers.pop() } else { None };
        if let Some(Err(refusal)) = answers.into_iter().find(|answer| answer.is_err()) {
            if let Some(Ok(Value::Okay)) = written {
                // Without its names the session would be in no list, so it is rolled back.
                let this = Target::incarnation(record.handle, record.mark);
                self.delete_records(&[this], None, deadline).await.done?;
            }
            return Err(Trouble::from(refusal).into());
        }
        match written.transpose().map_err(Trouble::from)? {
            Some(Value::Okay) => Ok(true),
            Some(Value::Nil) => Ok(false),
            _ => Err(unexpected()),
        }
    }

    async fn scan(&self, kind: Kind, position: Option<&str>) -> Result<Scan> {
        Ok(Scan::resume(&self.servers, self.keys.pattern(kind), position).await?)
    }

    /// Deletes at most `limit` expired records that a scan from `position` finds; returns how many, and the new position.
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
            let spans = self.spans(&handles).await?;
            let expired = handles.iter().zip(spans);
            let expired = expired.filter(|(_, span)| span.is_some_and(|span| span.expires_at <= now));
            let mut targets: Vec<Target> = expired.map(|(handle, _)| Target::whatever(*handle)).collect();
            targets.truncate(limit - purged.len());
            // Expiry is checked again in the atomic deletion: a session extended meanwhile stays.
            let Deletion { deleted, done, .. } = self.delete_records(&targets, Some(now), deadline()).await;
            self.take_names(&deleted).await;
            done?;
            let one = |Deleted { handle, user_id, .. }| Purged { handle, user_id };
            purged.extend(deleted.into_iter().map(one));
            if purged.len() == limit {
                return Ok((purged, from));
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
        let value = layout::write(&record);
        if self.write_new(&record, &value, now, deadline).await? {
            return Ok(Created::Yes);
        }
        // The server keeps records a little longer than they live.
        let arguments = [now.as_millis().to_string().into_bytes(), value, kept(record.expires_at, now)];
        let key = self.keys.session(record.handle);
        match self.servers.run(&CREATE, &key, &arguments, deadline).await? {
            Value::Int(1) => Ok(Created::Yes),
            Value::BulkString(mark) => {
                // If it is this very session, as after a retried call, the name is in use.
                if mark != record.mark.as_bytes() {
                    self.take_name_later(&record).await;
                }
                Ok(Created::Exists)
            }
            _ => Err(unexpected()),
        }
    }

    fn suits(&self, handle: Handle) -> bool {
        let (session, index) = (self.keys.session(handle), self.keys.index(handle.as_bytes()[0]));
        self.servers.are_together(&session, &index) && !self.servers.is_suffering(&session)
    }

    async fn load(&self, handle: Handle, now: Timestamp) -> Result<Loaded> {
        self.saw(now);
        let turn = self.turn().await?;
        let found = self.read(handle, turn.deadline).await?;
        Ok(Loaded::of(found.map(Arc::new), now))
    }

    async fn update(&self, read: &Record, unless: Unless, change: &Change) -> Result<Updated> {
        let Change { secret_hash, user_id, data, metadata, terms, labels, mac, now, times } = change;
        let Times { reset_at, last_activity: seen_at, expires_at } = *times;
        self.saw(*now);
        let Turn { deadline, _permit } = self.turn().await?;
        if let Some(user_id) = user_id {
            let score = removal(expires_at);
            let (names, command) = users::add_name(self.keys.names(user_id), &Name::of(read), score);
            self.servers.call(&names, &command, deadline).await?;
        }
        if let Some(labels) = labels {
            let (name, first) = (Name::of(read), read.handle.as_bytes()[0]);
            let more = labels.iter().filter(|label| !read.labels.has(label));
            let commands: Vec<_> = more
                .map(|label| users::add_name(self.keys.label(first, label), &name, index::SCORE))
                .collect();
            for answer in self.servers.call_each(&commands, deadline).await? {
                of_ours(answer)?;
            }
        }
        let text = |text: Option<&str>| text.unwrap_or_default().as_bytes().to_vec();
        // What is compared with the record as it is: version, terms and tail; last activity.
        let as_read = || {
            let (version, terms) = (layout::version(read.version), layout::terms(&read.terms()));
            [&version[..], &terms, &layout::tail(read)].concat()
        };
        let (unchanged, last_activity) = match unless {
            Unless::Gone => (Vec::new(), Vec::new()),
            Unless::Changed => (as_read(), Vec::new()),
            Unless::Written => (as_read(), layout::moment(read.last_activity).to_vec()),
        };
        let mut tail = Vec::new();
        if terms.is_some() || labels.is_some() || mac.is_some() {
            // An empty tail differs from one that stays.
            tail.push(b'=');
            tail.extend(layout::tail(&change.applied_to(read)));
        }
        let arguments = [
            now.as_millis().to_string().into_bytes(),
            read.mark.as_bytes().to_vec(),
            read.secret_hash.as_bytes().to_vec(),
            unchanged,
            last_activity,
            [reset_at, seen_at, expires_at].map(layout::moment).concat(),
            kept(expires_at, *now),
            secret_hash.map_or(Vec::new(), |secret_hash| secret_hash.as_bytes().to_vec()),
            if change.counts() { layout::moment(*now).to_vec() } else { Vec::new() },
            text(user_id.as_deref()),
            text(data.as_ref().map(Data::as_str)),
            text(metadata.as_ref().map(Data::as_str)),
            tail,
            terms.map_or(Vec::new(), |terms| layout::terms(&terms).to_vec()),
        ];
        let key = self.keys.session(read.handle);
        let updated = match secret_hash {
            // A failover must not bring the old id back.
            Some(_) => self.servers.run_durably(&UPDATE, &key, &arguments, deadline).await?,
            None => self.servers.run(&UPDATE, &key, &arguments, deadline).await?,
        };
        match updated {
            Value::Int(0) => Ok(Updated::Missing),
            Value::BulkString(bytes) => {
                let (lived_until, record) = bytes.split_first_chunk().ok_or_else(unexpected)?;
                let record = Arc::new(layout::read(read.handle, record)?);
                Ok(Updated::Done { record, lived_until: layout::read_moment(*lived_until) })
            }
            Value::Array(parts) => match &parts[..] {
                [Value::BulkString(version)] => {
                    let version = version.as_slice().try_into().map_err(|_| unexpected())?;
                    Ok(Updated::Conflict(u64::from_be_bytes(version)))
                }
                _ => Err(unexpected()),
            },
            _ => Err(unexpected()),
        }
    }

    async fn delete(&self, targets: &[Target]) -> Result<Vec<Handle>> {
        let turn = self.turn().await?;
        let Deletion { deleted, is_any_refused, done } =
            self.delete_records(targets, None, turn.deadline).await;
        let handles = deleted.iter().map(|deleted| deleted.handle).collect();
        self.take_names_later(deleted).await;
        match done {
            Ok(()) if is_any_refused => Err(unreadable()),
            done => done.map(|()| handles),
        }
    }

    async fn outlines(&self, handles: &[Handle]) -> Result<Vec<Outlined>> {
        let turn = self.turn().await?;
        let mut outlines = Vec::with_capacity(handles.len());
        let put = |_, stored: Stored<Outline>| {
            outlines.push(match stored {
                Stored::Found(outline) => Outlined::Found(outline),
                Stored::Unreadable => Outlined::Unreadable,
                Stored::Missing => Outlined::Missing,
            });
            false
        };
        read_each(&self.servers, &self.keys, handles, turn.deadline, put).await?;
        Ok(outlines)
    }

    async fn list(&self, listing: Listing<'_>, now: Timestamp) -> Result<Page<Summary>> {
        self.saw(now);
        self.page(listing, now).await
    }

    async fn records(
        &self,
        after: Option<Handle>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<Arc<Record>>> {
        self.saw(now);
        self.list_all(None, after, limit.max(1), now).await
    }

    async fn counts(&self, now: Timestamp, since: &[Timestamp]) -> Result<Counts> {
        self.saw(now);
        self.count(now, since).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Claimed> {
        let turn = self.turn().await?;
        places::claim(&self.servers, &self.keys, claim, turn.deadline).await
    }

    async fn release(&self, user_id: &str, handles: &[Handle]) -> Result<()> {
        let turn = self.turn().await?;
        places::release(&self.servers, &self.keys, user_id, handles, turn.deadline).await
    }

    async fn places(&self, user_id: &str) -> Result<Vec<Handle>> {
        let turn = self.turn().await?;
        places::of(&self.servers, &self.keys, user_id, turn.deadline).await
    }

    async fn all_places(&self, after: Option<&str>, limit: usize) -> Result<PlacesPage> {
        places::page(&self.servers, &self.keys, after, limit).await
    }

    async fn forget_places(&self) -> Result<()> {
        places::forget(&self.servers, &self.keys).await
    }

    fn is_shared(&self) -> bool {
        true
    }

    /// By a lease of two periods: the leader renews it within one; if it does not, another process takes over.
    async fn leads_cleanup(&self, period: Duration) -> Result<bool> {
        let turn = self.turn().await?;
        let lease = (2 * period).max(Duration::from_secs(1)).as_millis().to_string();
        let arguments = [&self.name[..], lease.as_bytes()];
        match self.servers.run(&LEAD, &self.keys.lead(), &arguments, turn.deadline).await? {
            Value::Int(leads) => Ok(leads == 1),
            _ => Err(unexpected()),
        }
    }

    async fn tidy(&self, now: Timestamp) -> Result<()> {
        self.saw(now);
        self.tidying.tidy(&self.servers, &self.keys, now).await
    }

    async fn purge_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Purged>> {
        self.saw(now);
        // Continues after the last batch, and then wraps around, so that a long purge does not scan all keys for each batch.
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
            let handles = found.iter().filter_map(|key| self.keys.session_of(key));
            // A value of another type has one of our names, but is not ours to delete.
            let targets: Vec<Target> = handles.map(Target::whatever).collect();
            let Deletion { deleted, done, .. } = self.delete_records(&targets, None, deadline()).await;
            self.take_names(&deleted).await;
            done?;
            cleared += deleted.len() as u64;
        }
        self.forget_places().await?;
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
        // A call that hangs for longer than this will not complete.
        let _ = timeout(CALL_LIMIT, self.calls.acquire_many(MAX_CALLS)).await;
        self.leftovers.finish().await;
        self.calls.close();
        self.servers.close();
    }
}
