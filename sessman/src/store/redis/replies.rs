//! The parser of replies, exposed to the fuzz targets.

use redis::Value;

use super::reply::{self, Malformed, Replies};

/// A reply; an error as its code, and the server that it names.
pub type Answer = Result<Value, (String, Option<String>)>;

/// The deepest nesting of lists that is accepted.
pub const DEPTH: usize = reply::DEPTH;

/// Parses one reply after the other.
#[derive(Default)]
pub struct Reader(Replies);

impl Reader {
    /// The next complete reply, removed from the beginning of `bytes`.
    ///
    /// # Errors
    /// The bytes are not the Redis protocol.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Answer>, NotRedis> {
        let answer = self.0.next(bytes).map_err(|Malformed| NotRedis)?;
        Ok(answer.map(|answer| answer.map_err(|refusal| (refusal.code, refusal.place))))
    }

    /// Capacity reserved in incomplete lists, in values.
    pub fn room(&self) -> usize {
        self.0.room()
    }
}

/// The bytes were not the Redis protocol; the parser cannot continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRedis;
