//! `counts`: exact if few sessions are stored, else an estimate, so that the time does not grow with their number.

use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use mongodb::error::Error;
use mongodb::options::Hint;

use super::conditions;
use super::connection::Documents;
use super::failure::{is_out_of_time, store_error};
use super::metrics::Command;
use super::scalars::{self, date};
use crate::id::Handle;
use crate::store::{Counts, Result, StoreError};
use crate::time::Timestamp;

/// Up to this number, sessions are counted exactly.
pub(super) const COUNTED: u64 = 50_000;

/// Size of the sample for an estimate.
const SAMPLE: usize = 1_000;

/// Time limit on the server for each count and for each part of an estimate; all of them fit into a call.
const COUNT_LIMIT: Duration = Duration::from_millis(350);
const ESTIMATE_LIMIT: Duration = Duration::from_millis(800);

/// See [`Store::counts`](crate::store::Store::counts). Exact if at most `exact` sessions are live.
pub(super) async fn of(
    documents: &Documents,
    now: Timestamp,
    since: &[Timestamp],
    exact: u64,
) -> Result<Counts> {
    // Both use the index on `expires_at` alone; it is no date in foreign documents, which are not counted.
    let active = count_up_to(documents, conditions::live(now), exact).await?;
    let expired = count_up_to(documents, conditions::expired(now), exact).await?;
    if let (Counted::All(active), Counted::All(expired)) = (active, expired)
        && let Some(since) = since_exactly(documents, now, since).await?
    {
        return Ok(Counts { active, expired, since });
    }
    estimate(documents, now, since, active, expired).await
}

/// The result of a limited count.
#[derive(Clone, Copy)]
enum Counted {
    All(u64),
    /// At least this many.
    AtLeast(u64),
}

/// Counts documents that match, up to `most` and within the time limit.
async fn count_up_to(documents: &Documents, filter: Document, most: u64) -> Result<Counted> {
    let count = documents.count_documents(filter).limit(most + 1).max_time(COUNT_LIMIT);
    Ok(match in_time(documents.ask(Command::Aggregate, count).await)? {
        Some(count) if count <= most => Counted::All(count),
        Some(count) => Counted::AtLeast(count),
        None => Counted::AtLeast(0),
    })
}

/// Counts with one scan of all live sessions; `None` if it exceeds the time limit.
async fn since_exactly(
    documents: &Documents,
    now: Timestamp,
    since: &[Timestamp],
) -> Result<Option<Vec<u64>>> {
    if since.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let name = |place: usize| format!("n{place}");
    let mut group = doc! { "_id": null };
    for (place, moment) in since.iter().enumerate() {
        let is_since = doc! { "$gte": ["$created_at", date(*moment)] };
        group.insert(name(place), doc! { "$sum": { "$cond": [is_since, 1, 0] } });
    }
    let stages = [doc! { "$match": conditions::live(now) }, doc! { "$group": group }];
    let aggregate = documents.aggregate(stages).max_time(COUNT_LIMIT);
    let Some(mut cursor) = in_time(documents.ask(Command::Aggregate, aggregate).await)? else {
        return Ok(None);
    };
    if !cursor.advance().await.map_err(store_error)? {
        return Ok(Some(vec![0; since.len()]));
    }
    let counts = cursor.deserialize_current().map_err(store_error)?;
    let count = |place| match counts.get(name(place)) {
        Some(Bson::Int32(count)) => u64::try_from(*count).ok(),
        Some(Bson::Int64(count)) => u64::try_from(*count).ok(),
        _ => None,
    };
    let counts: Option<Vec<u64>> = (0..since.len()).map(count).collect();
    counts.map(Some).ok_or_else(|| StoreError::Unusable("the server's sums are no whole numbers".into()))
}

fn in_time<T>(answer: std::result::Result<T, Error>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if is_out_of_time(&error) => Ok(None),
        Err(error) => Err(store_error(error)),
    }
}

/// Estimates: the server's document count, divided in the proportions of a sample.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate of numbers that are far below where that matters"
)]
async fn estimate(
    documents: &Documents,
    now: Timestamp,
    since: &[Timestamp],
    active: Counted,
    expired: Counted,
) -> Result<Counts> {
    let stored = documents.estimated_document_count().max_time(ESTIMATE_LIMIT);
    let stored = documents.ask(Command::Count, stored).await.map_err(store_error)?;
    let sample = sample(documents, now).await?;
    let of_all =
        |part: usize, all: u64| (part as f64 / sample.taken.max(1) as f64 * all as f64).round() as u64;
    let expired = match expired {
        Counted::All(expired) => expired,
        Counted::AtLeast(counted) => of_all(sample.taken - sample.created.len(), stored).max(counted),
    };
    let active = match active {
        Counted::All(active) => active,
        // The server's document count may be out of date.
        Counted::AtLeast(counted) => stored.saturating_sub(expired).max(counted),
    };
    let live = sample.created.len().max(1) as f64;
    let since = since.iter().map(|moment| {
        let younger = sample.created.iter().filter(|created_at| *created_at >= moment).count();
        (younger as f64 / live * active as f64).round() as u64
    });
    let since = since.collect();
    Ok(Counts { active, expired, since })
}

/// A sample of the records.
struct Sample {
    taken: usize,
    /// When the live ones were created.
    created: Vec<Timestamp>,
}

/// Handles are random or hashes, so that neighbours are unrelated: the records after some random handle are a fair sample.
async fn sample(documents: &Documents, now: Timestamp) -> Result<Sample> {
    let mut start = [0; 12];
    getrandom::fill(&mut start).map_err(|error| StoreError::Unavailable(Box::new(error)))?;
    let start = Handle::from(start);
    let mut sample = Sample { taken: 0, created: Vec::new() };
    let before = doc! { "$gte": scalars::id(Handle::from([0; 12])), "$lte": scalars::id(start) };
    for part in [conditions::handles_after(Some(start)), before] {
        let wanted = SAMPLE - sample.taken;
        if wanted == 0 {
            break;
        }
        let find = documents
            .find(doc! { "_id": part })
            .projection(doc! { "_id": 0, "created_at": 1, "expires_at": 1 })
            .sort(doc! { "_id": 1 })
            .limit(i64::try_from(wanted).unwrap_or(i64::MAX))
            .batch_size(u32::try_from(wanted + 1).unwrap_or(u32::MAX))
            .hint(Hint::Keys(doc! { "_id": 1 }))
            .max_time(ESTIMATE_LIMIT);
        let mut cursor = documents.ask(Command::Find, find).await.map_err(store_error)?;
        while cursor.advance().await.map_err(store_error)? {
            sample.taken += 1;
            let times = cursor.current();
            if times.get_datetime("expires_at").is_ok_and(|expires_at| expires_at > date(now)) {
                let created_at = times.get_datetime("created_at").ok();
                sample.created.extend(created_at.map(|date| Timestamp::from_millis(date.timestamp_millis())));
            }
        }
    }
    Ok(sample)
}
