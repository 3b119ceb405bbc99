//! `backup`: writes all live sessions to a file.

mod series;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use serde_json::json;
use sessman::store::{self, Store, View};
use sessman::time::{Clock as _, SystemClock, Timestamp};

use self::series::Series;
use crate::actor;
use crate::backup::{Header, Summary, Writer};
use crate::failure::Usage;
use crate::output::{Output, number};
use crate::pages::{Found, Pages, Reading};
use crate::progress::Progress;
use crate::site::Site;
use crate::unread::Unreadable;

/// Writes a backup into a folder, and removes the oldest of those that were written so.
pub(super) async fn rotate(site: &Site, folder: &Path, keep: u32, output: Output) -> Result<()> {
    if !folder.is_dir() {
        bail!(Usage(format!("with --keep, {} has to be a folder; make it first", folder.display())));
    }
    let series = Series { folder, instance: &site.instance };
    let file = series.file(SystemClock::start().now());
    run(site, &file, output).await?;
    // Only now, when there is a complete one more.
    series.prune(&file, keep)
}

pub(super) async fn run(site: &Site, file: &Path, output: Output) -> Result<()> {
    actor::in_a_process_of_its_own(site)?;
    // Without decryption: what is encrypted in the store is encrypted in the file too, with or without the keys.
    let store = store::open_to_read(&*site.config.store, None, View::Snapshot)?;
    // Fails immediately if the store is unreachable at the start; retries are for later.
    store.ping().await?;
    let now = SystemClock::start().now();
    // On servers this may scan all records and time out; then the progress has no total.
    let counts = store.counts(now, &[]).await.ok();
    let header = Header::new(now.to_string(), &site.instance, site.backend());
    let writer = Writer::create(file, &header, site.config.encryption.as_ref())?;
    let mut progress = Progress::begin("backed up", counts.as_ref().map(|counts| counts.active));
    let (summary, unreadable) = write(&*store, now, writer, || progress.advance()).await?;
    let seconds = progress.end();
    Arc::clone(&store).close().await;
    let expired = counts.map(|counts| counts.expired);
    let left_out = expired
        .filter(|expired| *expired > 0)
        .map_or(String::new(), |expired| format!("; {} expired ones were left out", number(expired)));
    output.answer(
        format!(
            "{}: {} sessions, {} bytes, in {seconds:.1} s{left_out}\ndigest {}",
            file.display(),
            number(summary.records),
            number(summary.bytes),
            summary.digest
        ),
        &json!({
            "file": file, "records": summary.records, "unread": summary.unread, "expired": expired,
            "bytes": summary.bytes, "digest": summary.digest, "seconds": seconds,
        }),
    )?;
    match summary.unread {
        0 => Ok(()),
        unread => bail!(
            "{} is INCOMPLETE: {} sessions could not be read, and are not in it{}",
            file.display(),
            number(unread),
            unreadable.describe()
        ),
    }
}

/// Writes all records that can be read.
async fn write(
    store: &dyn Store,
    now: Timestamp,
    mut writer: Writer,
    mut advance: impl FnMut(),
) -> Result<(Summary, Unreadable)> {
    let mut unreadable = Unreadable::default();
    let mut pages = Pages::new(store, Reading::AsStored, now);
    while let Some(found) = pages.next().await? {
        match found {
            Found::Read(record) => writer.write(&record)?,
            Found::Unread(unread) => {
                writer.miss();
                unreadable.add(&unread);
            }
        }
        advance();
    }
    Ok((writer.finish()?, unreadable))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::backup::{Backup, FileMac, Written};
    use crate::pages::tests::{in_part_unreadable, keys};

    #[tokio::test]
    async fn a_backup_of_what_cannot_be_read_in_part_says_so() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("x");
        let now = SystemClock::start().now();
        let store = in_part_unreadable(now).await;
        let writer =
            Writer::create(&path, &Header::new(now.to_string(), "x", "memory"), Some(&keys(1))).unwrap();
        let (written, unreadable) = write(&*store, now, writer, || ()).await.unwrap();
        assert_eq!((written.records, written.unread, unreadable.count()), (200, 100, 100));
        let mut backup = Backup::open(&path).unwrap();
        let read = backup.verify(Written::With(&keys(1)), |_| Ok(())).unwrap();
        assert_eq!((read.records, read.unread, read.mac), (200, 100, FileMac::Right));
        assert_eq!(read.digest, written.digest);
    }
}
