//! `show`: shows one session with its data.

use anyhow::{Result, bail};
use serde_json::Value;
use sessman::id::Handle;
use sessman::store::View;
use sessman::store::sealed::check_unsealed;
use sessman::time::{Clock as _, SystemClock};

use crate::actor;
use crate::output::{Output, shown};
use crate::site::Site;

pub(super) async fn run(site: &Site, handle: Handle, output: Output) -> Result<()> {
    let store = actor::reader(site, View::Present)?;
    let Some(record) = store.load(handle, SystemClock::start().now()).await?.live() else {
        bail!("there is no live session {handle}");
    };
    check_unsealed(&record)?;
    let mut text = b"{".to_vec();
    record.write_members(&mut text);
    text.push(b'}');
    let value: Value = serde_json::from_slice(&text)?;
    let lines: Vec<String> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name:<14} {}", shown(text)),
            other => format!("{name:<14} {other}"),
        })
        .collect();
    output.answer(lines.join("\n"), &value)
}
