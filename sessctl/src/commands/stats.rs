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
    for class in stats["by_age"].as_array().into_iter().flatten() {
        let name = match class["below_seconds"].as_u64() {
            Some(seconds) => format!("younger than {}", age(Duration::from_secs(seconds))),
            None => "older".to_owned(),
        };
        rows.push(vec![name, count(&class["sessions"])]);
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

fn age(age: Duration) -> String {
    match age.as_secs() {
        3_600 => "an hour".to_owned(),
        86_400 => "a day".to_owned(),
        seconds if seconds % 86_400 == 0 => format!("{} days", seconds / 86_400),
        seconds => format!("{seconds} s"),
    }
}
