//! The indexes of the collection: created at the start, and checked.
//!
//! No existing index is dropped or changed: it may be intended, and when to build one on a large collection is the
//! operator's decision. A conflicting index is reported with the command that fixes it, and the store keeps working: reads
//! check `expires_at` themselves.

mod shape;

use std::time::Duration;

use mongodb::IndexModel;
use mongodb::options::IndexOptions;

use super::connection::{Connection, Documents};
use super::failure;
use super::metrics::Command;
use crate::store::Result;
use shape::{Existing, Fitness, Wanted};
pub(super) use shape::{LABELS, USER_HANDLES, WANTED};

/// Exponential back-off: each wait is twice the one before, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// An index that conflicts with one of ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    /// Name of the index that is needed.
    pub(super) wanted: &'static str,
    /// The existing index, as a shell shows it.
    pub(super) found: String,
    /// The command for mongosh that fixes it.
    pub(super) mend: String,
}

/// Creates the indexes, with retries until the server has replied for each of them.
pub(super) async fn make(connection: &Connection) {
    let mut wait = FIRST_WAIT;
    let mut reported = false;
    loop {
        match try_to_make(connection).await {
            Ok(obstacles) => {
                for Obstacle { wanted, found, mend } in &obstacles {
                    tracing::error!(
                        index = wanted,
                        found = %found,
                        mend = %mend,
                        "another index is in the way of one that sessions need; run `mend` in mongosh"
                    );
                }
                if obstacles.is_empty() {
                    tracing::debug!("the indexes of the session collection are in place");
                }
                return;
            }
            Err(error) => {
                // Logged once: an outage may last, and each request reports it too.
                if !reported {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, source, "the indexes of the session collection could not be made yet");
                    reported = true;
                }
            }
        }
        tokio::time::sleep(wait).await;
        wait = (2 * wait).min(LONGEST_WAIT);
    }
}

/// Creates missing indexes, and returns the conflicting ones. A failure does not stop the creation of the others.
///
/// # Errors
/// The server's error; then retry.
pub(super) async fn try_to_make(connection: &Connection) -> Result<Vec<Obstacle>> {
    let documents = connection.documents().await?;
    let names = connection.names();
    let (mut obstacles, mut failed) = (Vec::new(), None);
    for (place, wanted) in WANTED.iter().enumerate() {
        let made = make_one(&documents, wanted, names).await;
        let is_there = matches!(made, Ok(None));
        connection.metrics().indexed(place, is_there);
        if is_there {
            connection.hints().set_taken(place, true);
        }
        match made {
            Ok(None) => {}
            Ok(Some((found, mend))) => obstacles.push(Obstacle { wanted: wanted.name, found, mend }),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(obstacles), Err)
}

/// Problems with the indexes, a line each; creates nothing.
///
/// # Errors
/// The server's error.
pub(super) async fn problems(connection: &Connection) -> Result<Vec<String>> {
    let existing = existing(&connection.documents().await?).await?;
    let problem = |wanted: &Wanted| match wanted.among(&existing) {
        Fitness::There => None,
        Fitness::Missing => Some(format!("the index {} is missing; a start of pserve makes it", wanted.name)),
        Fitness::InTheWay(other) => Some(format!(
            "the index {other} is in the way of {}; run in mongosh: {}",
            wanted.name,
            wanted.mend(other, connection.names())
        )),
    };
    Ok(WANTED.iter().filter_map(problem).collect())
}

async fn make_one(
    documents: &Documents,
    wanted: &Wanted,
    names: (&str, &str),
) -> Result<Option<(String, String)>> {
    match wanted.among(&existing(documents).await?) {
        Fitness::There => return Ok(None),
        Fitness::InTheWay(other) => return Ok(Some((other.to_string(), wanted.mend(other, names)))),
        Fitness::Missing => {}
    }
    // Idempotent: other nodes may be creating the same index.
    match documents.ask(Command::CreateIndexes, documents.create_index(model(wanted))).await {
        Ok(_) => Ok(None),
        // A conflicting one was created meanwhile, or the list did not show that it conflicts.
        Err(error) if failure::is_index_conflict(&error) => match wanted.among(&existing(documents).await?) {
            Fitness::There => Ok(None),
            Fitness::InTheWay(other) => Ok(Some((other.to_string(), wanted.mend(other, names)))),
            Fitness::Missing => Err(failure::store_error(error)),
        },
        Err(error) => Err(failure::store_error(error)),
    }
}

/// Whether there is a unique index other than that of `_id`; none of ours is unique.
///
/// # Errors
/// The server's error.
pub(super) async fn has_unique(documents: &Documents) -> Result<bool> {
    let listed = documents.ask(Command::ListIndexes, documents.list_indexes()).await;
    let mut cursor = listed.map_err(failure::store_error)?;
    while cursor.advance().await.map_err(failure::store_error)? {
        // The index of `_id` is not marked as unique.
        let index = cursor.current();
        if index.get_bool("unique").unwrap_or(false) && index.get_str("name").is_ok_and(|name| name != "_id_")
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The existing indexes. Parsed here, as the driver's type would fail on an unknown option.
async fn existing(documents: &Documents) -> Result<Vec<Existing>> {
    let mut cursor = match documents.ask(Command::ListIndexes, documents.list_indexes()).await {
        Ok(cursor) => cursor,
        Err(error) if failure::is_missing_collection(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failure::store_error(error)),
    };
    let mut indexes = Vec::new();
    while cursor.advance().await.map_err(failure::store_error)? {
        indexes.extend(Existing::read(cursor.current()));
    }
    Ok(indexes)
}

fn model(wanted: &Wanted) -> IndexModel {
    let mut options = IndexOptions::default();
    options.name = Some(wanted.name.to_owned());
    options.expire_after = wanted.expire_after_seconds.map(Duration::from_secs);
    IndexModel::builder().keys(wanted.key_document()).options(options).build()
}
