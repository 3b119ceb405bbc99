//! `restore`: writes the sessions of a backup into a store.

use std::sync::Arc;

use anyhow::{Result, bail};
use serde_json::json;
use sessman::record::Record;
use sessman::store::sealed::Keys;
use sessman::time::{Clock as _, SystemClock};

use crate::actor;
use crate::backup::{Backup, FileMac, Summary, Written};
use crate::cli::Restore;
use crate::output::{Output, confirm, number};
use crate::pages::Reading;
use crate::progress::Progress;
use crate::site::Site;
use crate::target::Target;

pub(super) async fn run(site: &Site, options: &Restore, output: Output) -> Result<()> {
    actor::in_a_process_of_its_own(site)?;
    let mut backup = Backup::open(&options.file)?;
    let keys = site.config.encryption.as_ref();
    let summary = verify(keys, options.unsigned, &mut backup)?;
    let header = backup.header()?;
    let shown = options.file.display();
    let mut warning = String::new();
    if options.merge {
        warning.push_str(
            "\nThose that are there stay as they are. Sessions that ended since the backup live again, those that were \
             ended on purpose too.",
        );
    }
    if summary.unread > 0 {
        warning.push_str(&format!(
            "\nThe backup is INCOMPLETE: {} sessions could not be read when it was written.",
            number(summary.unread)
        ));
    }
    if keys.is_some() && summary.mac != FileMac::Right {
        warning.push_str(
            "\nIts MAC is not asked for: whoever could write to the file may have put sessions into it, which are taken for \
             genuine from now on.",
        );
    }
    confirm(
        &format!(
            "{} sessions of {} from {shown} go into {}.{warning}",
            number(summary.records),
            header.created_at,
            site.describe()
        ),
        options.confirmation.yes,
    )?;

    // Without encryption, as the backup has the records in their stored form.
    let target = Target::open(site, None)?;
    // Fails immediately if the store is unreachable at the start; retries are for later.
    target.store.ping().await?;
    let is_empty = target.is_empty().await?;
    if !is_empty && !options.merge {
        target.store.close().await;
        bail!(
            "there are sessions in {}; nothing was written. Restore into an empty store, or say --merge, after which \
             sessions live again that ended since the backup",
            site.describe()
        );
    }
    let mut progress = Progress::begin("restored", Some(summary.records));
    let mut expired = 0_u64;
    let mut writes = target.writes();
    for record in backup.records()? {
        let record = record?;
        match record.is_live(target.now()) {
            true => writes.add(Arc::new(vouched_for(keys, options.unsigned, record))).await?,
            false => expired += 1,
        }
        progress.advance();
    }
    let tally = writes.end().await?;
    let seconds = progress.end();
    target.end().await?;
    let there = tally.same + tally.kept;
    output.answer(
        format!(
            "restored: {} in {seconds:.1} s; expired since: {}; there already: {}, of them {} that differ",
            number(tally.written),
            number(expired),
            number(there),
            number(tally.kept)
        ),
        &json!({
            "records": summary.records, "unread": summary.unread, "restored": tally.written, "expired": expired, "present": there,
            "kept": tally.kept, "seconds": seconds,
        }),
    )
}

/// Verifies the whole file, and whether the configured keys decrypt its records.
fn verify(keys: Option<&Keys>, unsigned: bool, backup: &mut Backup) -> Result<Summary> {
    let now = SystemClock::start().now();
    let reading = Reading::Opened(keys);
    let written = keys.filter(|_| !unsigned).map_or(Written::ByAnybody, Written::With);
    let mut progress = Progress::begin("verified", None);
    let summary = backup.verify(written, |record: &Record| {
        progress.advance();
        // Expired records are not restored, so they need no key.
        if record.is_live(now) {
            reading.of(&Arc::new(vouched_for(keys, unsigned, record.clone())))?;
        }
        Ok(())
    });
    progress.end();
    summary
}

/// The record in the form to store. If the file is accepted without a MAC, its records get MACs too.
fn vouched_for(keys: Option<&Keys>, unsigned: bool, record: Record) -> Record {
    match keys {
        Some(keys) if unsigned => keys.vouch_for(&record),
        _ => record,
    }
}
