//! `end` and `end-user`: end (revoke) sessions by their handles, or all of a user.

use anyhow::{Result, bail};
use serde_json::json;
use sessman::id::Handle;
use sessman::sessions::check_user_id;

use crate::actor::Actor;
use crate::failure::Usage;
use crate::output::{Output, confirm, number, shown};
use crate::site::Site;

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
