//! `backup`: all live sessions into a file.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use serde_json::json;
use sessman::store::{self, View};
use sessman::time::{Clock as _, SystemClock};

use crate::actor;
use crate::backup::{Header, Writer};
use crate::output::{Output, number};
use crate::pages::{Pages, Reading};
use crate::progress::Progress;
use crate::site::Site;

pub(super) async fn run(site: &Site, file: &Path, output: Output) -> Result<()> {
    actor::in_a_process_of_its_own(site)?;
    // Below what encrypts: what is encrypted in the store is so in the file, whatever the keys.
    let store = store::open_to_read(&site.config.store, None, View::Snapshot)?;
    // One that is away from the beginning is not waited for.
    store.ping().await?;
    let now = SystemClock::start().now();
    // Of servers it is a walk over all records, which may take too long; then nobody knows how many there are.
    let counts = store.counts(now).await.ok();
    let mut writer = Writer::create(file, &Header::new(now.to_string(), &site.instance, site.backend()))?;
    let mut progress = Progress::begin("backed up", counts.map(|counts| counts.active));
    let mut pages = Pages::new(&*store, Reading::AsStored, now);
    while let Some(record) = pages.next().await? {
        writer.write(&record)?;
        progress.advance();
    }
    let summary = writer.finish()?;
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
            "file": file, "records": summary.records, "expired": expired, "bytes": summary.bytes,
            "digest": summary.digest, "seconds": seconds,
        }),
    )
}
