//! `monitor`: prints a line every second.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use sessman::store::View;
use sessman::time::{Clock as _, SystemClock, Timestamp};

use crate::actor;
use crate::output::{self, Output, number};
use crate::retry::while_unavailable;
use crate::site::Site;

pub(super) async fn run(site: &Site, interval: u64, count: Option<u64>, output: Output) -> Result<()> {
    let store = actor::reader(site, View::Present)?;
    // Fails immediately if the store is unreachable at the start.
    store.ping().await?;
    let clock = SystemClock::start();
    let mut ticks = tokio::time::interval(Duration::from_secs(interval));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    if !output.json {
        output::line(columns(["TIME", "TOTAL", "ACTIVE", "EXPIRED", "CREATED", "ENDED"].map(str::to_owned)))?;
    }
    let mut before: Option<(Timestamp, u64)> = None;
    let mut lines = 0;
    while count.is_none_or(|count| lines < count) {
        ticks.tick().await;
        clock.discipline();
        let now = clock.now();
        let since: Vec<Timestamp> = before.iter().map(|(then, _)| *then).collect();
        let counts = while_unavailable(|_| store.counts(now, &since)).await?;
        // Sessions created in the interval that are still live; one that has ended already is not counted.
        let created = counts.since.first().copied();
        let ended = before
            .zip(created)
            .map(|((_, active), created)| (active + created).saturating_sub(counts.active));
        before = Some((now, counts.active));
        let total = counts.active + counts.expired;
        let line = json!({
            "time": now.to_string(), "total": total, "active": counts.active, "expired": counts.expired,
            "created": created, "ended": ended,
        });
        let some = |number: Option<u64>| number.map_or("-".to_owned(), output::number);
        let cells = [
            now.to_string(),
            number(total),
            number(counts.active),
            number(counts.expired),
            some(created),
            some(ended),
        ];
        output.answer(columns(cells), &line)?;
        lines += 1;
    }
    Ok(())
}

fn columns([time, rest @ ..]: [String; 6]) -> String {
    rest.iter().fold(format!("{time:<24}"), |line, cell| format!("{line} {cell:>12}"))
}
