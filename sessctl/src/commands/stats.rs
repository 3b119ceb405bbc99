//! `stats`: how many sessions there are, and how old they are.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use sessman::store::View;

use crate::actor::Actor;
use crate::output::{Output, number, table};
use crate::site::Site;

pub(super) async fn run(site: &Site, url: Option<&str>, output: Output) -> Result<()> {
    // In the form of the route, whoever counts.
    let stats = match Actor::to_read(site, url, View::Snapshot)? {
        Actor::Server(server) => server.stats()?,
        Actor::Engine(engine) => {
            let stats = engine.sessions.stats().await?;
            let by_age = stats.by_age.iter().map(|class| {
                let below = class.below.map(|age| age.as_secs());
                json!({ "below_seconds": below, "sessions": class.sessions })
            });
            json!({
                "total": stats.active + stats.expired,
                "active": stats.active,
                "expired": stats.expired,
                "by_age": by_age.collect::<Vec<Value>>(),
            })
        }
    };
    let count = |value: &Value| number(value.as_u64().unwrap_or_default());
    let mut rows: Vec<Vec<String>> =
        ["total", "active", "expired"].map(|name| vec![name.to_owned(), count(&stats[name])]).into();
    for class in stats["by_age"].as_array().into_iter().flatten() {
        let name = match class["below_seconds"].as_u64() {
            Some(seconds) => format!("younger than {}", age(Duration::from_secs(seconds))),
            None => "older".to_owned(),
        };
        rows.push(vec![name, count(&class["sessions"])]);
    }
    output.answer(table(&rows), &stats)
}

fn age(age: Duration) -> String {
    match age.as_secs() {
        3_600 => "an hour".to_owned(),
        86_400 => "a day".to_owned(),
        seconds if seconds % 86_400 == 0 => format!("{} days", seconds / 86_400),
        seconds => format!("{seconds} s"),
    }
}
