//! `list`: lists sessions without their data.

use std::io::Write as _;

use anyhow::{Result, bail};
use serde_json::Value;
use sessman::id::Handle;
use sessman::record::Summary;
use sessman::store::View;

use crate::actor::Actor;
use crate::cli::{self, List};
use crate::output::{self, Output, shown, table};
use crate::site::Site;

/// Sessions per request.
const PAGE: usize = 500;

pub(super) async fn run(site: &Site, options: &List, output: Output) -> Result<()> {
    let actor = Actor::to_read(site, options.at.url.as_deref(), View::Snapshot)?;
    let filter = options.conditions.filter();
    let mut left = if options.all { usize::MAX } else { options.limit as usize };
    let mut after = options.after.as_deref().map(cli::handle).transpose()?;
    let (mut is_first, mut is_begun, mut unreadable) = (true, false, Vec::new());
    if output.json {
        print(b"{\"sessions\":[")?;
    }
    loop {
        let limit = if options.all { PAGE } else { left };
        let (sessions, unread, next) = match &actor {
            Actor::Server(server) => of_answer(&server.list(&filter, after, limit)?)?,
            Actor::Engine(engine) => {
                let page = engine.sessions.search(&filter, after, limit).await?;
                let unread = page.unread.iter().map(ToString::to_string).collect();
                (page.items.iter().map(members).collect::<Result<Vec<_>>>()?, unread, page.next)
            }
        };
        match output.json {
            true => print_json(&sessions, !is_begun)?,
            false if is_first || !sessions.is_empty() => output::line(rows(&sessions, is_first))?,
            false => {}
        }
        // A page may be empty although others follow.
        is_begun |= !sessions.is_empty();
        is_first = false;
        left = left.saturating_sub(sessions.len());
        unreadable.extend(unread);
        after = next;
        if after.is_none() || left == 0 {
            break;
        }
    }
    let next = after.map_or("null".to_owned(), |next| format!("\"{next}\""));
    if !unreadable.is_empty() && !output.json {
        output::line(format!(
            "cannot be read, and are listed by their handles alone: {}; `sessctl doctor` says more, and `sessctl end HANDLE` ends one",
            unreadable.join(" ")
        ))?;
    }
    match (output.json, after) {
        // The same form as that of the HTTP route.
        (true, _) if !unreadable.is_empty() => {
            print(format!("],\"unreadable\":{},\"next\":{next}}}\n", Value::from(unreadable)).as_bytes())
        }
        (true, _) => print(format!("],\"next\":{next}}}\n").as_bytes()),
        (false, Some(next)) => output::line(format!("there are more; go on with --after {next}")),
        (false, None) => Ok(()),
    }
}

fn of_answer(answer: &Value) -> Result<(Vec<Value>, Vec<String>, Option<Handle>)> {
    let Value::Array(sessions) = &answer["sessions"] else {
        bail!("pserve does not answer as a sessman does")
    };
    let unread = answer["unreadable"].as_array().into_iter().flatten();
    let unread = unread.filter_map(|handle| handle.as_str().map(str::to_owned)).collect();
    Ok((sessions.clone(), unread, answer["next"].as_str().and_then(Handle::parse)))
}

pub(super) fn members(summary: &Summary) -> Result<Value> {
    let mut text = b"{".to_vec();
    summary.write_members(&mut text);
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

/// Sessions as a table.
pub(super) fn rows(sessions: &[Value], with_header: bool) -> String {
    let header = ["HANDLE", "USER", "CREATED", "LAST ACTIVITY", "EXPIRES", "VERSION", "LABELS"];
    let header = header.map(str::to_owned);
    let mut rows: Vec<Vec<String>> = with_header.then(|| header.into()).into_iter().collect();
    for session in sessions {
        let text = |name: &str| match &session[name] {
            Value::Null => "-".to_owned(),
            Value::String(text) => shown(text),
            other => other.to_string(),
        };
        let names = ["handle", "user_id", "created_at", "last_activity", "expires_at", "version"];
        let mut row: Vec<String> = names.map(text).into();
        row.push(labels(&session["labels"]));
        rows.push(row);
    }
    table(&rows)
}

fn labels(labels: &Value) -> String {
    let labels = labels.as_object().into_iter().flatten();
    let texts: Vec<String> = labels
        .map(|(name, value)| shown(&format!("{name}:{}", value.as_str().unwrap_or_default())))
        .collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(", ") }
}

fn print(bytes: &[u8]) -> Result<()> {
    Ok(std::io::stdout().lock().write_all(bytes)?)
}
