//! `cleanup`: deletes expired records now.

use anyhow::Result;
use serde_json::json;

use crate::actor::Actor;
use crate::output::{Output, number};
use crate::site::Site;

pub(super) async fn run(site: &Site, url: Option<&str>, output: Output) -> Result<()> {
    let purged = match Actor::to_write(site, url)? {
        Actor::Server(server) => server.clean_up()?,
        Actor::Engine(engine) => {
            let purged = engine.sessions.clean_up().await;
            engine.sessions.close().await;
            purged? as u64
        }
    };
    output.answer(format!("expired records removed: {}", number(purged)), &json!({ "purged": purged }))
}
