//! Answers as a server sends them, for the fuzz targets.

use redis::Value;

use super::reply::{self, Malformed, Replies};

/// What a server answered; its errors by their code, and by the place that they name.
pub type Answer = Result<Value, (String, Option<String>)>;

/// Lists within lists that are read.
pub const DEPTH: usize = reply::DEPTH;

/// Reads one answer after the other.
#[derive(Default)]
pub struct Reader(Replies);

impl Reader {
    /// The next answer that is there as a whole; it is taken from the beginning of `bytes`.
    ///
    /// # Errors
    /// What no Redis sends.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Answer>, NotRedis> {
        let answer = self.0.next(bytes).map_err(|Malformed| NotRedis)?;
        Ok(answer.map(|answer| answer.map_err(|refusal| (refusal.code, refusal.place))))
    }

    /// Values that there is room for in lists that have begun.
    pub fn room(&self) -> usize {
        self.0.room()
    }
}

/// Nothing can be read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRedis;
