//! `counts`: exact where few sessions are stored, else an estimate, so that the answer does not take the longer the more
//! there are.

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

/// So many sessions are counted one by one.
pub(super) const COUNTED: u64 = 50_000;

/// Records whose times stand for those of all.
const SAMPLE: usize = 1_000;

/// How long the server may take for a count and for what an estimate needs, all of which fit into a call.
const COUNT_LIMIT: Duration = Duration::from_millis(350);
const ESTIMATE_LIMIT: Duration = Duration::from_millis(800);

/// See [`Store::counts`](crate::store::Store::counts). Exact if there are at most `exact` live ones.
pub(super) async fn of(
    documents: &Documents,
    now: Timestamp,
    since: &[Timestamp],
    exact: u64,
) -> Result<Counts> {
    // Both within the index on `expires_at`, which has no entry of a document without a date there.
    let active = count_up_to(documents, conditions::live(now), exact).await?;
    let expired = count_up_to(documents, conditions::expired(now), exact).await?;
    if let (Counted::All(active), Counted::All(expired)) = (active, expired)
        && let Some(since) = since_exactly(documents, now, since).await?
    {
        return Ok(Counts { active, expired, since });
    }
    estimate(documents, now, since, active, expired).await
}

/// How far a count went.
#[derive(Clone, Copy)]
enum Counted {
    All(u64),
    /// There are that many, and perhaps more.
    AtLeast(u64),
}

/// Counts documents that match, as many as `most` and as long as the server may take.
async fn count_up_to(documents: &Documents, filter: Document, most: u64) -> Result<Counted> {
    let count = documents.count_documents(filter).limit(most + 1).max_time(COUNT_LIMIT);
    Ok(match in_time(documents.ask(Command::Aggregate, count).await)? {
        Some(count) if count <= most => Counted::All(count),
        Some(count) => Counted::AtLeast(count),
        None => Counted::AtLeast(0),
    })
}

/// Counts in one walk over all live sessions; `None` if that takes too long.
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

/// What the server says of the number of documents, divided as a sample of them is.
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
        // What the server says may be old.
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

/// Some records.
struct Sample {
    taken: usize,
    /// When those that live began.
    created: Vec<Timestamp>,
}

/// The bytes of handles are random, or those of a hash: neighbours have nothing to do with each other, so that those after
/// some handle stand for all.
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
