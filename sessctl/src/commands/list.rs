//! `list`: sessions without their data.

use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Result, bail};
use serde_json::Value;
use sessman::id::Handle;
use sessman::record::Record;
use sessman::store::{Listing, View};
use sessman::time::{Clock as _, SystemClock};

use crate::actor::Actor;
use crate::cli::{self, List};
use crate::output::{self, Output, shown, table};
use crate::site::Site;

/// Sessions that are asked for at a time.
const PAGE: usize = 500;

pub(super) async fn run(site: &Site, options: &List, output: Output) -> Result<()> {
    let actor = Actor::to_read(site, options.at.url.as_deref(), View::Snapshot)?;
    let limit = if options.all { PAGE } else { options.limit as usize };
    let clock = SystemClock::start();
    let user_id = options.user.as_deref();
    let mut after = options.after.as_deref().map(cli::handle).transpose()?;
    let mut is_first = true;
    if output.json {
        print(b"{\"sessions\":[")?;
    }
    loop {
        let (sessions, next) = match &actor {
            Actor::Server(server) => of_answer(&server.list(user_id, after, limit)?)?,
            Actor::Engine(engine) => {
                let listing = Listing { user_id, after, limit };
                let page = engine.store.list(listing, clock.now()).await?;
                (page.records.iter().map(members).collect::<Result<Vec<_>>>()?, page.next)
            }
        };
        match output.json {
            true => print_json(&sessions, is_first)?,
            false => output::line(rows(&sessions, is_first))?,
        }
        is_first = false;
        after = next;
        if after.is_none() || !options.all {
            break;
        }
    }
    match (output.json, after) {
        (true, Some(next)) => print(format!("],\"next\":\"{next}\"}}\n").as_bytes()),
        (true, None) => print(b"],\"next\":null}\n"),
        (false, Some(next)) => output::line(format!("there are more; go on with --after {next}")),
        (false, None) => Ok(()),
    }
}

fn of_answer(answer: &Value) -> Result<(Vec<Value>, Option<Handle>)> {
    let Value::Array(sessions) = &answer["sessions"] else {
        bail!("pserve does not answer as a sessman does")
    };
    Ok((sessions.clone(), answer["next"].as_str().and_then(Handle::parse)))
}

fn members(record: &Arc<Record>) -> Result<Value> {
    let mut text = b"{".to_vec();
    record.write_members(&mut text, false);
    text.push(b'}');
    Ok(serde_json::from_slice(&text)?)
}

fn print_json(sessions: &[Value], is_first: bool) -> Result<()> {
    for (index, session) in sessions.iter().enumerate() {
        let comma = if is_first && index == 0 { "\n" } else { ",\n" };
        print(format!("{comma}{session}").as_bytes())?;
    }
    Ok(())
}

fn rows(sessions: &[Value], with_header: bool) -> String {
    let header = ["HANDLE", "USER", "CREATED", "LAST ACTIVITY", "EXPIRES", "VERSION"].map(str::to_owned);
    let mut rows: Vec<Vec<String>> = with_header.then(|| header.into()).into_iter().collect();
    for session in sessions {
        let text = |name: &str| match &session[name] {
            Value::Null => "-".to_owned(),
            Value::String(text) => shown(text),
            other => other.to_string(),
        };
        let names = ["handle", "user_id", "created_at", "last_activity", "expires_at", "version"];
        rows.push(names.map(text).into());
    }
    table(&rows)
}

fn print(bytes: &[u8]) -> Result<()> {
    Ok(std::io::stdout().lock().write_all(bytes)?)
}
