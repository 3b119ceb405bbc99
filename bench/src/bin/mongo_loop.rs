//! The limit of reads from MongoDB: `mongo_loop DATABASE SECONDS` has 64 tasks read documents of `sessions` by their ids, with
//! nothing but the driver, from the server that the variable `MONGODB_URI` names. It prints documents read a second, microseconds
//! of CPU a document, and the time in microseconds in which half of the documents came.
#![allow(clippy::print_stdout, reason = "the figures are its answer")]

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use mongodb::bson::{Bson, RawDocumentBuf, doc};
use mongodb::{Client, Collection};
use rustix::time::{ClockId, clock_gettime};

/// Readers, as the connections of the other benchmarks.
const READERS: usize = 64;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let database = arguments.next().context("expected a database")?;
    let seconds = arguments.next().context("expected seconds")?.parse()?;
    let uri = std::env::var("MONGODB_URI").context("MONGODB_URI is not set")?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let sessions: Collection<RawDocumentBuf> =
            Client::with_uri_str(uri).await?.database(&database).collection("sessions");
        let ids = sessions.distinct("_id", doc! {}).await?;
        // The pool fills before anything is measured.
        read(&sessions, &ids, Duration::from_secs(1)).await?;
        let (before, started) = (cpu_micros(), Instant::now());
        let mut times = read(&sessions, &ids, Duration::from_secs(seconds)).await?;
        let (used, took) = (cpu_micros() - before, started.elapsed());
        times.sort_unstable();
        let count = times.len() as f64;
        let half = times.get(times.len() / 2).context("nothing was read")?.as_secs_f64() * 1e6;
        println!("{:.0} {:.2} {half:.0}", count / took.as_secs_f64(), used / count);
        Ok(())
    })
}

/// Reads until the time is over; how long each read took.
async fn read(sessions: &Collection<RawDocumentBuf>, ids: &[Bson], long: Duration) -> Result<Vec<Duration>> {
    let end = Instant::now() + long;
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let (sessions, ids) = (sessions.clone(), ids.to_vec());
            tokio::spawn(async move {
                let mut times = Vec::new();
                for id in ids.iter().cycle().skip(reader * ids.len() / READERS) {
                    let started = Instant::now();
                    if started >= end {
                        break;
                    }
                    sessions.find_one(doc! { "_id": id }).await?.context("a document is gone")?;
                    times.push(started.elapsed());
                }
                anyhow::Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for reader in readers {
        times.extend(reader.await??);
    }
    Ok(times)
}

/// Microseconds of CPU that this process has used.
fn cpu_micros() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}
