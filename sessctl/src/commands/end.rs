//! `end` and `end-user`: end (revoke) sessions by their handles, those that match a filter, or all of a user.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use sessman::id::Handle;
use sessman::sessions::{Filter, check_user_id};
use sessman::store::View;
use sessman::time::Timestamp;

use super::list::{members, rows};
use crate::actor::Actor;
use crate::cli::End;
use crate::failure::Usage;
use crate::output::{Output, confirm, number, shown};
use crate::site::Site;

/// Sessions of a preview, as many as the HTTP route shows.
const FIRST: usize = 100;
/// Those of them that are shown to people.
const SHOWN: usize = 10;

pub(super) async fn sessions(
    site: &Site,
    handles: &[Handle],
    url: Option<&str>,
    output: Output,
) -> Result<()> {
    let ended = match Actor::to_write(site, url)? {
        Actor::Server(server) => server.end(handles)?,
        Actor::Engine(engine) => {
            let ended = engine.sessions.end_handles(handles.to_vec()).await;
            engine.sessions.close().await;
            texts(&ended?)
        }
    };
    let answered = answer(&ended, output);
    if ended.len() < handles.len() {
        bail!("{} of {} sessions did not live", handles.len() - ended.len(), handles.len());
    }
    answered
}

pub(super) async fn matching(site: &Site, options: &End, output: Output) -> Result<()> {
    let (filter, url) = (options.conditions.filter(), options.at.url.as_deref());
    // In the form of the HTTP route, from either source. The store is closed again before the question.
    let preview = match Actor::to_read(site, url, View::Snapshot)? {
        Actor::Server(server) => server.preview_end(&filter)?,
        Actor::Engine(engine) => {
            let preview = engine.sessions.preview_end(&filter, FIRST).await;
            engine.sessions.close().await;
            let preview = preview?;
            json!({
                "matching": preview.matching,
                "complete": preview.is_complete,
                "cutoff": preview.cutoff.to_string(),
                "sessions": preview.first.iter().map(members).collect::<Result<Vec<_>>>()?,
            })
        }
    };
    let Preview { matching, cutoff, is_complete } = Preview::of(&preview)?;
    let text = text(&preview, matching, is_complete);
    if options.dry_run {
        return output.answer(text, &preview);
    }
    if !is_complete {
        bail!(
            "{text}\nnothing was done: there are more than can be counted in time; narrow the filter, best by --label or --user"
        );
    }
    if matching == 0 {
        return answer(&[], output);
    }
    confirm(&format!("{text}\nThese sessions end."), options.confirmation.yes)?;
    answer(&end(site, &filter, cutoff, matching, url).await?, output)
}

async fn end(
    site: &Site,
    filter: &Filter,
    cutoff: Timestamp,
    at_most: u64,
    url: Option<&str>,
) -> Result<Vec<String>> {
    match Actor::to_write(site, url)? {
        Actor::Server(server) => server.end_matching(filter, cutoff, at_most),
        Actor::Engine(engine) => {
            let ended = engine.sessions.end_matching(filter, cutoff, at_most).await;
            engine.sessions.close().await;
            Ok(texts(&ended?))
        }
    }
}

/// What a preview says that the end needs.
struct Preview {
    matching: u64,
    cutoff: Timestamp,
    is_complete: bool,
}

impl Preview {
    fn of(preview: &Value) -> Result<Self> {
        let cutoff = preview["cutoff"].as_str().and_then(Timestamp::parse);
        let read = || {
            Some(Self {
                matching: preview["matching"].as_u64()?,
                cutoff: cutoff?,
                is_complete: preview["complete"].as_bool()?,
            })
        };
        read().context("pserve does not answer as a sessman does")
    }
}

/// A preview for people.
fn text(preview: &Value, matching: u64, is_complete: bool) -> String {
    let or_more = if is_complete { "" } else { " or more" };
    let cutoff = preview["cutoff"].as_str().map(shown).unwrap_or_default();
    let mut text = format!("matching: {}{or_more}; cutoff: {cutoff}", number(matching));
    let first: Vec<Value> =
        preview["sessions"].as_array().into_iter().flatten().take(SHOWN).cloned().collect();
    if !first.is_empty() {
        text.push_str(&format!("\n{}", rows(&first, true)));
    }
    match matching.saturating_sub(first.len() as u64) {
        0 => {}
        more => text.push_str(&format!("\nand {} more", number(more))),
    }
    text
}

pub(super) async fn user(
    site: &Site,
    user: &str,
    url: Option<&str>,
    yes: bool,
    output: Output,
) -> Result<()> {
    check_user_id(user).map_err(|error| Usage(error.to_string()))?;
    // Before the store is opened: otherwise a SQLite file would stay locked during the question.
    confirm(&format!("All sessions of the user {} end.", shown(user)), yes)?;
    let ended = match Actor::to_write(site, url)? {
        Actor::Server(server) => server.end_user(user)?,
        Actor::Engine(engine) => {
            let ended = engine.sessions.end_user(user.to_owned()).await;
            engine.sessions.close().await;
            texts(&ended?)
        }
    };
    answer(&ended, output)
}

fn texts(handles: &[Handle]) -> Vec<String> {
    handles.iter().map(ToString::to_string).collect()
}

fn answer(ended: &[String], output: Output) -> Result<()> {
    let mut text = format!("ended: {}", number(ended.len() as u64));
    for handle in ended {
        text.push_str("\n  ");
        text.push_str(handle);
    }
    output.answer(text, &json!({ "ended": ended.len(), "handles": ended }))
}
