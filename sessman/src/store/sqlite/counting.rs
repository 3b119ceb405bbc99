//! Counts of stored records.

use rusqlite::Connection;

use super::row::{bucket, unsigned};
use crate::store::Counts;
use crate::time::Timestamp;

/// An expired row is never in a later bucket than `now`, so only earlier buckets are examined.
pub(super) const COUNT: &str = "
    SELECT (SELECT count(*) FROM sessions),
           (SELECT count(*) FROM sessions WHERE expiry_bucket <= ?1 AND expires_at <= ?2)";

/// [`Store::counts`](crate::store::Store::counts): one scan of the file for all moments, and only if there are any.
pub(super) fn counts(
    connection: &Connection,
    now: Timestamp,
    since: &[Timestamp],
) -> rusqlite::Result<Counts> {
    if since.is_empty() {
        return connection.prepare_cached(COUNT)?.query_row((bucket(now), now.as_millis()), |row| {
            let (all, expired) = (unsigned(row, 0)?, unsigned(row, 1)?);
            Ok(Counts { active: all - expired, expired, since: Vec::new() })
        });
    }
    let mut counts = Counts { since: vec![0; since.len()], ..Counts::default() };
    let mut statement = connection.prepare_cached("SELECT created_at, expires_at FROM sessions")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (created_at, expires_at): (i64, i64) = (row.get(0)?, row.get(1)?);
        if expires_at <= now.as_millis() {
            counts.expired += 1;
            continue;
        }
        counts.active += 1;
        for (moment, count) in since.iter().zip(&mut counts.since) {
            *count += u64::from(created_at >= moment.as_millis());
        }
    }
    Ok(counts)
}
