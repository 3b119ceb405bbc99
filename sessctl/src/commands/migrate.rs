//! `migrate`: copies all sessions into the store of another configuration.
//!
//! Both stores are read in the order of handles, in parallel (a merge join): a missing session is written, an existing one
//! compared. So the command is idempotent, and can be restarted without a saved state.

use std::cmp::Ordering;
use std::sync::Arc;

use anyhow::{Result, bail};
use serde_json::json;
use sessman::record::Record;
use sessman::store::{self, StoreError, View};
use sessman::time::{Clock as _, SystemClock};

use crate::actor;
use crate::cli::Migrate;
use crate::failure::{Said, Usage};
use crate::line::Digest;
use crate::output::{Output, confirm, number};
use crate::pages::{Found, Pages, Reading};
use crate::progress::Progress;
use crate::retry::while_unavailable;
use crate::site::Site;
use crate::target::Target;
use crate::unread::Unreadable;

/// What was written and ended.
#[derive(Default)]
struct Copied {
    written: u64,
    /// Existing ones that are equal.
    same: u64,
    replaced: u64,
    /// Ended, as they were only in the other store.
    ended: u64,
}

/// The result of a comparison.
#[derive(Default)]
struct Compared {
    source: Side,
    target: Side,
    differing: u64,
    /// Only in the first store, and only in the other.
    missing: u64,
    surplus: u64,
}

#[derive(Default)]
struct Side {
    records: u64,
    digest: Digest,
    unreadable: Unreadable,
}

impl Side {
    fn add(&mut self, record: &Record) {
        self.records += 1;
        self.digest.add(record);
    }

    /// The record, if it can be read; otherwise it is counted.
    fn read(&mut self, found: Option<Found>) -> Option<Arc<Record>> {
        match found {
            Some(Found::Read(record)) => Some(record),
            Some(Found::Unread(unread)) => {
                self.unreadable.add(&unread);
                None
            }
            None => None,
        }
    }
}

/// Copies from `site` to `other`.
pub(super) async fn run(site: &Site, other: &Site, options: &Migrate, output: Output) -> Result<()> {
    for site in [site, other] {
        actor::in_a_process_of_its_own(site)?;
    }
    if site.config.encryption.is_some() && other.config.encryption.is_none() && !options.decrypt {
        bail!(Usage(format!(
            "the sessions of {} are encrypted, and {} has no `encryption_keys`; set them there, or say --decrypt",
            site.instance,
            options.to.display()
        )));
    }
    if site.config.store.is_same_place(&*other.config.store) {
        bail!(Usage("both configurations keep their sessions in the same place".to_owned()));
    }
    let warning = match options.overwrite {
        true => "\nSessions that differ there are replaced, and those that are there alone end.",
        false => "",
    };
    confirm(
        &format!("The sessions of {} are copied to {}.{warning}", site.describe(), other.describe()),
        options.confirmation.yes,
    )?;
    let source = store::open_to_read(&*site.config.store, None, View::Snapshot)?;
    let target = Target::open(other, other.config.encryption.as_ref())?;
    // Fails immediately if a store is unreachable at the start; retries are for later.
    source.ping().await?;
    target.store.ping().await?;
    let total = source.counts(target.now(), &[]).await.ok().map(|counts| counts.active);

    let now = target.now();
    let ours = || Pages::new(&*source, Reading::Opened(site.config.encryption.as_ref()), now);
    let theirs = || Pages::new(&*target.stored, Reading::Opened(other.config.encryption.as_ref()), now);
    let mut progress = Progress::begin("copied", total);
    let copied = copy(ours(), theirs(), &target, options.overwrite, &mut progress).await?;
    let copy_seconds = progress.end();
    let mut progress = Progress::begin("compared", total);
    let compared = compare(ours(), theirs(), &mut progress).await?;
    let seconds = copy_seconds + progress.end();
    target.end().await?;
    report(&copied, compared, seconds, output)
}

async fn copy(
    mut ours: Pages<'_>,
    mut theirs: Pages<'_>,
    target: &Target,
    overwrite: bool,
    progress: &mut Progress,
) -> Result<Copied> {
    let mut writes = target.writes();
    let mut copied = Copied::default();
    loop {
        match order(ours.peek().await?, theirs.peek().await?) {
            None => break,
            Some(Ordering::Less) => {
                let Some(found) = ours.next().await? else { break };
                // Unreadable ones are counted in the comparison.
                if let Found::Read(record) = found {
                    writes.add(record).await?;
                }
                progress.advance();
            }
            Some(Ordering::Equal) => {
                let (Some(own), Some(found)) = (ours.next().await?, theirs.next().await?) else { break };
                progress.advance();
                match (own, found) {
                    (Found::Read(record), Found::Read(found)) if record == found => copied.same += 1,
                    (Found::Read(record), found) if overwrite => {
                        end(target, &found).await?;
                        writes.add(record).await?;
                        copied.replaced += 1;
                    }
                    _ => {}
                }
            }
            Some(Ordering::Greater) => {
                let Some(found) = theirs.next().await? else { break };
                if overwrite {
                    end(target, &found).await?;
                    copied.ended += 1;
                }
            }
        }
    }
    let tally = writes.end().await?;
    copied.written = tally.written - copied.replaced.min(tally.written);
    copied.same += tally.same;
    Ok(copied)
}

async fn end(target: &Target, found: &Found) -> Result<(), StoreError> {
    let ended = [match found {
        Found::Read(record) => store::Target::incarnation(record.handle, record.mark),
        Found::Unread(unread) => store::Target::whatever(unread.handle),
    }];
    while_unavailable(|_| target.store.delete(&ended)).await?;
    let handles = [found.handle()];
    match found {
        Found::Read(record) => match &record.user_id {
            Some(user_id) => while_unavailable(|_| target.store.release(user_id, &handles)).await,
            None => Ok(()),
        },
        Found::Unread(_) => Ok(()),
    }
}

/// Which of two comes first; `None` if both are at the end.
fn order(ours: Option<&Found>, theirs: Option<&Found>) -> Option<Ordering> {
    match (ours, theirs) {
        (None, None) => None,
        (Some(_), None) => Some(Ordering::Less),
        (None, Some(_)) => Some(Ordering::Greater),
        (Some(ours), Some(theirs)) => Some(ours.handle().cmp(&theirs.handle())),
    }
}

/// Reads both stores again, and compares all records. One that expires meanwhile is in neither number, as servers delete those
/// at different times.
async fn compare(mut ours: Pages<'_>, mut theirs: Pages<'_>, progress: &mut Progress) -> Result<Compared> {
    let clock = SystemClock::start();
    let mut compared = Compared::default();
    while let Some(order) = order(ours.peek().await?, theirs.peek().await?) {
        let own = if order.is_le() { ours.next().await? } else { None };
        let found = if order.is_ge() { theirs.next().await? } else { None };
        let is_read = |found: &Option<Found>| !matches!(found, Some(Found::Unread(_)));
        let is_compared = is_read(&own) && is_read(&found);
        let (own, found) = (compared.source.read(own), compared.target.read(found));
        let now = clock.now();
        let [own, found] = [own, found].map(|record| record.filter(|record| record.is_live(now)));
        match (&own, &found) {
            (Some(own), Some(found)) => compared.differing += u64::from(own != found),
            // The other store has it, and cannot read it.
            (Some(_), None) | (None, Some(_)) if !is_compared => {}
            (Some(_), None) => compared.missing += 1,
            (None, Some(_)) => compared.surplus += 1,
            (None, None) => continue,
        }
        own.iter().for_each(|record| compared.source.add(record));
        found.iter().for_each(|record| compared.target.add(record));
        progress.advance();
    }
    Ok(compared)
}

fn report(copied: &Copied, compared: Compared, seconds: f64, output: Output) -> Result<()> {
    let Compared { source, target, differing, missing, surplus } = compared;
    let (digest, found) = (source.digest.end(), target.digest.end());
    let unread = (source.unreadable.count(), target.unreadable.count());
    let is_same = digest == found && source.records == target.records;
    let equal = is_same && unread == (0, 0);
    let mut text = format!(
        "copied: {} in {seconds:.1} s; there already: {}; replaced: {}; ended there: {}\n{} and {} sessions\ndigests {digest}\n        {found}",
        number(copied.written),
        number(copied.same),
        number(copied.replaced),
        number(copied.ended),
        number(source.records),
        number(target.records),
    );
    text.push_str(if equal { "\nequal" } else { "\nNOT EQUAL" });
    if !is_same {
        text.push_str(&format!(
            "\n{} differ, {} are missing there, {} are there alone.\nSessions began, changed or ended since the first \
             run, or the other store was in use. With pserve stopped, --overwrite makes it equal",
            number(differing),
            number(missing),
            number(surplus)
        ));
    }
    output.answer(
        text,
        &json!({
            "copied": copied.written, "present": copied.same, "replaced": copied.replaced, "ended": copied.ended,
            "records": source.records, "target_records": target.records, "digest": digest, "target_digest": found,
            "equal": equal, "unread": unread.0, "target_unread": unread.1, "differing": differing,
            "missing": missing, "surplus": surplus, "seconds": seconds,
        }),
    )?;
    let mut said = Vec::new();
    for (unreadable, which) in [(&source.unreadable, "this"), (&target.unreadable, "the other")] {
        if unreadable.count() > 0 {
            let count = number(unreadable.count());
            said.push(format!(
                "{count} sessions of {which} store could not be read{}",
                unreadable.describe()
            ));
        }
    }
    match said.is_empty() {
        false => bail!(said.join("\n")),
        true if equal => Ok(()),
        true => Err(Said.into()),
    }
}

#[cfg(test)]
#[cfg(feature = "memory")]
mod tests {
    use sessman::store::Store;
    use sessman::store::memory::{MemoryConfig, MemoryStore};
    use sessman::store::sealed::SealedStore;
    use sessman::time::{ManualClock, Timestamp};

    use super::*;
    use crate::pages::tests::{keys, mixed};
    use crate::target::tests::target;

    fn memory() -> Arc<dyn Store> {
        let clock = ManualClock::new(Timestamp::from_millis(0));
        Arc::new(MemoryStore::new(MemoryConfig::default(), Arc::new(clock)))
    }

    /// Copies what opens with a key in one store into another, with the key of that one, and compares both.
    async fn migrate(
        from: &Arc<dyn Store>,
        to: &Arc<dyn Store>,
        key: u8,
        overwrite: bool,
    ) -> (Copied, Compared) {
        let (own, other) = (keys(1), keys(key));
        let target = target(to, Some(&other));
        let now = target.now();
        let ours = || Pages::new(&**from, Reading::Opened(Some(&own)), now);
        let theirs = || Pages::new(&*target.stored, Reading::Opened(Some(&other)), now);
        let mut progress = Progress::begin("copied", None);
        let copied = copy(ours(), theirs(), &target, overwrite, &mut progress).await.unwrap();
        let compared = compare(ours(), theirs(), &mut progress).await.unwrap();
        (copied, compared)
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_counted_and_makes_stores_unequal() {
        let from = mixed(SystemClock::start().now()).await;
        let (copied, compared) = migrate(&from, &memory(), 3, false).await;
        assert_eq!((copied.written, compared.source.records, compared.target.records), (200, 200, 200));
        assert_eq!((compared.source.unreadable.count(), compared.target.unreadable.count()), (100, 0));
        assert_eq!((compared.differing, compared.missing, compared.surplus), (0, 0, 0));
        assert!(report(&copied, compared, 0.0, Output { json: false }).is_err());
    }

    #[tokio::test]
    async fn what_the_other_store_cannot_read_is_counted_and_replaced_where_that_is_said() {
        // The same sessions are in both, and a third of them opens with the key of neither.
        let now = SystemClock::start().now();
        let (from, to) = (memory(), mixed(now).await);
        let sealed = SealedStore::new(Arc::clone(&from), keys(1));
        let mut pages = Pages::new(&*to, Reading::AsStored, now);
        while let Some(Found::Read(record)) = pages.next().await.unwrap() {
            let key = if keys(1).open_record(&record).is_ok() { keys(1) } else { keys(2) };
            let opened = key.open_record(&record).unwrap();
            sealed.create(Arc::new(Record { mac: None, ..(*opened).clone() }), now).await.unwrap();
        }
        let (copied, compared) = migrate(&from, &to, 1, false).await;
        assert_eq!((copied.written, copied.same, compared.target.unreadable.count()), (0, 200, 100));
        assert_eq!((compared.missing, compared.surplus), (0, 0));
        let (copied, compared) = migrate(&from, &to, 1, true).await;
        assert_eq!((copied.replaced, copied.same, compared.target.unreadable.count()), (100, 200, 0));
        report(&copied, compared, 0.0, Output { json: false }).unwrap();
    }

    #[tokio::test]
    async fn stores_with_keys_of_their_own_are_equal() {
        let from = memory();
        let sealed = SealedStore::new(Arc::clone(&from), keys(1));
        for n in 0..20 {
            let record = crate::line::tests::record(n);
            sealed.create(Arc::new(record), SystemClock::start().now()).await.unwrap();
        }
        let to = memory();
        for written in [20, 0] {
            let (copied, compared) = migrate(&from, &to, 2, false).await;
            assert_eq!((copied.written, copied.same), (written, 20 - written));
            report(&copied, compared, 0.0, Output { json: true }).unwrap();
        }
    }
}
