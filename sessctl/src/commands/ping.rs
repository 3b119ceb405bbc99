//! `ping`: whether the store can be reached.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;
use sessman::store::View;

use crate::actor;
use crate::output::Output;
use crate::site::Site;

pub(super) async fn run(site: &Site, output: Output) -> Result<()> {
    let store = actor::reader(site, View::Present)?;
    // The first call connects; the second one measures the latency.
    store.ping().await?;
    let begun = Instant::now();
    store.ping().await?;
    let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
    store.close().await;
    output.answer(
        format!("{}: there, {milliseconds:.1} ms", site.describe()),
        &json!({ "backend": site.backend(), "milliseconds": milliseconds }),
    )
}
