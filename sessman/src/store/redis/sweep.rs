//! Scans of all keys: never part of a request for one session.

use std::sync::Arc;

use redis::Value;

use super::failure::Trouble;
use super::link::Link;
use super::servers::{Servers, deadline};
use super::values::bytes;

/// Keys that a server examines per `SCAN`: a few hundred microseconds of its only thread.
const STEP: u32 = 1_000;

/// A `SCAN` over the keys of all servers that match a pattern. A key that exists from the beginning to the end is found at
/// least once.
pub(super) struct Scan {
    masters: Vec<Arc<Link>>,
    pattern: Vec<u8>,
    /// The index of the current server.
    at: usize,
    cursor: u64,
}

impl Scan {
    /// Continues at a [`position`](Self::position), or starts at the beginning.
    pub(super) async fn resume(
        servers: &Arc<Servers>,
        pattern: Vec<u8>,
        position: Option<&str>,
    ) -> Result<Self, Trouble> {
        let masters = servers.masters(deadline()).await?;
        let (at, cursor) = position.and_then(read_position).unwrap_or_default();
        Ok(Self { masters, pattern, at, cursor })
    }

    /// The cursor; `None` at the end.
    pub(super) fn position(&self) -> Option<String> {
        (self.at < self.masters.len()).then(|| format!("{}:{}", self.at, self.cursor))
    }

    /// Skips the rest of the current server.
    pub(super) fn pass_over(&mut self) {
        (self.at, self.cursor) = (self.at + 1, 0);
    }

    /// The next keys, maybe none; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, Trouble> {
        let Some(link) = self.masters.get(self.at) else { return Ok(None) };
        let mut command = redis::cmd("SCAN");
        command.arg(self.cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(STEP);
        let answer = link.send(&command, deadline()).await?.map_err(Trouble::from)?;
        let (cursor, keys) = read_step(answer).ok_or(Trouble::NotRedis(link.address().to_string()))?;
        self.cursor = cursor;
        if cursor == 0 {
            self.at += 1;
        }
        Ok(Some(keys))
    }
}

fn read_position(text: &str) -> Option<(usize, u64)> {
    let (at, cursor) = text.split_once(':')?;
    Some((at.parse().ok()?, cursor.parse().ok()?))
}

fn read_step(answer: Value) -> Option<(u64, Vec<Vec<u8>>)> {
    let Value::Array(parts) = answer else { return None };
    let [cursor, Value::Array(keys)] = <[Value; 2]>::try_from(parts).ok()? else { return None };
    let cursor = std::str::from_utf8(&bytes(cursor)?).ok()?.parse().ok()?;
    Some((cursor, keys.into_iter().map(bytes).collect::<Option<_>>()?))
}
