//! `stats`: counts sessions, in total and by age.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use sessman::sessions::{Filter, Stats};
use sessman::store::View;
use sessman::time::{Clock as _, SystemClock};

use crate::actor::Actor;
use crate::output::{Output, number, table};
use crate::site::Site;
use crate::unread::{self, Look};

/// Time limit of the scan for unreadable sessions.
const LOOK: Duration = Duration::from_secs(2);

pub(super) async fn run(site: &Site, filter: &Filter, url: Option<&str>, output: Output) -> Result<()> {
    // In the form of the HTTP route, from either source.
    let stats = match Actor::to_read(site, url, View::Snapshot)? {
        Actor::Server(server) => server.stats(filter)?,
        Actor::Engine(engine) if filter.is_empty() => {
            let mut stats = members(&engine.sessions.stats().await?, true);
            // The counts include records that cannot be read.
            let until = Some(Instant::now() + LOOK);
            let look = unread::look(&*engine.store, SystemClock::start().now(), until, |_| ()).await?;
            stats["unreadable"] = unreadable(&look);
            stats
        }
        Actor::Engine(engine) => {
            let (stats, is_complete) = engine.sessions.stats_of(filter).await?;
            members(&stats, is_complete)
        }
    };
    let count = |value: &Value| number(value.as_u64().unwrap_or_default());
    let mut rows: Vec<Vec<String>> =
        ["total", "active", "expired"].map(|name| vec![name.to_owned(), count(&stats[name])]).into();
    match &stats["unreadable"] {
        Value::Number(found) if found.as_u64() != Some(0) => {
            let say = "`sessctl doctor` says more";
            rows.push(vec!["unreadable".to_owned(), format!("{}; {say}", count(&stats["unreadable"]))]);
        }
        Value::Null if stats.get("unreadable").is_some() => {
            rows.push(vec!["unreadable".to_owned(), "not known; `sessctl doctor` looks at all".to_owned()]);
        }
        _ => {}
    }
    let mut from = None;
    for class in stats["by_age"].as_array().into_iter().flatten() {
        let below = class["below_seconds"].as_u64();
        rows.push(vec![class_name(from, below), count(&class["sessions"])]);
        from = below;
    }
    if stats["complete"] == false {
        rows.push(vec![
            "incomplete".to_owned(),
            "not all could be counted in time; there are more".to_owned(),
        ]);
    }
    output.answer(table(&rows), &stats)
}

fn members(stats: &Stats, is_complete: bool) -> Value {
    let by_age = stats.by_age.iter().map(|class| {
        let below = class.below.map(|age| age.as_secs());
        json!({ "below_seconds": below, "sessions": class.sessions })
    });
    json!({
        "complete": is_complete,
        "total": stats.active + stats.expired,
        "active": stats.active,
        "expired": stats.expired,
        "by_age": by_age.collect::<Vec<Value>>(),
    })
}

/// The number of unreadable sessions; null if there was no scan.
fn unreadable(look: &Look) -> Value {
    match (look.is_whole, look.unreadable.count()) {
        (false, 0) => Value::Null,
        (_, count) => count.into(),
    }
}

/// The name of a class of live sessions: from `from` seconds of age, the bound of the class before it, to less than `below`.
fn class_name(from: Option<u64>, below: Option<u64>) -> String {
    match (from.map(age), below.map(age)) {
        (None, None) => "active, of any age".to_owned(),
        (None, Some(below)) => format!("active, younger than {below}"),
        (Some(from), Some(below)) => format!("active, {from} to {below}"),
        (Some(from), None) => format!("active, {from} and older"),
    }
}

fn age(seconds: u64) -> String {
    match seconds {
        3_600 => "an hour".to_owned(),
        86_400 => "a day".to_owned(),
        seconds if seconds % 86_400 == 0 => format!("{} days", seconds / 86_400),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_named_by_both_its_bounds() {
        let bounds = [Some(3_600), Some(86_400), Some(7 * 86_400), Some(30 * 86_400), None];
        let before = [None].into_iter().chain(bounds);
        let names: Vec<String> = before.zip(bounds).map(|(from, below)| class_name(from, below)).collect();
        assert_eq!(
            names,
            [
                "active, younger than an hour",
                "active, an hour to a day",
                "active, a day to 7 days",
                "active, 7 days to 30 days",
                "active, 30 days and older",
            ]
        );
    }
}
