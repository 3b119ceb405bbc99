//! The end of a connection whose client may still be writing (HTTP/1.1 and 1.0).
//!
//! If a connection is closed with unread bytes, the system resets it, and the client's system discards what its
//! application has not read yet: the answer. So the write half is shut down, and incoming bytes are read for a while
//! (RFC 9112, 9.6).

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

/// Limit of bytes that are read.
const MOST: u64 = 64 << 20;
/// Limit of the time.
const LONGEST: Duration = Duration::from_secs(10);
/// Minimum of bytes in each [`INTERVAL`].
const LEAST: u64 = 64 * 1024;
const INTERVAL: Duration = Duration::from_secs(1);
/// Bytes per read.
const PIECE: usize = 16 * 1024;

/// Reads until the client has closed its half, or one of the limits is reached.
pub(super) async fn linger(mut stream: impl AsyncRead + Unpin) {
    let mut piece = vec![0; PIECE];
    let end = Instant::now() + LONGEST;
    let mut left = MOST;
    while Instant::now() < end {
        let until = Instant::now() + INTERVAL;
        let before = left;
        while Instant::now() < until {
            match timeout_at(until, stream.read(&mut piece)).await {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(length)) => left = left.saturating_sub(length as u64),
                Err(_) => break,
            }
            if left == 0 {
                return;
            }
        }
        if before - left < LEAST {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    /// Seconds that a client is listened to who sends so many bytes a tenth of a second, and the bytes that it sends.
    async fn heard(bytes: usize, ends_after: Option<u32>) -> (u64, usize) {
        let (mut client, server) = duplex(1 << 20);
        let sending = tokio::spawn(async move {
            let mut sent = 0;
            for _ in 0..ends_after.unwrap_or(10_000) {
                tokio::time::sleep(Duration::from_millis(100)).await;
                if client.write_all(&vec![0; bytes]).await.is_err() {
                    break;
                }
                sent += bytes;
            }
            sent
        });
        let start = Instant::now();
        linger(server).await;
        (start.elapsed().as_secs(), sending.await.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_listened_to_until_it_ends_and_not_for_ever() {
        assert_eq!(heard(16 * 1024, Some(35)).await.0, 3, "it ends");
        assert_eq!(heard(16 * 1024, None).await.0, 10, "it does not");
        assert_eq!(heard(1, None).await.0, 1, "a byte now and then");
        assert_eq!(heard(0, None).await.0, 1, "nothing");
        let (_, sent) = heard(10 << 20, None).await;
        assert!((54 << 20..80 << 20).contains(&sent), "{sent}");
    }
}
