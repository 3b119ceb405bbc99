//! `migrate`: all sessions into the store of another configuration.
//!
//! Both stores are walked through in the order of handles, side by side: what the other one has not is written, what it has is
//! compared. So nothing has to be remembered of a run that was stopped.

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
use crate::pages::{Pages, Reading, patiently};
use crate::progress::Progress;
use crate::site::{Site, Source};
use crate::target::Target;

/// What was done.
#[derive(Default)]
struct Copied {
    written: u64,
    /// Equal ones that were there.
    same: u64,
    replaced: u64,
    /// Ended, as they were in the other store alone.
    ended: u64,
}

/// What a comparison found.
#[derive(Default)]
struct Compared {
    source: Side,
    target: Side,
    differing: u64,
    /// Only in the first, and only in the other.
    missing: u64,
    surplus: u64,
}

#[derive(Default)]
struct Side {
    records: u64,
    digest: Digest,
}

impl Side {
    fn add(&mut self, record: &Record) {
        self.records += 1;
        self.digest.add(record);
    }
}

pub(super) async fn run(site: &Site, options: &Migrate, output: Output) -> Result<()> {
    let other = Site::load(&Source::of(&options.to), options.to_instance.as_deref())?;
    for site in [site, &other] {
        actor::in_a_process_of_its_own(site)?;
    }
    if site.config.encryption.is_some() && other.config.encryption.is_none() && !options.decrypt {
        bail!(Usage(format!(
            "the sessions of {} are encrypted, and {} has no `encryption_keys`; set them there, or say --decrypt",
            site.instance,
            options.to.display()
        )));
    }
    if site.config.store.is_same_place(&other.config.store) {
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
    let source = store::open_to_read(&site.config.store, None, View::Snapshot)?;
    let target = Target::open(&other, other.config.encryption.as_ref())?;
    // Stores that are away from the beginning are not waited for.
    source.ping().await?;
    target.store.ping().await?;
    let total = source.counts(target.now()).await.ok().map(|counts| counts.active);

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
                let Some(record) = ours.next().await? else { break };
                writes.add(record).await?;
                progress.advance();
            }
            Some(Ordering::Equal) => {
                let (Some(record), Some(found)) = (ours.next().await?, theirs.next().await?) else { break };
                progress.advance();
                if record == found {
                    copied.same += 1;
                } else if overwrite {
                    end(target, &found).await?;
                    writes.add(record).await?;
                    copied.replaced += 1;
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

async fn end(target: &Target, record: &Record) -> Result<(), StoreError> {
    patiently(|_| target.store.delete(record.handle, None)).await?;
    let handles = [record.handle];
    match &record.user_id {
        Some(user_id) => patiently(|_| target.store.release(user_id, &handles)).await,
        None => Ok(()),
    }
}

/// Which of two comes first; `None` if there is none any more.
fn order(ours: Option<&Arc<Record>>, theirs: Option<&Arc<Record>>) -> Option<Ordering> {
    match (ours, theirs) {
        (None, None) => None,
        (Some(_), None) => Some(Ordering::Less),
        (None, Some(_)) => Some(Ordering::Greater),
        (Some(ours), Some(theirs)) => Some(ours.handle.cmp(&theirs.handle)),
    }
}

/// Reads both anew, and compares every record. One whose time comes meanwhile is in neither number: a server removes it
/// sooner or later.
async fn compare(mut ours: Pages<'_>, mut theirs: Pages<'_>, progress: &mut Progress) -> Result<Compared> {
    let clock = SystemClock::start();
    let mut compared = Compared::default();
    while let Some(order) = order(ours.peek().await?, theirs.peek().await?) {
        let own = if order.is_le() { ours.next().await? } else { None };
        let found = if order.is_ge() { theirs.next().await? } else { None };
        let now = clock.now();
        let [own, found] = [own, found].map(|record| record.filter(|record| record.is_live(now)));
        match (&own, &found) {
            (Some(own), Some(found)) => compared.differing += u64::from(own != found),
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
    let equal = digest == found && source.records == target.records;
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
    if !equal {
        text.push_str(&format!(
            ": {} differ, {} are missing there, {} are there alone.\nSessions began, changed or ended since the first \
             run, or the other store was in use. With pserve stopped, --overwrite makes it equal",
            number(differing),
            number(missing),
            number(surplus)
        ));
    }
    let answered = output.answer(
        text,
        &json!({
            "copied": copied.written, "present": copied.same, "replaced": copied.replaced, "ended": copied.ended,
            "records": source.records, "target_records": target.records, "digest": digest, "target_digest": found,
            "equal": equal, "differing": differing, "missing": missing, "surplus": surplus, "seconds": seconds,
        }),
    );
    if equal { answered } else { Err(Said.into()) }
}
